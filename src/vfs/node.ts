import type { InodeRow } from "../store/rows.ts";
import type { DirectoryList } from "./directory_list.ts";
import type { FileData } from "./file_data.ts";

/** One name in a directory as memory knows it. */
export interface Dentry {
  readonly name: Uint8Array;
  /** Inode number; 0: there is no such name (a negative dentry). */
  readonly child: number;
  readonly cookie: number;
  /** File type bits of the child (`S_IFMT`); 0 where there is none. */
  readonly type: number;
  /** The store, or the batch in flight, has a dentry of this name. */
  stored: boolean;
  /** It is not what the store and the batch in flight have. */
  dirty: boolean;
  /** Another one stands in its place, or none. */
  gone: boolean;
}

/**
 * Names asked one by one after which a page of the directory is asked for instead, and again each
 * time that as many more were: who walks through a directory, or fills it, gets it in few round
 * trips, and who picks names out of a huge one does not load it.
 */
const MISSES_LISTED = 4;

/** An inode in memory. */
export class Node {
  /** References that the kernel holds: lookups not yet forgotten. */
  lookups = 0;
  /** Open handles. */
  opens = 0;
  /** For a directory: its known names, by latin1 of the name. */
  readonly children: Map<string, Dentry> | null;
  /** Every name that there is, is in `children`. */
  complete = false;
  /** For a directory: names that had to be asked of the store one by one. */
  #misses = 0;
  /** For a directory that was listed: its names in order. */
  list: DirectoryList | null = null;
  /** For a directory: the inode that holds its one name. */
  parent = 0;
  /** For a regular file: its data. */
  file: FileData | null = null;
  /** The row is not what the store and the batch in flight have. */
  dirty = false;
  /** In the batch in flight. */
  flying = false;
  /** The store, or the batch in flight, has a row of it. */
  stored: boolean;
  /** Its last name and last user are gone. */
  dead = false;
  /** It counts against the quota no more: it has no name and is not open. */
  uncounted = false;
  /** A new atime that waits for another reason to be written. */
  lazyAtime = false;

  constructor(public row: InodeRow, directory: boolean, stored: boolean) {
    this.children = directory ? new Map() : null;
    this.stored = stored;
  }

  /** Notes that memory does not know a name. @returns whether to load a page of the directory */
  missed(): boolean {
    const misses = ++this.#misses;
    return misses >= MISSES_LISTED && Number.isInteger(Math.log2(misses));
  }

  get inode(): number {
    return this.row.inode;
  }
}
