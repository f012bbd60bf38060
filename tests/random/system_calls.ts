/** System calls of this process, through the C library: what Deno's own functions do not reach. */
import { fromLatin1, latin1 } from "../../src/base/bytes.ts";
import { FsError } from "../../src/base/errors.ts";
import type { Stat } from "./target.ts";

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_SYMLINK_FOLLOW = 0x400;
const AT_EMPTY_PATH = 0x1000;
const STATX_ALL = 0xfff;

const i32 = "i32" as const;
const i64 = "i64" as const;
const buffer = "buffer" as const;

const LIBC = Deno.dlopen("libc.so.6", {
  __errno_location: { parameters: [], result: "pointer" },
  open: { parameters: [buffer, i32, "u32"], result: i32 },
  close: { parameters: [i32], result: i32 },
  pread: { parameters: [i32, buffer, "usize", i64], result: i64 },
  pwrite: { parameters: [i32, buffer, "usize", i64], result: i64 },
  lseek: { parameters: [i32, i64, i32], result: i64 },
  fsync: { parameters: [i32], result: i32 },
  ftruncate: { parameters: [i32, i64], result: i32 },
  truncate: { parameters: [buffer, i64], result: i32 },
  fallocate: { parameters: [i32, i32, i64, i64], result: i32 },
  copy_file_range: { parameters: [i32, buffer, i32, buffer, "usize", "u32"], result: i64 },
  mkdir: { parameters: [buffer, "u32"], result: i32 },
  rmdir: { parameters: [buffer], result: i32 },
  unlink: { parameters: [buffer], result: i32 },
  mknod: { parameters: [buffer, "u32", "u64"], result: i32 },
  symlink: { parameters: [buffer, buffer], result: i32 },
  linkat: { parameters: [i32, buffer, i32, buffer, i32], result: i32 },
  renameat2: { parameters: [i32, buffer, i32, buffer, "u32"], result: i32 },
  chmod: { parameters: [buffer, "u32"], result: i32 },
  lchown: { parameters: [buffer, "u32", "u32"], result: i32 },
  utimensat: { parameters: [i32, buffer, buffer, i32], result: i32 },
  statx: { parameters: [i32, buffer, i32, "u32", buffer], result: i32 },
  readlink: { parameters: [buffer, buffer, "usize"], result: i64 },
  lsetxattr: { parameters: [buffer, buffer, buffer, "usize", i32], result: i32 },
  lgetxattr: { parameters: [buffer, buffer, buffer, "usize"], result: i64 },
  llistxattr: { parameters: [buffer, buffer, "usize"], result: i64 },
  lremovexattr: { parameters: [buffer, buffer], result: i32 },
  getdents64: { parameters: [i32, buffer, "usize"], result: i64 },
}).symbols;

function cString(text: string): Uint8Array<ArrayBuffer> {
  return fromLatin1(`${text}\0`);
}

/** The result, or the errno thrown. */
function checked(result: number | bigint): number {
  if (result >= 0) return Number(result);
  throw new FsError(new Deno.UnsafePointerView(LIBC.__errno_location()!).getInt32());
}

function statOf(directory: number, path: string, flags: number): Stat {
  const bytes = new Uint8Array(256);
  checked(LIBC.statx(directory, cString(path), flags, STATX_ALL, bytes));
  const view = new DataView(bytes.buffer);
  const u32 = (at: number) => view.getUint32(at, true);
  const time = (at: number) => view.getBigInt64(at, true) * 1_000_000_000n + BigInt(u32(at + 8));
  return {
    nlink: u32(16),
    uid: u32(20),
    gid: u32(24),
    mode: view.getUint16(28, true),
    inode: Number(view.getBigUint64(32, true)),
    size: Number(view.getBigUint64(40, true)),
    ctime: time(96),
    mtime: time(112),
    rdev: (u32(128) << 8) | u32(132),
  };
}

