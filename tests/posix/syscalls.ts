/**
 * System calls that Deno has no interface for, made through libc, so that a check can ask exactly
 * what it means and see the errno. Each throws {@link SystemError}. Linux only.
 */
import { Buffer } from "node:buffer";

const LIBC = {
  __errno_location: { parameters: [], result: "pointer" },
  strerrorname_np: { parameters: ["i32"], result: "pointer" },
  // Variadic in C; the call is the same where all arguments are integers.
  syscall: { parameters: ["i64", "i64", "i64", "i64", "buffer"], result: "i64" },
  umask: { parameters: ["u32"], result: "u32" },
  openat: { parameters: ["i32", "buffer", "i32", "u32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  pread: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  pwrite: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
  fsync: { parameters: ["i32"], result: "i32" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  truncate: { parameters: ["buffer", "i64"], result: "i32" },
  fallocate: { parameters: ["i32", "i32", "i64", "i64"], result: "i32" },
  copy_file_range: {
    parameters: ["i32", "buffer", "i32", "buffer", "usize", "u32"],
    result: "isize",
  },
  mkdirat: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  mknodat: { parameters: ["i32", "buffer", "u32", "u64"], result: "i32" },
  unlinkat: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  renameat2: { parameters: ["i32", "buffer", "i32", "buffer", "u32"], result: "i32" },
  linkat: { parameters: ["i32", "buffer", "i32", "buffer", "i32"], result: "i32" },
  symlinkat: { parameters: ["buffer", "i32", "buffer"], result: "i32" },
  readlinkat: { parameters: ["i32", "buffer", "buffer", "usize"], result: "isize" },
  chmod: { parameters: ["buffer", "u32"], result: "i32" },
  fchmod: { parameters: ["i32", "u32"], result: "i32" },
  fchownat: { parameters: ["i32", "buffer", "u32", "u32", "i32"], result: "i32" },
  utimensat: { parameters: ["i32", "buffer", "buffer", "i32"], result: "i32" },
  faccessat: { parameters: ["i32", "buffer", "i32", "i32"], result: "i32" },
  statx: { parameters: ["i32", "buffer", "i32", "u32", "buffer"], result: "i32" },
  statfs: { parameters: ["buffer", "buffer"], result: "i32" },
  lsetxattr: { parameters: ["buffer", "buffer", "buffer", "usize", "i32"], result: "i32" },
  lgetxattr: { parameters: ["buffer", "buffer", "buffer", "usize"], result: "isize" },
  llistxattr: { parameters: ["buffer", "buffer", "usize"], result: "isize" },
  lremovexattr: { parameters: ["buffer", "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const libc = Deno.dlopen("libc.so.6", LIBC).symbols;

/** Numbers of system calls whose libc wrapper would change every thread (man 7 nptl). */
const CREDENTIALS = Deno.build.arch === "x86_64"
  ? { setgroups: 116, setresuid: 117, setresgid: 119 }
  : { setgroups: 159, setresuid: 147, setresgid: 149 };

export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_SYMLINK_FOLLOW = 0x400;
export const AT_REMOVEDIR = 0x200;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;
export const O_APPEND = 0o2000;
export const O_DIRECTORY = 0o200000;
export const O_NOFOLLOW = 0o400000;
export const O_NOATIME = 0o1000000;
export const O_PATH = 0o10000000;
export const O_TMPFILE = 0o20000000 | O_DIRECTORY;
export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
export const RENAME_WHITEOUT = 4;
export const XATTR_CREATE = 1;
export const XATTR_REPLACE = 2;
export const R_OK = 4;
export const W_OK = 2;
export const X_OK = 1;
export const S_IFIFO = 0o010000;
export const S_IFCHR = 0o020000;
export const S_IFDIR = 0o040000;
export const S_IFBLK = 0o060000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
export const S_IFSOCK = 0o140000;
export const FALLOC_FL_KEEP_SIZE = 1;

/** A path as text, or as bytes where it is no UTF-8. */
export type Path = string | Uint8Array;

/** A system call failed; `code` is the name of the errno, as `ENOENT`. */
export class SystemError extends Error {
  constructor(readonly call: string, readonly code: string) {
    super(`${call}: ${code}`);
  }
}

/** Asserts that a call fails with this errno. */
export function fails(code: string, run: () => unknown): void {
  let outcome = "success";
  try {
    run();
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    if (error.code === code) return;
    outcome = error.code;
  }
  throw new Error(`expected ${code}, got ${outcome}`);
}

function cString(text: Path): Uint8Array<ArrayBuffer> {
  const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
  const ended = new Uint8Array(bytes.length + 1);
  ended.set(bytes);
  return ended;
}

function checked(call: string, result: number | bigint): number {
  if (Number(result) >= 0) return Number(result);
  const code = new Deno.UnsafePointerView(libc.__errno_location()!).getInt32();
  const name = libc.strerrorname_np(code);
  throw new SystemError(
    call,
    name === null ? String(code) : new Deno.UnsafePointerView(name).getCString(),
  );
}

/** Owner, group and supplementary groups of a process. */
export interface Credentials {
  readonly uid: number;
  readonly gid: number;
  readonly groups?: readonly number[];
}

/**
 * Runs `run`, which must not await, as another user. Credentials are the thread's own on Linux, so
 * nothing else in this process changes; the capabilities of root are gone meanwhile. Needs root.
 */
export function as<T>({ uid, gid, groups = [] }: Credentials, run: () => T): T {
  const { setgroups, setresgid, setresuid } = CREDENTIALS;
  const call = (name: string, number: number, id: number, saved: number) =>
    checked(name, libc.syscall(BigInt(number), BigInt(id), BigInt(id), BigInt(saved), null));
  const list = (wanted: readonly number[]) => {
    const ids = Uint32Array.from([...wanted, 0]);
    const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(ids));
    const [call, length] = [BigInt(setgroups), BigInt(wanted.length)];
    checked("setgroups", libc.syscall(call, length, address, 0n, ids));
  };
  list(groups);
  call("setresgid", setresgid, gid, 0);
  call("setresuid", setresuid, uid, 0);
  try {
    return run();
  } finally {
    call("setresuid", setresuid, 0, 0);
    call("setresgid", setresgid, 0, 0);
    list([]);
  }
}

/** Runs `run` with another file mode creation mask, which is the whole process's. */
export function withUmask<T>(mask: number, run: () => T): T {
  const before = libc.umask(mask);
  try {
    return run();
  } finally {
    libc.umask(before);
  }
}

/** What statx(2) tells; times are nanoseconds since 1970. */
export interface Stat {
  readonly inode: bigint;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** Units of 512 bytes. */
  readonly blocks: number;
  readonly atime: bigint;
  readonly mtime: bigint;
  readonly ctime: bigint;
  readonly btime: bigint;
  readonly major: number;
  readonly minor: number;
  /** Bits of STATX_*: what of this is known. */
  readonly mask: number;
}

/** Asks for an inode's attributes; a symbolic link's own, not those of what it points to. */
export function stat(path: Path, directory = AT_FDCWD, flags = AT_SYMLINK_NOFOLLOW): Stat {
  const bytes = new Uint8Array(256);
  checked("statx", libc.statx(directory, cString(path), flags, 0xfff, bytes));
  const view = new DataView(bytes.buffer);
  const time = (at: number) =>
    view.getBigInt64(at, true) * 1_000_000_000n + BigInt(view.getUint32(at + 8, true));
  return {
    mask: view.getUint32(0, true),
    nlink: view.getUint32(16, true),
    uid: view.getUint32(20, true),
    gid: view.getUint32(24, true),
    mode: view.getUint16(28, true),
    inode: view.getBigUint64(32, true),
    size: Number(view.getBigUint64(40, true)),
    blocks: Number(view.getBigUint64(48, true)),
    atime: time(64),
    btime: time(80),
    ctime: time(96),
    mtime: time(112),
    major: view.getUint32(128, true),
    minor: view.getUint32(132, true),
  };
}

/** Attributes of an open file. */
export function fstat(fd: number): Stat {
  const AT_EMPTY_PATH = 0x1000;
  return stat("", fd, AT_EMPTY_PATH);
}

/** Permission bits with setuid, setgid and sticky. */
export function modeOf(path: Path): number {
  return stat(path).mode & 0o7777;
}

/** What statfs(2) tells; sizes in units of `frsize`. */
export function statfs(path: Path) {
  const bytes = new Uint8Array(256);
  checked("statfs", libc.statfs(cString(path), bytes));
  const word = (index: number) => Number(new DataView(bytes.buffer).getBigInt64(8 * index, true));
  return {
    bsize: word(1),
    blocks: word(2),
    bfree: word(3),
    bavail: word(4),
    files: word(5),
    ffree: word(6),
    namelen: word(8),
    frsize: word(9),
  };
}

/** openat(2). */
export function open(path: Path, flags: number, mode = 0o644, directory = AT_FDCWD): number {
  const O_CLOEXEC = 0o2000000;
  return checked("open", libc.openat(directory, cString(path), flags | O_CLOEXEC, mode));
}

export function close(fd: number): void {
  checked("close", libc.close(fd));
}

/** Opens a file for as long as `run` runs. */
export function withOpen<T>(path: Path, flags: number, run: (fd: number) => T, mode = 0o644): T {
  const fd = open(path, flags, mode);
  try {
    return run(fd);
  } finally {
    close(fd);
  }
}

/** Makes a file with this content, or replaces what is in it. */
export function put(path: Path, text: string | Uint8Array = "", mode = 0o644): void {
  withOpen(path, O_WRONLY | O_CREAT | O_TRUNC, (fd) => void write(fd, text), mode);
}

/** write(2), or with an offset pwrite(2). */
export function write(fd: number, data: string | Uint8Array, offset?: number): number {
  const bytes = Buffer.from(data as Uint8Array);
  return checked(
    "write",
    offset === undefined
      ? libc.write(fd, bytes, BigInt(bytes.length))
      : libc.pwrite(fd, bytes, BigInt(bytes.length), BigInt(offset)),
  );
}

/** read(2), or with an offset pread(2); what was read, in latin1. */
export function read(fd: number, size: number, offset?: number): string {
  const bytes = new Uint8Array(size);
  const got = checked(
    "read",
    offset === undefined
      ? libc.read(fd, bytes, BigInt(size))
      : libc.pread(fd, bytes, BigInt(size), BigInt(offset)),
  );
  return Buffer.from(bytes.subarray(0, got)).toString("latin1");
}

/** Up to 64 KiB of a file's content, in latin1. */
export function content(path: Path): string {
  return withOpen(path, 0, (fd) => read(fd, 65536));
}

export function fsync(fd: number): void {
  checked("fsync", libc.fsync(fd));
}

export function truncate(path: Path, size: number | bigint): void {
  checked("truncate", libc.truncate(cString(path), BigInt(size)));
}

export function ftruncate(fd: number, size: number | bigint): void {
  checked("ftruncate", libc.ftruncate(fd, BigInt(size)));
}

export function fallocate(fd: number, mode: number, offset: number, length: number): void {
  checked("fallocate", libc.fallocate(fd, mode, BigInt(offset), BigInt(length)));
}

/** copy_file_range(2) at the positions of the descriptors. */
export function copyFileRange(from: number, to: number, length: number): number {
  return checked(
    "copy_file_range",
    libc.copy_file_range(from, null, to, null, BigInt(length), 0),
  );
}

export function mkdir(path: Path, mode = 0o755, directory = AT_FDCWD): void {
  checked("mkdir", libc.mkdirat(directory, cString(path), mode));
}

/** mknodat(2); `mode` says what kind. */
export function mknod(path: Path, mode: number, major = 0, minor = 0): void {
  const device = BigInt((major << 8) | minor);
  checked("mknod", libc.mknodat(AT_FDCWD, cString(path), mode, device));
}

export function unlink(path: Path, directory = AT_FDCWD): void {
  checked("unlink", libc.unlinkat(directory, cString(path), 0));
}

export function rmdir(path: Path, directory = AT_FDCWD): void {
  checked("rmdir", libc.unlinkat(directory, cString(path), AT_REMOVEDIR));
}

/** renameat2(2). */
export function rename(from: Path, to: Path, flags = 0): void {
  checked("rename", libc.renameat2(AT_FDCWD, cString(from), AT_FDCWD, cString(to), flags));
}

/** linkat(2). */
export function link(from: Path, to: Path, flags = 0): void {
  checked("link", libc.linkat(AT_FDCWD, cString(from), AT_FDCWD, cString(to), flags));
}

export function symlink(target: Path, path: Path): void {
  checked("symlink", libc.symlinkat(cString(target), AT_FDCWD, cString(path)));
}

/** readlink(2); the target in latin1. */
export function readlink(path: Path): string {
  const bytes = new Uint8Array(8192);
  const length = checked(
    "readlink",
    libc.readlinkat(AT_FDCWD, cString(path), bytes, BigInt(bytes.length)),
  );
  return Buffer.from(bytes.subarray(0, length)).toString("latin1");
}

export function chmod(path: Path, mode: number): void {
  checked("chmod", libc.chmod(cString(path), mode));
}

export function fchmod(fd: number, mode: number): void {
  checked("fchmod", libc.fchmod(fd, mode));
}

/** chown(2); -1 leaves the one or the other. `flags`: AT_SYMLINK_NOFOLLOW for lchown(2). */
export function chown(path: Path, uid: number, gid: number, flags = 0): void {
  checked("chown", libc.fchownat(AT_FDCWD, cString(path), uid >>> 0, gid >>> 0, flags));
}

/** A time for {@link utimens}: seconds with the nanoseconds above them, or what utimensat(2) has. */
export type Time = { readonly s: number | bigint; readonly ns: number } | "now" | "omit";

/** utimensat(2) on the path itself, not on what a symbolic link points to. */
export function utimens(path: Path, atime: Time, mtime: Time): void {
  const view = new DataView(new ArrayBuffer(32));
  [atime, mtime].forEach((time, i) => {
    const UTIME_NOW = 0x3fffffff;
    const UTIME_OMIT = 0x3ffffffe;
    const fixed = typeof time === "string" ? null : time;
    view.setBigInt64(16 * i, BigInt(fixed?.s ?? 0), true);
    const ns = fixed?.ns ?? (time === "now" ? UTIME_NOW : UTIME_OMIT);
    view.setBigInt64(16 * i + 8, BigInt(ns), true);
  });
  const bytes = new Uint8Array(view.buffer);
  checked("utimensat", libc.utimensat(AT_FDCWD, cString(path), bytes, AT_SYMLINK_NOFOLLOW));
}

/** access(2): whether the real user may. */
export function access(path: Path, mode: number): void {
  checked("access", libc.faccessat(AT_FDCWD, cString(path), mode, 0));
}

/** lsetxattr(2). */
export function setxattr(path: Path, name: Path, value: string | Uint8Array, flags = 0): void {
  const bytes = Buffer.from(value as Uint8Array);
  checked(
    "setxattr",
    libc.lsetxattr(cString(path), cString(name), bytes, BigInt(bytes.length), flags),
  );
}

/** lgetxattr(2); the value in latin1. `room`: bytes of the buffer, 0 for none. */
export function getxattr(path: Path, name: Path, room = 65536): string {
  const bytes = new Uint8Array(Math.max(1, room));
  const length = checked(
    "getxattr",
    libc.lgetxattr(cString(path), cString(name), bytes, BigInt(room)),
  );
  return Buffer.from(bytes.subarray(0, length)).toString("latin1");
}

/** llistxattr(2); the names, sorted. */
export function listxattr(path: Path): string[] {
  const bytes = new Uint8Array(65536);
  const length = checked("listxattr", libc.llistxattr(cString(path), bytes, BigInt(bytes.length)));
  return Buffer.from(bytes.subarray(0, length)).toString("latin1").split("\0").slice(0, -1).sort();
}

export function removexattr(path: Path, name: Path): void {
  checked("removexattr", libc.lremovexattr(cString(path), cString(name)));
}
