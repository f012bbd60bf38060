import { S_IFMT } from "../base/modes.ts";
import { BLOCK_SIZE } from "../store/rows.ts";
import type {
  Attributes,
  FileSystemFigures,
  Listed,
  LockRange,
  Opened,
} from "../vfs/operations.ts";
import * as protocol from "./protocol.ts";
import {
  ATTR,
  ATTR_OUT,
  DIRENT,
  ENTRY_OUT,
  FILE_LOCK,
  OPEN_OUT,
  OUT_HEADER,
  STATFS_OUT,
  STATX,
  STATX_OUT,
  SX_TIME,
} from "./protocol.ts";

/** Bytes of one reply after its header, to be sent one part after the other. */
export type Body = readonly Uint8Array[];

/** The body of a reply that says only that it worked. */
export const EMPTY: Body = [];

const BILLION = 1_000_000_000n;
/** Longest time for which a kernel cache may be valid, in seconds: 136 years. */
const VALID_SECONDS_MAX = 0xffffffff;

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function struct(layout: { readonly bytes: number }): DataView {
  return new DataView(new ArrayBuffer(layout.bytes));
}

/** Writes a non-negative integer up to 2^53 as 64 bits; a BigInt for each would cost more. */
function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 2 ** 32, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}

/** Seconds, rounded down, and the nanoseconds above them: times before 1970 are negative. */
function splitTime(nanoseconds: bigint): [seconds: bigint, nanoseconds: number] {
  let seconds = nanoseconds / BILLION;
  let rest = nanoseconds - seconds * BILLION;
  if (rest < 0n) {
    seconds -= 1n;
    rest += BILLION;
  }
  return [seconds, Number(rest)];
}

function setTime(view: DataView, at: number, nsecAt: number, nanoseconds: bigint): void {
  const [seconds, rest] = splitTime(nanoseconds);
  view.setBigInt64(at, seconds, true);
  view.setUint32(nsecAt, rest, true);
}

function setValid(view: DataView, at: number, nsecAt: number, seconds: number): void {
  const bounded = Math.min(seconds, VALID_SECONDS_MAX);
  const whole = Math.floor(bounded);
  setU64(view, at, whole);
  view.setUint32(nsecAt, Math.floor((bounded - whole) * 1e9), true);
}

function setAttr(view: DataView, at: number, attributes: Attributes): void {
  setU64(view, at + ATTR.ino, attributes.inode);
  setU64(view, at + ATTR.size, attributes.size);
  setU64(view, at + ATTR.blocks, attributes.blocks);
  setTime(view, at + ATTR.atime, at + ATTR.atimensec, attributes.atime);
  setTime(view, at + ATTR.mtime, at + ATTR.mtimensec, attributes.mtime);
  setTime(view, at + ATTR.ctime, at + ATTR.ctimensec, attributes.ctime);
  view.setUint32(at + ATTR.mode, attributes.mode, true);
  view.setUint32(at + ATTR.nlink, attributes.nlink, true);
  view.setUint32(at + ATTR.uid, attributes.uid, true);
  view.setUint32(at + ATTR.gid, attributes.gid, true);
  view.setUint32(at + ATTR.rdev, attributes.rdev, true);
  // What stdio buffers: whole blocks make fewer requests.
  view.setUint32(at + ATTR.blksize, BLOCK_SIZE, true);
}

/** `fuse_out_header` for a body of `length` bytes; `errno` 0 for success. */
export function outHeader(unique: bigint, errno: number, length: number): Uint8Array {
  const view = struct(OUT_HEADER);
  view.setUint32(OUT_HEADER.len, OUT_HEADER.bytes + length, true);
  view.setInt32(OUT_HEADER.error, -errno, true);
  view.setBigUint64(OUT_HEADER.unique, unique, true);
  return bytesOf(view);
}

