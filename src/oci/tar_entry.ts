import type { Xattr } from "../store/xattrs.ts";

/** What a tar member is. `socket` is our own: tar cannot say it (spec/oci.md, "own keys"). */
export type EntryType =
  | "file"
  | "link"
  | "symlink"
  | "char"
  | "block"
  | "directory"
  | "fifo"
  | "socket";

/**
 * Blocks of a file whose stored bytes are fewer than the file's size has room for: `count` blocks
 * from `first` hold `length` bytes each, zeros after them; length 0 is a hole.
 */
export interface ShortBlocks {
  readonly first: number;
  readonly count: number;
  readonly length: number;
}

/** One member of a tar, without its content. */
export interface TarEntry {
  /** Relative, components joined by single slashes, none at the end; empty for the root. */
  readonly path: Uint8Array;
  readonly type: EntryType;
  /** Permission bits, 12 of them. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of content that follow; 0 for all but files. */
  readonly size: number;
  /** Nanoseconds since 1970. */
  readonly mtime: bigint;
  /** Target of a symbolic link as it is; path of a hard link's target as `path` is written. */
  readonly target: Uint8Array;
  readonly major: number;
  readonly minor: number;
  readonly xattrs: readonly Xattr[];
  readonly shortBlocks: readonly ShortBlocks[];
}

/** Bytes of a tar record: headers and contents are padded to it. */
export const RECORD = 512;

/** Type flags of POSIX ustar (pax(1), "ustar Interchange Format"). */
export const FLAGS: ReadonlyMap<EntryType, string> = new Map([
  ["file", "0"],
  ["link", "1"],
  ["symlink", "2"],
  ["char", "3"],
  ["block", "4"],
  ["directory", "5"],
  ["fifo", "6"],
  ["socket", "0"],
]);

/** Go's archive/tar, under every container engine, reads no extended header larger than this. */
export const PAX_LIMIT = 1 << 20;

export const PAX_XATTR = "SCHILY.xattr.";
/** Attributes that `SCHILY.xattr` cannot carry, packed as `xattrs.ts` does, in hexadecimal. */
export const PAX_OWN_XATTRS = "TARBOX.xattrs";
/** `first+count=length` of each run of {@link ShortBlocks}, joined by commas. */
export const PAX_OWN_BLOCKS = "TARBOX.blocks";
/** `socket`. */
export const PAX_OWN_TYPE = "TARBOX.type";

/** Zero bytes that pad a content of `size` bytes to whole records. */
export function padding(size: number): number {
  return (RECORD - size % RECORD) % RECORD;
}
