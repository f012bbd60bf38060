/**
 * Data operations on one open regular file: size, times and allocation of its inode with the bytes of
 * its blocks. Access and handles were checked by the caller, who also takes setuid and setgid away
 * afterwards (`privileges.ts`). As everything in the tree: check, demand (suspend), ask for admission,
 * and only then change, so that nothing is ever done by half.
 */
import { EFBIG, EINVAL, EOPNOTSUPP } from "../base/errno.ts";
import { FsError, invariant } from "../base/errors.ts";
import { BLOCK_SIZE, type InodeRow } from "../store/rows.ts";
import type { FileData } from "./file_data.ts";
import {
  copyRange,
  demandCopy,
  demandWrite,
  planCopy,
  readRange,
  seekRange,
  writeRange,
  zeroRange,
} from "./file_ranges.ts";

/** fallocate(2) modes that there are; all others get EOPNOTSUPP. */
export const FALLOC_FL_KEEP_SIZE = 1;
export const FALLOC_FL_PUNCH_HOLE = 2;
export const FALLOC_FL_ZERO_RANGE = 16;

/** lseek(2): the next data, the next hole. */
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

/** A regular file in memory: the node of an inode whose `file` is there. */
export interface RegularFile {
  row: InodeRow;
  readonly file: FileData | null;
}

/** What file operations need of the tree around them. */
export interface FileHost<F extends RegularFile = RegularFile> {
  /** Bytes that no file may exceed. */
  readonly maxFileSize: number;
  /** Nanoseconds since 1970. */
  now(): bigint;
  /** Room for this many more dirty bytes. @throws {Suspension} @throws {FsError} EIO */
  admit(bytes: number): void;
  /** Room for bytes up to `end` of a file whose map is here. @throws {FsError} EDQUOT */
  demandRoom(file: FileData, offset: number, end: number): void;
  /** A file takes this much more (or less) than before. */
  grew(bytes: number): void;
  /** The row or the blocks of this file changed. */
  markInode(file: F): void;
}

/** Up to `size` bytes at `offset`, fewer only at the end; views that are good until the next operation. */
export function readFile(node: RegularFile, offset: number, size: number): Uint8Array[] {
  return readRange(fileOf(node), offset, Math.min(node.row.size, offset + size));
}

/**
 * Writes `data`, which is only valid during the call; beyond the end it leaves a hole.
 * @returns how much of it: less than all only where files may not be longer (man 2 write)
 * @throws {FsError} EFBIG when not one byte of it would be below that bound
 */
export function writeFile<F extends RegularFile>(
  host: FileHost<F>,
  node: F,
  offset: number,
  data: Uint8Array,
): number {
  if (data.length === 0) return 0;
  if (offset >= host.maxFileSize) throw new FsError(EFBIG);
  const end = Math.min(offset + data.length, host.maxFileSize);
  data = data.subarray(0, end - offset);
  demandWrite(fileOf(node), offset, end);
  host.demandRoom(fileOf(node), offset, end);
  host.admit(data.length);
  writeRange(fileOf(node), offset, data);
  update(host, node, Math.max(node.row.size, end));
  return data.length;
}

/**
 * Cuts a file off, or extends it with a hole. Sets mtime and ctime, also when the size stays
 * (man 2 truncate says so for ftruncate; for truncate the kernel asks only when it changes).
 * @throws {FsError} EFBIG
 */
export function truncateFile<F extends RegularFile>(
  host: FileHost<F>,
  node: F,
  size: number,
): void {
  if (size > host.maxFileSize) throw new FsError(EFBIG);
  fileOf(node).demandMap();
  const old = node.row.size;
  if (size < old) demandWrite(fileOf(node), size, old);
  host.admit(size < old && size % BLOCK_SIZE !== 0 ? BLOCK_SIZE : 0);
  zeroRange(fileOf(node), size, old);
  update(host, node, size);
}

/**
 * fallocate(2): extends the file, punches a hole or makes a range zeros. Space is not reserved: there
 * is no such thing in a database, so a later write can still fail with ENOSPC. Collapsing and
 * inserting ranges are not there: the kernel's FUSE client refuses them before it would ask.
 * @throws {FsError} EOPNOTSUPP for other modes, EINVAL for wrong ranges, EFBIG.
 */
export function allocateFile<F extends RegularFile>(
  host: FileHost<F>,
  node: F,
  mode: number,
  offset: number,
  length: number,
): void {
  const keepSize = (mode & FALLOC_FL_KEEP_SIZE) !== 0;
  const kind = mode & ~FALLOC_FL_KEEP_SIZE;
  if (kind !== 0 && kind !== FALLOC_FL_PUNCH_HOLE && kind !== FALLOC_FL_ZERO_RANGE) {
    throw new FsError(EOPNOTSUPP);
  }
  if (kind === FALLOC_FL_PUNCH_HOLE && !keepSize) throw new FsError(EOPNOTSUPP);
  if (offset < 0 || length <= 0) throw new FsError(EINVAL);
  const end = offset + length;
  if (end > host.maxFileSize && kind !== FALLOC_FL_PUNCH_HOLE) throw new FsError(EFBIG);
  fileOf(node).demandMap();
  const zeroEnd = kind === 0 ? offset : Math.min(end, node.row.size);
  if (offset < zeroEnd) demandWrite(fileOf(node), offset, zeroEnd);
  host.admit(offset < zeroEnd ? 2 * BLOCK_SIZE : 0);
  zeroRange(fileOf(node), offset, zeroEnd);
  update(host, node, keepSize ? node.row.size : Math.max(node.row.size, end));
}

/** lseek(2) with SEEK_DATA or SEEK_HOLE. @throws {FsError} ENXIO, EINVAL for another `whence` */
export function seekFile(node: RegularFile, offset: number, whence: number): number {
  if (whence !== SEEK_DATA && whence !== SEEK_HOLE) throw new FsError(EINVAL);
  return seekRange(fileOf(node), node.row.size, offset, whence === SEEK_DATA ? "data" : "hole");
}

/**
 * copy_file_range(2): returns the bytes copied, which may be fewer than asked. Whole blocks are shared
 * where they can be, and cost nothing.
 * @throws {FsError} EINVAL when the ranges overlap in one file; EFBIG as writing does
 */
export function copyFile<F extends RegularFile>(
  host: FileHost<F>,
  source: F,
  offset: number,
  target: F,
  targetOffset: number,
  length: number,
): number {
  if (targetOffset >= host.maxFileSize) throw new FsError(EFBIG);
  const plan = planCopy(
    fileOf(source),
    source.row.size,
    offset,
    fileOf(target),
    target.row.size,
    targetOffset,
    Math.min(length, host.maxFileSize - targetOffset),
  );
  if (plan.copied === 0) return 0;
  const end = targetOffset + plan.copied;
  const shift = targetOffset - offset;
  demandCopy(fileOf(source), fileOf(target), shift, plan);
  host.demandRoom(fileOf(target), targetOffset, end);
  host.admit(plan.dirties);
  copyRange(fileOf(source), fileOf(target), shift, plan);
  update(host, target, Math.max(target.row.size, end));
  return plan.copied;
}

function fileOf(node: RegularFile): FileData {
  invariant(node.file !== null, `inode ${node.row.inode} is no regular file`);
  return node.file;
}

function update<F extends RegularFile>(
  host: FileHost<F>,
  node: F,
  size: number,
): void {
  const { row } = node;
  const now = host.now();
  const { allocated } = fileOf(node);
  host.grew(allocated - row.allocated);
  node.row = { ...row, size, allocated, mtime: now, ctime: now };
  host.markInode(node);
}
