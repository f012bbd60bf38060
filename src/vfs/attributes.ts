/** What stat(2), chmod(2), chown(2), utimensat(2) and truncate(2) see and change. */
import { EINVAL, EISDIR } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import { isRegular, S_IFMT, S_ISGID, S_ISUID } from "../base/modes.ts";
import type { InodeRow } from "../store/rows.ts";
import { ACL_ACCESS, chmodAcl } from "./acl.ts";
import { withXattr, xattrOf } from "./extended.ts";
import { truncateFile } from "./file_io.ts";
import type { Node } from "./node.ts";
import type { AttributeChange, Attributes, Context } from "./operations.ts";
import { withoutPrivileges } from "./privileges.ts";
import type { Tree } from "./tree.ts";

/** The kernel may keep attributes and names: this mount alone changes them. */
const VALID_SECONDS = 86400;

/**
 * The first and the last time that a row can hold, in nanoseconds: whole seconds, since a time that
 * reaches one of them loses its fraction (as `timestamp_truncate` of the kernel has it).
 */
const TIME_MIN = -9_223_372_036_000_000_000n;
const TIME_MAX = 9_223_372_036_000_000_000n;
const SECOND = 1_000_000_000n;

/** The nearest time that can be kept. */
function storable(time: bigint): bigint {
  if (time >= TIME_MAX) return TIME_MAX;
  return time < TIME_MIN + SECOND ? TIME_MIN : time;
}

/** A direct write takes setuid and setgid away without telling the kernel's cache of attributes. */
function mayChangeByItself(mode: number): boolean {
  return isRegular(mode) && (mode & (S_ISUID | S_ISGID)) !== 0;
}

/** `struct stat` of an inode. @param validSeconds how long the kernel may keep it */
export function attributesOf({ row }: Node, validSeconds = VALID_SECONDS): Attributes {
  return {
    inode: row.inode,
    mode: row.mode,
    uid: row.uid,
    gid: row.gid,
    nlink: row.nlink,
    size: row.size,
    blocks: row.allocated / 512,
    rdev: row.rdev,
    atime: row.atime,
    mtime: row.mtime,
    ctime: row.ctime,
    btime: row.btime,
    validSeconds: mayChangeByItself(row.mode) ? 0 : validSeconds,
  };
}

/** Changes attributes; the kernel has checked who may. @throws {FsError} EISDIR, EINVAL, EFBIG */
export function setAttributes(
  tree: Tree,
  context: Context,
  node: Node,
  change: AttributeChange,
): void {
  if (change.size !== undefined) {
    if (node.children !== null) throw new FsError(EISDIR);
    if (!isRegular(node.row.mode)) throw new FsError(EINVAL);
    truncateFile(tree, node, change.size);
  } else {
    tree.admit();
  }
  const now = tree.now();
  const next: { -readonly [K in keyof InodeRow]?: InodeRow[K] } = { ctime: change.ctime ?? now };
  let { mode } = node.row;
  if (change.uid !== undefined || change.gid !== undefined) {
    next.uid = change.uid ?? node.row.uid;
    next.gid = change.gid ?? node.row.gid;
  }
  if (change.killPrivileges && node.children === null) mode = withoutPrivileges(context, node.row);
  if (change.mode !== undefined) {
    // The kernel has taken setgid out where the caller may not have it.
    mode = (node.row.mode & S_IFMT) | (change.mode & 0o7777);
    const acl = xattrOf(node, ACL_ACCESS);
    if (acl !== null) next.xattrs = withXattr(node.row.xattrs, ACL_ACCESS, chmodAcl(acl, mode));
  }
  next.mode = mode;
  if (change.atime !== undefined) {
    next.atime = change.atime === "now" ? now : storable(change.atime);
  }
  if (change.mtime !== undefined) {
    next.mtime = change.mtime === "now" ? now : storable(change.mtime);
  }
  tree.update(node, next);
}

/**
 * Whether a read at `now` has to mark the atime, as mount option relatime has it (man 8 mount): when
 * the last read is not after the last change, or more than a day ago.
 */
export function atimeIsDue({ row }: Node, now: bigint): boolean {
  const day = 86_400_000_000_000n;
  return row.atime <= row.mtime || row.atime <= row.ctime || now - row.atime >= day;
}

/**
 * Notes that an inode was read. Held in memory until it is written for another reason: a read causes
 * no commit.
 */
export function noteRead(tree: Tree, node: Node): void {
  const now = tree.now();
  if (!atimeIsDue(node, now)) return;
  node.row = { ...node.row, atime: now };
  node.lazyAtime = true;
}
