import { S_IFDIR } from "../base/modes.ts";
import { type InodeRow, ROOT_INODE } from "./rows.ts";

/** The root directory of an empty tree. `time` in nanoseconds since 1970. */
export function emptyRoot(root: { uid: number; gid: number; time: bigint }): InodeRow {
  const { uid, gid, time } = root;
  return {
    inode: ROOT_INODE,
    mode: S_IFDIR | 0o755,
    uid,
    gid,
    nlink: 2,
    size: 4096,
    allocated: 0,
    rdev: 0,
    atime: time,
    mtime: time,
    ctime: time,
    btime: time,
    target: null,
    xattrs: null,
  };
}
