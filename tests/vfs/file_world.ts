import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { hex } from "../../src/base/bytes.ts";
import { S_IFREG } from "../../src/base/modes.ts";
import type { Load } from "../../src/store/loads.ts";
import { allocatedBytes, BLOCK_SIZE, type BlockRow, type InodeRow } from "../../src/store/rows.ts";
import { FileData } from "../../src/vfs/file_data.ts";
import { type FileHost, readFile } from "../../src/vfs/file_io.ts";
import { FilePool, type FileRows } from "../../src/vfs/file_pool.ts";
import { Suspension } from "../../src/vfs/suspension.ts";

export const MAX_SIZE = 6 * BLOCK_SIZE;

/** An inode with its data. */
export interface OpenFile {
  row: InodeRow;
  file: FileData;
}

/** Files over a store that is two maps, which answers loads and applies batches when they settle. */
export class World implements FileHost<OpenFile> {
  readonly maxFileSize = MAX_SIZE;
  readonly pool: FilePool;
  readonly files: OpenFile[];
  readonly contents = new Map<string, Uint8Array>();
  readonly blocks = new Map<string, BlockRow>();
  loads = 0;
  inFlight: FileRows | null = null;

  constructor(count: number, cacheBytes: number) {
    this.pool = new FilePool(cacheBytes);
    this.files = Array.from({ length: count }, (_, i) => ({
      row: newRow(i + 2),
      file: new FileData(i + 2, this.pool, true),
    }));
  }

  now(): bigint {
    return 7n;
  }

  admit(): void {}

  demandRoom(): void {}

  grew(): void {}

  markInode(): void {}

  /** Runs an operation as the session does: again after each load, until it is through. */
  run<T>(operation: () => T): T {
    for (let turn = 0; turn < 20; turn++) {
      try {
        return operation();
      } catch (error) {
        if (!(error instanceof Suspension)) throw error;
        assert(error.wait.kind === "load");
        this.#answer(error.wait.load);
      }
    }
    throw new Error("an operation suspends again and again");
  }

  collect(): void {
    if (this.inFlight !== null) return;
    this.inFlight = { blocks: [], deadBlocks: [], contents: [] };
    for (const { file } of this.files) file.collect(this.inFlight);
    assert.equal(this.pool.dirtyBytes, 0);
    const bytes = this.inFlight.contents.reduce((sum, { data }) => sum + data.length, 0);
    assert.equal(this.pool.inFlightBytes, bytes);
  }

  /** Applies what is in flight: late, so that a change of in-flight data would be seen. */
  settle(): void {
    if (this.inFlight === null) return;
    const sent = new Set<string>();
    for (const { hash, data } of this.inFlight.contents) {
      assert.equal(createHash("sha256").update(data).digest("hex"), hex(hash));
      assert(!sent.has(hex(hash)), "a content is in one batch twice");
      sent.add(hex(hash));
      this.contents.set(hex(hash), data.slice());
    }
    const keys = new Set<string>();
    for (const row of this.inFlight.blocks) {
      keys.add(`${row.inode}/${row.index}`);
      assert.equal(this.contents.get(hex(row.hash))?.length, row.length);
      this.blocks.set(`${row.inode}/${row.index}`, row);
    }
    for (const { inode, index } of this.inFlight.deadBlocks) {
      assert(!keys.has(`${inode}/${index}`), "a block is both put and dead");
      assert(this.blocks.delete(`${inode}/${index}`), "a block without a row died");
    }
    this.inFlight = null;
    this.pool.settled();
    assert.equal(this.pool.inFlightBytes, 0);
  }

  /** Forgets the maps of files that are clean, as the tree does when memory is short. */
  forget(): void {
    if (this.inFlight !== null) return;
    this.pool.cache.clear();
    for (const open of this.files) {
      if (!open.file.dirty) open.file = new FileData(open.row.inode, this.pool, false);
    }
  }

  read(index: number, offset: number, size: number): Uint8Array {
    const parts = this.run(() => readFile(this.files[index]!, offset, size));
    return new Uint8Array(Buffer.concat(parts));
  }

  check(): void {
    let dirty = 0;
    for (const { row, file } of this.files) {
      if (!file.loaded) continue;
      let allocated = 0;
      for (const index of file.indexes(0, Infinity)) {
        const ref = file.at(index)!;
        assert(ref.length >= 1 && index * BLOCK_SIZE + ref.length <= row.size);
        allocated += allocatedBytes(ref.length);
        if (ref.hash !== null) continue;
        dirty += ref.buffer.length;
        assert(ref.buffer.subarray(ref.length).every((byte) => byte === 0));
      }
      assert.equal(file.allocated, allocated);
      assert.equal(row.allocated, allocated);
    }
    assert.equal(this.pool.dirtyBytes, dirty);
  }

  #answer(load: Load): void {
    this.loads++;
    if (load.kind === "blocks") {
      const rows = [...this.blocks.values()].filter(({ inode }) => inode === load.inode);
      this.files.find(({ row }) => row.inode === load.inode)!.file.absorb(rows);
      return;
    }
    assert(load.kind === "contents");
    this.pool.absorbContents(load.hashes, load.hashes.map((hash) => this.contents.get(hex(hash))!));
  }
}

function newRow(inode: number): InodeRow {
  return {
    inode,
    mode: S_IFREG | 0o644,
    uid: 0,
    gid: 0,
    nlink: 1,
    size: 0,
    allocated: 0,
    rdev: 0,
    atime: 0n,
    mtime: 0n,
    ctime: 0n,
    btime: 0n,
    target: null,
    xattrs: null,
  };
}
