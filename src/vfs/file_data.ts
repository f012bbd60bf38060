import { copied } from "../base/copied.ts";
import { latin1 } from "../base/bytes.ts";
import { invariant } from "../base/errors.ts";
import { allocatedBytes, BLOCK_SIZE, type BlockRow } from "../store/rows.ts";
import type { FilePool, FileRows } from "./file_pool.ts";
import { Suspension } from "./suspension.ts";

/** Blocks asked for beyond what a sequential reader needs now, at most. */
const READAHEAD_BLOCKS_MAX = 32;

const SMALLEST_BUFFER = 4096;

/** A block whose content has a hash: it is in the store, or in flight and then pinned in the cache. */
interface StoredBlock {
  readonly hash: Uint8Array;
  readonly key: string;
  readonly length: number;
}

/** A block changed since the last batch was cut. INVARIANT: `buffer` is zeros from `length` on. */
interface DirtyBlock {
  readonly hash: null;
  buffer: Uint8Array;
  length: number;
}

/** One block of a file that is no hole; `length` is 1 to BLOCK_SIZE, zeros follow in the block. */
export type BlockRef = StoredBlock | DirtyBlock;

/**
 * The block map of one regular file: which of its blocks are no holes, and what they hold. The size
 * of the file is not known here: callers (file_io.ts) clip to it, and keep every byte beyond it a
 * hole or zeros.
 *
 * First everything is demanded ({@link demandMap}, {@link demand}), which may suspend; the methods
 * that change something never suspend and never fail.
 */
export class FileData {
  readonly #pool: FilePool;
  #blocks: Map<number, BlockRef> | null;
  /** Indexes of blocks that have a row in the store, or in the batch in flight. */
  readonly #rows = new Set<number>();
  /** Indexes whose block is not what its row says. */
  readonly #changed = new Set<number>();
  #allocated = 0;
  /** Index after the last one read, and how many blocks to ask for ahead. */
  #nextRead = 0;
  #readahead = 0;

  /** @param fresh the file was made by this mount, so the store has no blocks of it */
  constructor(readonly inode: number, pool: FilePool, fresh: boolean) {
    this.#pool = pool;
    this.#blocks = fresh ? new Map() : null;
  }

  /** Whether the block map is here. */
  get loaded(): boolean {
    return this.#blocks !== null;
  }

  /** Bytes on disk as st_blocks counts them: the sum of `allocatedBytes` over the blocks. */
  get allocated(): number {
    return this.#allocated;
  }

  /** Whether {@link collect} has something to tell. */
  get dirty(): boolean {
    return this.#changed.size > 0;
  }