/** Each throws {@link FsError} with the errno. Paths and names have one character a byte. */
export const systemCalls = {
  open: (path: string, flags: number, mode: number) =>
    checked(LIBC.open(cString(path), flags, mode)),
  close: (fd: number) => void checked(LIBC.close(fd)),
  pread(fd: number, offset: number, size: number): Uint8Array {
    const bytes = new Uint8Array(size);
    return bytes.subarray(0, checked(LIBC.pread(fd, bytes, BigInt(size), BigInt(offset))));
  },
  pwrite: (fd: number, offset: number, data: Uint8Array) =>
    checked(LIBC.pwrite(fd, data.slice(), BigInt(data.length), BigInt(offset))),
  lseek: (fd: number, offset: bigint, whence: number) => checked(LIBC.lseek(fd, offset, whence)),
  fsync: (fd: number) => void checked(LIBC.fsync(fd)),
  ftruncate: (fd: number, size: number) => void checked(LIBC.ftruncate(fd, BigInt(size))),
  truncate: (path: string, size: number) =>
    void checked(LIBC.truncate(cString(path), BigInt(size))),
  fallocate: (fd: number, mode: number, offset: number, length: number) =>
    void checked(LIBC.fallocate(fd, mode, BigInt(offset), BigInt(length))),
  copyFileRange(fd: number, offset: number, to: number, toOffset: number, length: number) {
    const [from, into] = [BigInt64Array.of(BigInt(offset)), BigInt64Array.of(BigInt(toOffset))];
    return checked(LIBC.copy_file_range(fd, from, to, into, BigInt(length), 0));
  },
  mkdir: (path: string, mode: number) => void checked(LIBC.mkdir(cString(path), mode)),
  rmdir: (path: string) => void checked(LIBC.rmdir(cString(path))),
  unlink: (path: string) => void checked(LIBC.unlink(cString(path))),
  mknod: (path: string, mode: number, device: number) =>
    void checked(LIBC.mknod(cString(path), mode, BigInt(device))),
  symlink: (to: string, path: string) => void checked(LIBC.symlink(cString(to), cString(path))),
  link: (from: string, to: string) =>
    void checked(LIBC.linkat(AT_FDCWD, cString(from), AT_FDCWD, cString(to), 0)),
  linkOpen(fd: number, path: string): void {
    const open = cString(`/proc/self/fd/${fd}`);
    checked(LIBC.linkat(AT_FDCWD, open, AT_FDCWD, cString(path), AT_SYMLINK_FOLLOW));
  },
  rename: (from: string, to: string, flags: number) =>
    void checked(LIBC.renameat2(AT_FDCWD, cString(from), AT_FDCWD, cString(to), flags)),
  chmod: (path: string, mode: number) => void checked(LIBC.chmod(cString(path), mode)),
  chown: (path: string, uid: number, gid: number) =>
    void checked(LIBC.lchown(cString(path), uid, gid)),
  utimens(path: string, atime: bigint, mtime: bigint): void {
    const second = 1_000_000_000n;
    const times = [atime, mtime].flatMap((time) => [time / second, time % second]);
    const bytes = BigInt64Array.from(times);
    checked(LIBC.utimensat(AT_FDCWD, cString(path), bytes, AT_SYMLINK_NOFOLLOW));
  },
  stat: (path: string) => statOf(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW),
  fstat: (fd: number) => statOf(fd, "", AT_EMPTY_PATH),
  readlink(path: string): string {
    const bytes = new Uint8Array(4096);
    return latin1(bytes.subarray(0, checked(LIBC.readlink(cString(path), bytes, 4096n))));
  },
  setxattr: (path: string, name: string, value: string, flags: number) =>
    void checked(
      LIBC.lsetxattr(
        cString(path),
        cString(name),
        fromLatin1(value),
        BigInt(value.length),
        flags,
      ),
    ),
  getxattr(path: string, name: string): string {
    const bytes = new Uint8Array(65536);
    const size = checked(LIBC.lgetxattr(cString(path), cString(name), bytes, 65536n));
    return latin1(bytes.subarray(0, size));
  },
  listxattr(path: string): string[] {
    const bytes = new Uint8Array(65536);
    const size = checked(LIBC.llistxattr(cString(path), bytes, 65536n));
    return latin1(bytes.subarray(0, size)).split("\0").slice(0, -1);
  },
  removexattr: (path: string, name: string) =>
    void checked(LIBC.lremovexattr(cString(path), cString(name))),
  /** Entries of one getdents64(2) with a buffer of this size. */
  getdents(fd: number, size: number): { name: string; inode: number; next: bigint }[] {
    const bytes = new Uint8Array(size);
    const filled = checked(LIBC.getdents64(fd, bytes, BigInt(size)));
    const view = new DataView(bytes.buffer);
    const out: { name: string; inode: number; next: bigint }[] = [];
    for (let at = 0; at < filled; at += view.getUint16(at + 16, true)) {
      out.push({
        inode: Number(view.getBigUint64(at, true)),
        next: view.getBigInt64(at + 8, true),
        name: latin1(bytes.subarray(at + 19, bytes.indexOf(0, at + 19))),
      });
    }
    return out;
  },
};
