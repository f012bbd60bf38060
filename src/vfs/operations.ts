/**
 * What a mounted tree does, as the kernel asks for it. Every method is synchronous: it returns the
 * result, throws `FsError` with the errno of the man page, or throws `Suspension` having changed
 * nothing. Node ids are inode numbers.
 */

/** Who asks. One object for one request, the same in each run of it. */
export interface Context {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  /** Supplementary groups of the calling process, read when first needed (`/proc/PID/status`). */
  readonly groups: () => readonly number[];
  /** Whether the caller has a capability (man 7 capabilities: its number) over the mount. */
  readonly capable: (capability: number) => boolean;
  /** Set by an operation that waits for a commit, so that its next run knows what it waited for. */
  sequence?: number;
  /** Number of the turn in which the operation began; of one that reads only: it may, once. */
  turn?: number | "once";
  /** Answer of a control command, set by whoever carried it out, before the operation runs again. */
  answer?: { readonly result: string } | { readonly errno: number };
  /** The errno of a wait that failed: the operation ends with it instead of running again. */
  failure?: number;
}

/** `struct stat` of an inode. */
export interface Attributes {
  readonly inode: number;
  /** By which id the kernel shall know it, when not by its number. */
  readonly nodeId?: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  readonly size: number;
  /** Units of 512 bytes. */
  readonly blocks: number;
  readonly rdev: number;
  /** Nanoseconds since 1970. */
  readonly atime: bigint;
  readonly mtime: bigint;
  readonly ctime: bigint;
  readonly btime: bigint;
  /** Seconds for which the kernel may keep this; 0 for what changes by itself (control files). */
  readonly validSeconds: number;
}

/** What to change; absent: leave. Times: nanoseconds, or `"now"`. */
export interface AttributeChange {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly size?: number;
  readonly atime?: bigint | "now";
  readonly mtime?: bigint | "now";
  readonly ctime?: bigint;
  /** Handle of an ftruncate(2). */
  readonly handle?: number;
  /** FATTR_KILL_SUIDGID: setuid and setgid are to be cleared (chown; truncate by another). */
  readonly killPrivileges?: boolean;
}

/** A file opened. */
export interface Opened {
  readonly handle: number;
  /** FOPEN_KEEP_CACHE: pages cached by the kernel stay good. */
  readonly keepCache: boolean;
  /** FOPEN_DIRECT_IO: nothing is cached (control files). */
  readonly directIo: boolean;
  /**
   * FOPEN_CACHE_DIR, for a directory: the kernel keeps its listing until a name in it changes through
   * this mount, or it is told that the directory is stale.
   */
  readonly keepListing?: boolean;
}

/** One entry of a listing; `attributes` null for `.` and `..`. */
export interface Listed {
  readonly name: Uint8Array;
  readonly inode: number;
  readonly mode: number;
  /** Position after this entry, to go on from. */
  readonly next: number;
  readonly attributes: Attributes | null;
}

/** A POSIX lock (fcntl(2)) or flock(2), bytes `start` to and with `end`. */
export interface LockRange {
  readonly start: bigint;
  /** 0x7fffffffffffffff: to the end of the file, wherever it is. */
  readonly end: bigint;
  readonly type: "read" | "write" | "unlock";
  readonly pid: number;
}

/** Figures of statvfs(3); sizes in units of `blockSize`. */
export interface FileSystemFigures {
  readonly blockSize: number;
  readonly blocks: number;
  readonly freeBlocks: number;
  readonly files: number;
  readonly freeFiles: number;
  readonly nameMax: number;
}