  /** Takes in the answer to a `blocks` load; nothing happens when the map is here already. */
  absorb(rows: readonly BlockRow[], data: Uint8Array | null = null): void {
    if (this.#blocks !== null) return;
    this.#blocks = new Map();
    for (const { index, hash, length } of rows) {
      this.#blocks.set(index, { hash, key: latin1(hash), length });
      this.#rows.add(index);
      this.#allocated += allocatedBytes(length);
    }
    if (data !== null && rows.length === 1) this.#pool.cache.add(latin1(rows[0]!.hash), data);
  }

  /** @throws {Suspension} when the block map is not here. */
  demandMap(): void {
    if (this.#blocks === null) {
      throw new Suspension({ kind: "load", load: { kind: "blocks", inode: this.inode } });
    }
  }

  /** The block at an index, or undefined for a hole. Call {@link demandMap} first. */
  at(index: number): BlockRef | undefined {
    return this.#map.get(index);
  }

  /** The indexes from `first` up to and with `last` that are no holes, in order. */
  indexes(first: number, last: number): number[] {
    const blocks = this.#map;
    const out: number[] = [];
    if (last - first < blocks.size) {
      for (let i = first; i <= last; i++) if (blocks.has(i)) out.push(i);
      return out;
    }
    for (const i of blocks.keys()) if (i >= first && i <= last) out.push(i);
    return out.sort((a, b) => a - b);
  }

  /** Hashes of contents of these blocks that are not in memory; each is noted as wanted. */
  missing(indexes: Iterable<number>): Uint8Array[] {
    const found = new Map<string, Uint8Array>();
    for (const index of indexes) {
      const ref = this.#map.get(index);
      if (ref?.hash && !this.#pool.cache.has(ref.key)) found.set(ref.key, ref.hash);
    }
    for (const key of found.keys()) this.#pool.cache.want(key);
    return [...found.values()];
  }

  /** @throws {Suspension} unless the contents of these blocks are all in memory. */
  demand(indexes: Iterable<number>): void {
    demandContents(this.missing(indexes));
  }

  /**
   * As {@link demand} for a reader of blocks `first` to `last`: when something is missing and the
   * reads were sequential, what comes next is asked for with it, twice as much each time.
   */
  demandRead(first: number, last: number): void {
    const hashes = this.missing(this.indexes(first, last));
    const sequential = first === this.#nextRead || first === this.#nextRead - 1;
    if (hashes.length === 0) {
      if (!sequential) this.#readahead = 0;
      this.#nextRead = last + 1;
      return;
    }
    // The operation runs again after this: #nextRead stays, so that it is sequential then, too.
    const fits = Math.floor(this.#pool.cache.limitBytes / 4 / BLOCK_SIZE);
    const most = Math.min(READAHEAD_BLOCKS_MAX, fits);
    this.#readahead = sequential ? Math.min(most, Math.max(1, this.#readahead * 2)) : 0;
    for (const index of this.indexes(last + 1, last + this.#readahead)) {
      const ref = this.#map.get(index)!;
      if (ref.hash !== null && !this.#pool.cache.has(ref.key)) hashes.push(ref.hash);
    }
    demandContents(hashes);
  }

  /** The stored bytes of a block that was demanded: `length` of them. Not to be kept or changed. */
  content(ref: BlockRef): Uint8Array {
    if (ref.hash === null) return ref.buffer.subarray(0, ref.length);
    const data = this.#pool.cache.get(ref.key);
    invariant(data !== undefined, `content of a block of inode ${this.inode} was not demanded`);
    invariant(data.length === ref.length, `a block of inode ${this.inode} has a wrong length`);
    return data;
  }

  /**
   * Writes bytes into a block at `start` of it; a gap before them becomes zeros. The block must be a
   * hole, dirty, overwritten whole, or demanded.
   */
  paste(index: number, start: number, bytes: Uint8Array): void {
    const end = start + bytes.length;
    const old = this.#map.get(index);
    const whole = start === 0 && old !== undefined && end >= old.length;
    const block = this.#writable(index, end, whole);
    block.buffer.set(bytes, start);
    copied.bytes += bytes.length;
    this.#resize(block, Math.max(end, block.length));
  }

  /**
   * Makes a part of a block zeros; where nothing follows it the block gets shorter, or a hole. The
   * block must be dirty or demanded, unless all of it goes.
   */
  zero(index: number, start: number, end: number): void {
    const old = this.#map.get(index);
    if (old === undefined || start >= old.length) return;
    if (start === 0 && end >= old.length) {
      this.remove(index);
      return;
    }
    const block = this.#writable(index, old.length, false);
    block.buffer.fill(0, start, Math.min(end, block.length));
    if (end >= block.length) this.#resize(block, start);
  }

  /** Makes a block a hole. */
  remove(index: number): void {
    const old = this.#map.get(index);
    if (old === undefined) return;
    this.#forget(old);
    this.#map.delete(index);
    this.#changed.add(index);
  }

  /**
   * Makes a block the same as a block of another file (or of this one), or a hole. A stored block is
   * shared by its hash, so that the store keeps nothing new; a dirty one is copied.
   */
  share(index: number, source: BlockRef | undefined): void {
    if (source !== undefined && source === this.#map.get(index)) return;
    this.remove(index);
    if (source === undefined) return;
    const copy: BlockRef = source.hash === null
      ? { hash: null, buffer: source.buffer.slice(), length: source.length }
      : source;
    if (copy.hash === null) this.#pool.account(copy.buffer.length);
    this.#allocated += allocatedBytes(copy.length);
    this.#map.set(index, copy);
    this.#changed.add(index);
  }

  /** Adds the rows of everything that changed to a batch; nothing is dirty after it. */
  collect(rows: FileRows): void {
    const inode = this.inode;
    for (const index of this.#changed) {
      let ref = this.#map.get(index);
      if (ref === undefined) {
        if (this.#rows.delete(index)) rows.deadBlocks.push({ inode, index });
        continue;
      }
      if (ref.hash === null) {
        const { buffer, length } = ref;
        this.#pool.account(-buffer.length);
        // Exactly its bytes: posting a view to another thread would copy the whole buffer below it.
        const data = buffer.length === length ? buffer : buffer.slice(0, length);
        if (data !== buffer) copied.bytes += length;
        ref = { ...this.#pool.seal(data, rows.contents), length };
        this.#map.set(index, ref);
      }
      rows.blocks.push({ inode, index, hash: ref.hash!, length: ref.length });
      this.#rows.add(index);
    }
    this.#changed.clear();
  }

  /** The inode exists no more: its dirty data is dropped, and nothing of it is emitted. */
  discard(): void {
    for (const ref of this.#blocks?.values() ?? []) {
      if (ref.hash === null) this.#pool.account(-ref.buffer.length);
    }
    this.#blocks = new Map();
    this.#changed.clear();
    this.#rows.clear();
    this.#allocated = 0;
  }

  get #map(): Map<number, BlockRef> {
    invariant(this.#blocks !== null, `block map of inode ${this.inode} was not demanded`);
    return this.#blocks;
  }

  /** The dirty block at an index with room for `end` bytes; old bytes are not kept on `whole`. */
  #writable(index: number, end: number, whole: boolean): DirtyBlock {
    const old = this.#map.get(index);
    if (old?.hash === null) {
      if (end > old.buffer.length) {
        const buffer = new Uint8Array(capacity(end));
        buffer.set(old.buffer.subarray(0, old.length));
        this.#pool.account(buffer.length - old.buffer.length);
        old.buffer = buffer;
      }
      return old;
    }
    const length = old?.length ?? 0;
    const block: DirtyBlock = {
      hash: null,
      buffer: new Uint8Array(capacity(Math.max(end, length))),
      length,
    };
    if (old !== undefined && !whole) block.buffer.set(this.content(old));
    this.#pool.account(block.buffer.length);
    this.#map.set(index, block);
    this.#changed.add(index);
    return block;
  }

  #resize(block: DirtyBlock, length: number): void {
    this.#allocated += allocatedBytes(length) - allocatedBytes(block.length);
    block.length = length;
  }

  #forget(ref: BlockRef): void {
    this.#allocated -= allocatedBytes(ref.length);
    if (ref.hash === null) this.#pool.account(-ref.buffer.length);
  }
}

/** @throws {Suspension} unless `hashes` is empty. */
export function demandContents(hashes: readonly Uint8Array[]): void {
  if (hashes.length > 0) {
    throw new Suspension({ kind: "load", load: { kind: "contents", hashes } });
  }
}

/** Size of a buffer for this many bytes: powers of two, so that appending copies little. */
function capacity(bytes: number): number {
  let size = SMALLEST_BUFFER;
  while (size < bytes) size *= 2;
  return Math.min(size, BLOCK_SIZE);
}
