import { fromLatin1 } from "../base/bytes.ts";
import {
  isRegular,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from "../base/modes.ts";
import { invariant } from "../base/errors.ts";
import { BLOCK_SIZE, type BlockRow, type InodeRow } from "../store/rows.ts";
import { unpackXattrs } from "../store/xattrs.ts";
import type { ImagePath } from "./paths.ts";
import type { EntryType, ShortBlocks, TarEntry } from "./tar_entry.ts";
import { tarEntry } from "./tar_writer.ts";

const TYPES: ReadonlyMap<number, EntryType> = new Map<number, EntryType>([
  [S_IFREG, "file"],
  [S_IFDIR, "directory"],
  [S_IFLNK, "symlink"],
  [S_IFCHR, "char"],
  [S_IFBLK, "block"],
  [S_IFIFO, "fifo"],
  [S_IFSOCK, "socket"],
]);

const FORMATS: ReadonlyMap<EntryType, number> = new Map(
  [...TYPES].map(([format, type]) => [type, format]),
);

/** The file type bits of `st_mode` for an entry that is no hard link. */
export function formatOf(type: EntryType): number {
  const format = FORMATS.get(type);
  invariant(format !== undefined, `a tar entry of type ${type} is no inode`);
  return format;
}

/**
 * The tar entry of an inode.
 *
 * @param blocks The file's block rows, in order.
 * @param target Path of the entry that this is a hard link to, null for the first of its names.
 */
export function entryOf(
  path: ImagePath,
  inode: InodeRow,
  blocks: readonly BlockRow[],
  target: ImagePath | null,
): TarEntry {
  const type = TYPES.get(inode.mode & S_IFMT);
  invariant(type !== undefined, `inode ${inode.inode} has the unknown type ${inode.mode}`);
  const attributes = tarEntry({
    path: fromLatin1(path),
    mode: inode.mode & 0o7777,
    uid: inode.uid,
    gid: inode.gid,
    mtime: inode.mtime,
    xattrs: unpackXattrs(inode.xattrs),
  });
  if (target !== null) return { ...attributes, type: "link", target: fromLatin1(target) };
  const device = type === "char" || type === "block";
  return {
    ...attributes,
    type,
    size: isRegular(inode.mode) ? inode.size : 0,
    target: type === "symlink" ? inode.target! : attributes.target,
    major: device ? deviceMajor(inode.rdev) : 0,
    minor: device ? deviceMinor(inode.rdev) : 0,
    shortBlocks: isRegular(inode.mode) ? shortBlocks(inode.size, blocks) : [],
  };
}

/** Major number of a device in the kernel's `new_encode_dev` form. */
function deviceMajor(rdev: number): number {
  return (rdev >>> 8) & 0xfff;
}

/** Minor number of a device in the kernel's `new_encode_dev` form. */
function deviceMinor(rdev: number): number {
  return (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
}

/** The kernel's `new_encode_dev` of a device. Numbers too large lose their upper bits. */
export function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

/** Bytes of block `index` that a file of this size has room for. */
export function blockRoom(size: number, index: number): number {
  return Math.min(BLOCK_SIZE, size - index * BLOCK_SIZE);
}

/** Where a file's blocks are absent or shorter than they could be, as runs. */
function shortBlocks(size: number, blocks: readonly BlockRow[]): ShortBlocks[] {
  const out: { first: number; count: number; length: number }[] = [];
  const add = (first: number, count: number, length: number) => {
    const last = out.at(-1);
    if (last !== undefined && last.first + last.count === first && last.length === length) {
      last.count += count;
    } else out.push({ first, count, length });
  };
  const total = Math.ceil(size / BLOCK_SIZE);
  let next = 0;
  for (const { index, length } of blocks) {
    if (index >= total) break;
    if (index > next) add(next, index - next, 0);
    if (length < blockRoom(size, index)) add(index, 1, length);
    next = index + 1;
  }
  if (total > next) add(next, total - next, 0);
  return out;
}
