/** What passes between who changes the head and the tree in memory that shows it (spec/layers.md). */
import type { BlockRow, InodeRow } from "../store/rows.ts";
import type { Counters } from "./tree.ts";

/** An inode that the kernel knows. */
export interface KnownInode {
  readonly inode: number;
  /** Open, mapped, or a directory that is being listed. */
  readonly open: boolean;
}

/** What differs between the state that the tree shows and the one it shows from now on. */
export interface Rebase extends Counters {
  readonly inodes: readonly number[];
  readonly dentries: readonly { readonly parent: number; readonly name: Uint8Array }[];
  /** Open files that are not what they were, as they were. */
  readonly replaced: readonly { readonly row: InodeRow; readonly blocks: readonly BlockRow[] }[];
  /** Numbers that stand for another file than before (the same number was given in two forks). */
  readonly strangers: readonly number[];
  /** Names of the last two: unchanged, they lead to another node id. */
  readonly renamed: readonly { readonly parent: number; readonly name: Uint8Array }[];
}

/** What the kernel must forget, by node ids. */
export interface Forget {
  readonly entries: { readonly parent: number; readonly name: Uint8Array }[];
  readonly inodes: number[];
}
