/**
 * Rows of the versioned store, as every layer above sees them (spec/data-model.md). All times are
 * nanoseconds since 1970 (negative before), all sizes bytes, all names bytes.
 */

/** Bytes of a file that one block row covers. Block `i` is the bytes from `i * BLOCK_SIZE`. */
export const BLOCK_SIZE = 131072;

/** `died` of a row that is still alive. */
export const ALIVE = 2147483647;

/** Inode number of the root directory of every workspace. */
export const ROOT_INODE = 1;

/** Inode numbers from here up are synthetic (the control directory) and never stored. */
export const SYNTHETIC_INODE = 2 ** 52;

/** A state of a tree: what is visible at an ordinal of a lineage and, below it, of its ancestors. */
export interface Point {
  readonly lineage: number;
  readonly ordinal: number;
}

/** Whether two points are the same state. */
export function samePoint(a: Point, b: Point): boolean {
  return a.lineage === b.lineage && a.ordinal === b.ordinal;
}

/** Where a read looks, nearest lineage first, then the points that each stands on. Never empty. */
export type Chain = readonly Point[];

/** One inode. Immutable by convention: a change makes a new object. */
export interface InodeRow {
  readonly inode: number;
  /** `st_mode`: file type and permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** For a directory: 2 and one for each subdirectory, as ext4 counts. 0: unlinked, still open. */
  readonly nlink: number;
  /** For a directory: 4096; for a symbolic link: bytes of the target. */
  readonly size: number;
  /** Bytes that are no hole: the sum over its blocks of `allocatedBytes`; `st_blocks` times 512. */
  readonly allocated: number;
  /** Device number as `st_rdev` in the kernel's 32-bit encoding (`new_encode_dev`). */
  readonly rdev: number;
  readonly atime: bigint;
  readonly mtime: bigint;
  readonly ctime: bigint;
  /** Birth time; together with the number it tells one inode from another for ever. */
  readonly btime: bigint;
  /** Target of a symbolic link, else null. */
  readonly target: Uint8Array | null;
  /** Extended attributes, packed by `xattrs.ts`; null when there are none. */
  readonly xattrs: Uint8Array | null;
}

/** One name in a directory. */
export interface DentryRow {
  readonly parent: number;
  readonly name: Uint8Array;
  readonly child: number;
  /** Position in a listing; unique in the directory, given once, never given again. */
  readonly cookie: number;
}

/** One block of a file that is no hole. */
export interface BlockRow {
  readonly inode: number;
  readonly index: number;
  /** SHA-256 of the content. */
  readonly hash: Uint8Array;
  /** Bytes stored, 1 to `BLOCK_SIZE`; what follows in the block up to the file's end is zeros. */
  readonly length: number;
}

/** Content of blocks, kept once in a tenant. */
export interface ContentRow {
  readonly hash: Uint8Array;
  readonly data: Uint8Array;
}

/** Bytes on disk that a block of this many stored bytes counts for: whole pages of 4096. */
export function allocatedBytes(length: number): number {
  return Math.ceil(length / 4096) * 4096;
}

/** A dentry with the inode it names. */
export interface Entry {
  readonly dentry: DentryRow;
  readonly inode: InodeRow;
}

/**
 * The net effect of a prefix of operations. Applied in one transaction, all or nothing. A key is in
 * at most one of a put list and its dead list. Contents that a block names are in the batch or in the
 * store already.
 */
export interface Batch {
  /** Next unused inode number and cookie of the lineage after this batch. */
  readonly nextInode: number;
  readonly nextCookie: number;
  readonly inodes: readonly InodeRow[];
  /**
   * Inodes that exist no more; their numbers never come back. Their block rows need not be listed:
   * what they say from then on means nothing.
   */
  readonly deadInodes: readonly number[];
  readonly dentries: readonly DentryRow[];
  readonly deadDentries: readonly { readonly parent: number; readonly name: Uint8Array }[];
  readonly blocks: readonly BlockRow[];
  readonly deadBlocks: readonly { readonly inode: number; readonly index: number }[];
  readonly contents: readonly ContentRow[];
}

/** A workspace: one writable head on a chain of sealed layers. */
export interface WorkspaceRow {
  readonly id: number;
  readonly name: string;
  readonly head: Point;
  /** The layer the head stands on; null for an empty base. */
  readonly base: number | null;
  readonly createdAt: Date;
  readonly lease: Lease | null;
}

/** Who holds a workspace for writing. */
export interface Lease {
  /** Grows with every attach; a commit under an older epoch is refused (fencing). */
  readonly epoch: number;
  readonly holder: Holder;
  readonly heartbeat: Date;
  /** Seconds since the heartbeat by the database's clock. */
  readonly ageSeconds: number;
}

/** What a holder tells of itself. */
export interface Holder {
  readonly host: string;
  readonly pid: number;
  /** Where it is mounted; null for a command without a mount. */
  readonly mountPoint: string | null;
  /** Its row among the mounts of the workspace; absent for a command. */
  readonly mount?: number;
  /** It yields the lease when asked: several mounts share the workspace (spec/coherence.md). */
  readonly shared?: boolean;
  /** The running system and process namespace in which `pid` is a number. */
  readonly machine?: string;
  /** When the process started, in ticks of that system: tells a number that was given again. */
  readonly started?: string;
}

/** A sealed layer: a named point. */
export interface LayerRow {
  readonly id: number;
  /** 32 lower-case hexadecimal digits, random; a reference may be a prefix of it. */
  readonly uid: string;
  readonly workspace: number;
  readonly name: string;
  readonly point: Point;
  /** The layer below, null at the bottom of a chain. May belong to another workspace (a fork). */
  readonly parent: number | null;
  readonly message: string;
  readonly createdAt: Date;
}

/** Keys whose rows were born or died in a range of ordinals of one lineage. */
export interface ChangedKeys {
  readonly inodes: readonly number[];
  readonly dentries: readonly { readonly parent: number; readonly name: Uint8Array }[];
}

/**
 * What is known of the tar that leads from one sealed state to another: an import applied it, or an
 * export wrote it. Sealed states never change, so this stays true.
 */
export interface ChangesetRow {
  /** The state that it is applied to; null: the empty tree. */
  readonly below: Point | null;
  /** The state that it gives. */
  readonly point: Point;
  /** `sha256:` and hexadecimal, of the tar as it is (OCI image spec, "Layer DiffID"). */
  readonly diffId: string;
  /** How it was packed: `stored`, `gzip`, `zstd` or `none`. */
  readonly packing: string;
  /** `sha256:` and hexadecimal of the packed tar, and its size in bytes. */
  readonly digest: string;
  readonly size: number;
  /** Registry repositories that have the packed tar, as `host/name`. */
  readonly repositories: readonly string[];
}