/** The mounted tree. Lookup counts: each Attributes of an "entry" result is one kernel reference. */
export interface FileSystem {
  lookup(context: Context, parent: number, name: Uint8Array): Attributes;
  /** The kernel dropped `count` references. Never fails, never suspends. */
  forget(inode: number, count: number): void;
  getattr(context: Context, inode: number, handle: number | null): Attributes;
  setattr(context: Context, inode: number, change: AttributeChange): Attributes;
  readlink(context: Context, inode: number): Uint8Array;
  symlink(context: Context, parent: number, name: Uint8Array, target: Uint8Array): Attributes;
  mknod(
    context: Context,
    parent: number,
    name: Uint8Array,
    mode: number,
    rdev: number,
    umask: number,
  ): Attributes;
  mkdir(
    context: Context,
    parent: number,
    name: Uint8Array,
    mode: number,
    umask: number,
  ): Attributes;
  unlink(context: Context, parent: number, name: Uint8Array): void;
  rmdir(context: Context, parent: number, name: Uint8Array): void;
  /** rename2(2) with `flags` RENAME_NOREPLACE 1, RENAME_EXCHANGE 2, RENAME_WHITEOUT 4. */
  rename(
    context: Context,
    parent: number,
    name: Uint8Array,
    newParent: number,
    newName: Uint8Array,
    flags: number,
  ): void;
  link(context: Context, inode: number, newParent: number, newName: Uint8Array): Attributes;
  /** open(2) flags as Linux numbers them. O_TRUNC arrives here (FUSE_ATOMIC_O_TRUNC). */
  open(context: Context, inode: number, flags: number): Opened;
  create(
    context: Context,
    parent: number,
    name: Uint8Array,
    flags: number,
    mode: number,
    umask: number,
  ): { readonly attributes: Attributes; readonly opened: Opened };
  /** O_TMPFILE: an inode without a name. */
  tmpfile(
    context: Context,
    parent: number,
    flags: number,
    mode: number,
    umask: number,
  ): { readonly attributes: Attributes; readonly opened: Opened };
  /** Up to `size` bytes; fewer only at the end of the file. Parts to be sent one after the other. */
  read(
    context: Context,
    inode: number,
    handle: number,
    offset: number,
    size: number,
  ): readonly Uint8Array[];
  /**
   * `data` is only valid during the call. `killPrivileges`: FUSE_WRITE_KILL_SUIDGID.
   * @returns bytes written: fewer than given only at the size that files may have
   */
  write(
    context: Context,
    inode: number,
    handle: number,
    offset: number,
    data: Uint8Array,
    killPrivileges: boolean,
  ): number;
  flush(context: Context, inode: number, handle: number, lockOwner: bigint): void;
  release(context: Context, inode: number, handle: number, lockOwner: bigint | null): void;
  /** Returns once everything before it is committed. */
  fsync(context: Context, inode: number, handle: number | null): void;
  opendir(context: Context, inode: number, flags: number): Opened;
  /** Entries after position `after` (0: from the start), until `take` answers false (reply full). */
  readdir(
    context: Context,
    inode: number,
    handle: number,
    after: number,
    plus: boolean,
    take: (entry: Listed) => boolean,
  ): void;
  releasedir(context: Context, inode: number, handle: number): void;
  statfs(context: Context): FileSystemFigures;
  /** `flags`: XATTR_CREATE 1, XATTR_REPLACE 2. `killSetgid`: an access list takes setgid away. */
  setxattr(
    context: Context,
    inode: number,
    name: Uint8Array,
    value: Uint8Array,
    flags: number,
    killSetgid: boolean,
  ): void;
  getxattr(context: Context, inode: number, name: Uint8Array): Uint8Array;
  listxattr(context: Context, inode: number): readonly Uint8Array[];
  removexattr(context: Context, inode: number, name: Uint8Array): void;
  access(context: Context, inode: number, mask: number): void;
  /** fallocate(2) modes; @throws EOPNOTSUPP for those that are not there. */
  fallocate(
    context: Context,
    inode: number,
    handle: number,
    mode: number,
    offset: number,
    length: number,
  ): void;
  /** SEEK_DATA 3 and SEEK_HOLE 4. */
  lseek(context: Context, inode: number, handle: number, offset: number, whence: number): number;
  copyFileRange(
    context: Context,
    inode: number,
    handle: number,
    offset: number,
    newInode: number,
    newHandle: number,
    newOffset: number,
    length: number,
  ): number;
  /** The lock that stands in the way, or null. */
  getlk(
    context: Context,
    inode: number,
    owner: bigint,
    range: LockRange,
    flock: boolean,
  ): LockRange | null;
  /** `wait`: suspends until it is free; else EAGAIN. `handle`: of the file through which it is set. */
  setlk(
    context: Context,
    inode: number,
    handle: number,
    owner: bigint,
    range: LockRange,
    flock: boolean,
    wait: boolean,
  ): void;
}