function setEntry(view: DataView, at: number, attributes: Attributes): void {
  // Inode numbers are never given twice, so (nodeid, generation 0) is unique for ever.
  setU64(view, at + ENTRY_OUT.nodeid, attributes.nodeId ?? attributes.inode);
  setValid(
    view,
    at + ENTRY_OUT.entry_valid,
    at + ENTRY_OUT.entry_valid_nsec,
    attributes.validSeconds,
  );
  setValid(
    view,
    at + ENTRY_OUT.attr_valid,
    at + ENTRY_OUT.attr_valid_nsec,
    attributes.validSeconds,
  );
  setAttr(view, at + ENTRY_OUT.attr, attributes);
}

/** `fuse_entry_out`: a name and the inode it leads to. */
export function entryOut(attributes: Attributes): Uint8Array {
  const view = struct(ENTRY_OUT);
  setEntry(view, 0, attributes);
  return bytesOf(view);
}

/** `fuse_entry_out` with node id 0: the name is not there, and stays so for `seconds`. */
export function negativeEntryOut(seconds: number): Uint8Array {
  const view = struct(ENTRY_OUT);
  setValid(view, ENTRY_OUT.entry_valid, ENTRY_OUT.entry_valid_nsec, seconds);
  return bytesOf(view);
}

/** `fuse_attr_out`. */
export function attrOut(attributes: Attributes): Uint8Array {
  const view = struct(ATTR_OUT);
  setValid(view, ATTR_OUT.attr_valid, ATTR_OUT.attr_valid_nsec, attributes.validSeconds);
  setAttr(view, ATTR_OUT.attr, attributes);
  return bytesOf(view);
}

/** `fuse_statx_out`: all basic fields and the birth time. */
export function statxOut(attributes: Attributes): Uint8Array {
  const view = struct(STATX_OUT);
  setValid(view, STATX_OUT.attr_valid, STATX_OUT.attr_valid_nsec, attributes.validSeconds);
  const at = STATX_OUT.stat;
  view.setUint32(at + STATX.mask, protocol.STATX_BASIC_STATS | protocol.STATX_BTIME, true);
  view.setUint32(at + STATX.blksize, BLOCK_SIZE, true);
  view.setUint32(at + STATX.nlink, attributes.nlink, true);
  view.setUint32(at + STATX.uid, attributes.uid, true);
  view.setUint32(at + STATX.gid, attributes.gid, true);
  view.setUint16(at + STATX.mode, attributes.mode, true);
  setU64(view, at + STATX.ino, attributes.inode);
  setU64(view, at + STATX.size, attributes.size);
  setU64(view, at + STATX.blocks, attributes.blocks);
  for (const field of ["atime", "btime", "ctime", "mtime"] as const) {
    const time = at + STATX[field];
    setTime(view, time + SX_TIME.tv_sec, time + SX_TIME.tv_nsec, attributes[field]);
  }
  // new_encode_dev: minor bits 0-7, major bits 8-19, minor bits 20-31.
  const { rdev } = attributes;
  view.setUint32(at + STATX.rdev_major, (rdev & 0xfff00) >>> 8, true);
  view.setUint32(at + STATX.rdev_minor, (rdev & 0xff) | ((rdev >>> 12) & 0xfff00), true);
  return bytesOf(view);
}

/** `fuse_open_out`. */
export function openOut(opened: Opened): Uint8Array {
  const view = struct(OPEN_OUT);
  setU64(view, OPEN_OUT.fh, opened.handle);
  const flags = (opened.keepCache ? protocol.FOPEN_KEEP_CACHE : 0) |
    (opened.directIo ? protocol.FOPEN_DIRECT_IO : 0) |
    (opened.keepListing ? protocol.FOPEN_CACHE_DIR : 0);
  view.setUint32(OPEN_OUT.open_flags, flags, true);
  return bytesOf(view);
}

/** `fuse_write_out`, and `fuse_getxattr_out` of a size: a 32-bit count and padding. */
export function countOut(count: number): Uint8Array {
  const view = struct(protocol.WRITE_OUT);
  view.setUint32(protocol.WRITE_OUT.size, count, true);
  return bytesOf(view);
}

