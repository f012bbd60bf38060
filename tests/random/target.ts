/** What a random program runs on: system calls of one process that is root, on one tree. */

/** Numbers of Linux (x86_64 and arm64 agree on these). */
export const O_RDONLY = 0;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;
export const O_APPEND = 0o2000;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;
export const UMASK = 0o022;

/** The part of `struct stat` that programs compare. Times in nanoseconds. */
export interface Stat {
  readonly inode: number;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly rdev: number;
  readonly mtime: bigint;
  readonly ctime: bigint;
}

/** An entry that getdents64(2) returned; `next` is its `d_off`. */
export interface Listed {
  readonly name: string;
  readonly inode: number;
  readonly next: bigint;
}

/**
 * The calls. Paths are relative to the root of the tree, `""` is the root itself; names and values
 * are strings of one character a byte. The last component is never followed when it is a symbolic
 * link, except by `open`, `truncate` and `chmod`. Each throws `FsError` with the errno.
 */
export interface Target {
  /** Called before an operation with its number: what clocks the calls of it may show. */
  begin(operation: number): void;
  /** Times that operation `operation` may have put down, both ends included. */
  window(operation: number): readonly [bigint, bigint];
  mkdir(path: string, mode: number): Promise<void>;
  rmdir(path: string): Promise<void>;
  unlink(path: string): Promise<void>;
  mknod(path: string, mode: number, rdev: number): Promise<void>;
  symlink(to: string, path: string): Promise<void>;
  link(from: string, to: string): Promise<void>;
  rename(from: string, to: string, flags: number): Promise<void>;
  /** @returns a descriptor */
  open(path: string, flags: number, mode: number): Promise<number>;
  /** open(2) with O_TMPFILE | O_RDWR. */
  tmpfile(directory: string, mode: number): Promise<number>;
  /** linkat(2) of a descriptor. */
  linkOpen(fd: number, path: string): Promise<void>;
  close(fd: number): Promise<void>;
  pread(fd: number, offset: number, size: number): Promise<Uint8Array>;
  pwrite(fd: number, offset: number, data: Uint8Array): Promise<number>;
  ftruncate(fd: number, size: number): Promise<void>;
  truncate(path: string, size: number): Promise<void>;
  fallocate(fd: number, mode: number, offset: number, length: number): Promise<void>;
  seek(fd: number, offset: number, whence: number): Promise<number>;
  copy(fd: number, offset: number, to: number, toOffset: number, length: number): Promise<number>;
  fsync(fd: number): Promise<void>;
  chmod(path: string, mode: number): Promise<void>;
  chown(path: string, uid: number, gid: number): Promise<void>;
  utimens(path: string, atime: bigint, mtime: bigint): Promise<void>;
  stat(path: string): Promise<Stat>;
  fstat(fd: number): Promise<Stat>;
  readlink(path: string): Promise<string>;
  setxattr(path: string, name: string, value: string, flags: number): Promise<void>;
  getxattr(path: string, name: string): Promise<string>;
  listxattr(path: string): Promise<string[]>;
  removexattr(path: string, name: string): Promise<void>;
  opendir(path: string): Promise<number>;
  /** Some entries after a position (0: the start); none at the end. */
  getdents(fd: number, after: bigint, some: number): Promise<Listed[]>;

  /** Something that no program may notice: a commit, an eviction, the kernel's forgetting. */
  disturb(random: () => number): Promise<void>;
  /** Nothing is open: the tree goes away and comes back. */
  remount(): Promise<void>;
  /** Layers, where there are any; nothing is open when one is switched to. */
  readonly layers: {
    checkpoint(name: string): Promise<void>;
    switchTo(name: string): Promise<void>;
  } | null;
  /** Violations found by a check of everything stored. */
  check(): Promise<readonly string[]>;
  /** Called while an operation waits, when set: other operations may run meanwhile. */
  interlude: (() => Promise<void>) | null;
  end(): Promise<void>;
}
