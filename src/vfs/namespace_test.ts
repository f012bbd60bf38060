import assert from "node:assert/strict";
import { utf8 } from "../base/bytes.ts";
import { EMLINK } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import { S_IFDIR, S_IFREG } from "../base/modes.ts";
import { link, makeNamed } from "./namespace.ts";
import type { Context } from "./operations.ts";
import { Tree } from "./tree.ts";

const ROOT: Context = { uid: 0, gid: 0, pid: 1, groups: () => [], capable: () => true };

Deno.test("a file has 65,000 names at most; a directory any number of subdirectories", () => {
  const tree = new Tree({
    nextInode: 2,
    nextCookie: 1,
    maxFileSize: 2 ** 40,
    metadataCacheBytes: 1e9,
    blockCacheBytes: 0,
  });
  const made = { uid: 0, gid: 0, nlink: 2, size: 0, rdev: 0, target: null, xattrs: null };
  const directory = tree.create({ ...made, mode: S_IFDIR | 0o755 });
  const { inode } = directory;
  const make = (name: string, mode: number) =>
    makeNamed(tree, ROOT, inode, utf8(name), { mode, umask: 0 });
  const file = make("f", S_IFREG | 0o644);
  tree.update(file, { nlink: 64_999 });
  link(tree, file.inode, inode, utf8("last"));
  assert.equal(file.row.nlink, 65_000);
  assert.throws(
    () => link(tree, file.inode, inode, utf8("more")),
    (error) => error instanceof FsError && error.errno === EMLINK,
  );
  tree.update(directory, { nlink: 70_000 });
  make("d", S_IFDIR | 0o755);
  assert.equal(directory.row.nlink, 70_001);
});