/** `fuse_lseek_out`, and `fuse_copy_file_range_out`: a 64-bit position or count. */
export function positionOut(position: number): Uint8Array {
  const view = struct(protocol.LSEEK_OUT);
  setU64(view, protocol.LSEEK_OUT.offset, position);
  return bytesOf(view);
}

/** `fuse_statfs_out`. */
export function statfsOut(figures: FileSystemFigures): Uint8Array {
  const view = struct(STATFS_OUT);
  setU64(view, STATFS_OUT.blocks, figures.blocks);
  setU64(view, STATFS_OUT.bfree, figures.freeBlocks);
  setU64(view, STATFS_OUT.bavail, figures.freeBlocks);
  setU64(view, STATFS_OUT.files, figures.files);
  setU64(view, STATFS_OUT.ffree, figures.freeFiles);
  view.setUint32(STATFS_OUT.bsize, figures.blockSize, true);
  view.setUint32(STATFS_OUT.namelen, figures.nameMax, true);
  view.setUint32(STATFS_OUT.frsize, figures.blockSize, true);
  return bytesOf(view);
}

/** `fuse_lk_out`: the lock that stands in the way; null: none does. */
export function lockOut(range: LockRange | null): Uint8Array {
  const view = struct(FILE_LOCK);
  if (range === null) {
    view.setUint32(FILE_LOCK.type, protocol.F_UNLCK, true);
    return bytesOf(view);
  }
  view.setBigUint64(FILE_LOCK.start, range.start, true);
  view.setBigUint64(FILE_LOCK.end, range.end, true);
  const type = range.type === "read"
    ? protocol.F_RDLCK
    : range.type === "write"
    ? protocol.F_WRLCK
    : protocol.F_UNLCK;
  view.setUint32(FILE_LOCK.type, type, true);
  view.setUint32(FILE_LOCK.pid, range.pid, true);
  return bytesOf(view);
}

/** Names one after the other, each ended by NUL: what listxattr(2) gives. */
export function nameList(names: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(names.reduce((sum, name) => sum + name.length + 1, 0));
  let at = 0;
  for (const name of names) {
    out.set(name, at);
    at += name.length + 1;
  }
  return out;
}

/** Packs directory entries into a reply of at most `size` bytes; each record is 8-byte aligned. */
export class DirectoryPacker {
  readonly #view: DataView;
  readonly #plus: boolean;
  #length = 0;
  /** Whether an entry was refused for want of space. */
  full = false;

  constructor(size: number, plus: boolean) {
    this.#view = new DataView(new ArrayBuffer(size));
    this.#plus = plus;
  }

  /** Adds the entry; false, and nothing added, when it does not fit. */
  add(entry: Listed): boolean {
    const start = this.#length;
    const dirent = start + (this.#plus ? ENTRY_OUT.bytes : 0);
    const end = dirent + Math.ceil((DIRENT.bytes + entry.name.length) / 8) * 8;
    if (end > this.#view.byteLength) {
      this.full = true;
      return false;
    }
    // Node id 0 (`.` and `..`): the kernel takes the name and makes no dentry of it.
    if (this.#plus && entry.attributes !== null) setEntry(this.#view, start, entry.attributes);
    setU64(this.#view, dirent + DIRENT.ino, entry.inode);
    setU64(this.#view, dirent + DIRENT.off, entry.next);
    this.#view.setUint32(dirent + DIRENT.namelen, entry.name.length, true);
    // DT_* of readdir(3) are the type bits of st_mode.
    this.#view.setUint32(dirent + DIRENT.type, (entry.mode & S_IFMT) >>> 12, true);
    new Uint8Array(this.#view.buffer).set(entry.name, dirent + DIRENT.bytes);
    this.#length = end;
    return true;
  }

  /** What was packed. */
  bytes(): Uint8Array {
    return new Uint8Array(this.#view.buffer, 0, this.#length);
  }
}
