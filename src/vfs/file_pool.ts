import { createHash } from "node:crypto";
import { latin1 } from "../base/bytes.ts";
import type { BlockRow, ContentRow } from "../store/rows.ts";
import { ContentCache } from "./content_cache.ts";

/** Lists of a batch that file data adds to. */
export interface FileRows {
  readonly blocks: BlockRow[];
  readonly deadBlocks: { readonly inode: number; readonly index: number }[];
  readonly contents: ContentRow[];
}

/** What all files of one mounted tree share: the cache of contents and the account of dirty bytes. */
export class FilePool {
  readonly cache: ContentCache;
  #dirtyBytes = 0;

  /** @param cacheBytes bound of the contents that are kept though the store has them */
  constructor(cacheBytes: number) {
    this.cache = new ContentCache(cacheBytes);
  }

  /** Bytes of memory in dirty blocks, exact; those in flight do not count. */
  get dirtyBytes(): number {
    return this.#dirtyBytes;
  }

  /** Bytes that the batch in flight brings to the store. */
  get inFlightBytes(): number {
    return this.cache.pinnedBytes;
  }

  /** A dirty buffer of a file grew (or shrank) by this many bytes. */
  account(bytes: number): void {
    this.#dirtyBytes += bytes;
  }

  /**
   * Takes over the content of a dirty block, not to be changed from now on: it is pinned in the
   * cache, and in `contents` unless the batch has it already. That an earlier batch brought it says
   * nothing: when its blocks were overwritten, the collector of garbage may have removed it since.
   */
  seal(data: Uint8Array, contents: ContentRow[]): { hash: Uint8Array; key: string } {
    const hash = new Uint8Array(createHash("sha256").update(data).digest());
    const key = latin1(hash);
    const before = this.cache.pinnedBytes;
    this.cache.pin(key, data);
    if (this.cache.pinnedBytes !== before) contents.push({ hash, data });
    return { hash, key };
  }

  /** Takes in the answer to a `contents` load. */
  absorbContents(hashes: readonly Uint8Array[], contents: readonly Uint8Array[]): void {
    this.cache.absorb(hashes.map(latin1), contents);
  }

  /** The batch in flight is committed. */
  settled(): void {
    this.cache.unpinAll();
  }
}
