/** Names: making, removing, renaming and linking (man 2 mknod, unlink, rename, link). */
import {
  EEXIST,
  EINVAL,
  EISDIR,
  EMLINK,
  ENAMETOOLONG,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  EPERM,
} from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import { isDirectory, isSymlink, S_IFCHR, S_ISGID } from "../base/modes.ts";
import { ROOT_INODE } from "../store/rows.ts";
import { ACL_ACCESS, ACL_DEFAULT, inheritAcl } from "./acl.ts";
import { withXattr, xattrOf } from "./extended.ts";
import type { Node } from "./node.ts";
import type { Context } from "./operations.ts";
import { isMember } from "./privileges.ts";
import type { Tree } from "./tree.ts";

const NAME_MAX = 255;
/** Names of one file, as on ext4. Subdirectories have no such bound. */
const LINK_MAX = 65000;
const TARGET_MAX = 4095;

export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
export const RENAME_WHITEOUT = 4;

/** What a new inode is, beside its owner. */
export interface NewInode {
  readonly mode: number;
  readonly umask: number;
  readonly rdev?: number;
  readonly target?: Uint8Array;
}

/** @throws {FsError} ENAMETOOLONG */
export function checkNameLength(name: Uint8Array): void {
  if (name.length > NAME_MAX) throw new FsError(ENAMETOOLONG);
}

/** Makes an inode under a name. @throws {FsError} EEXIST, ENAMETOOLONG, ENOENT */
export function makeNamed(
  tree: Tree,
  context: Context,
  parent: number,
  name: Uint8Array,
  what: NewInode,
): Node {
  checkNameLength(name);
  const directory = aliveDirectory(tree, parent);
  if (tree.find(directory, name) !== null) throw new FsError(EEXIST);
  if ((what.target?.length ?? 0) > TARGET_MAX) throw new FsError(ENAMETOOLONG);
  tree.quota.demandInode();
  tree.admit();
  const node = makeInode(tree, context, directory, what, isDirectory(what.mode) ? 2 : 1);
  tree.setName(directory, name, node);
  touch(tree, directory, isDirectory(what.mode) ? 1 : 0);
  return node;
}

/** Makes an inode for a directory, with what it inherits of it; without a name yet. */
export function makeInode(
  tree: Tree,
  context: Context,
  directory: Node,
  { mode, umask, rdev = 0, target }: NewInode,
  nlink: number,
): Node {
  const inherited = isSymlink(mode) ? null : xattrOf(directory, ACL_DEFAULT);
  let xattrs: Uint8Array | null = null;
  if (inherited === null) {
    if (!isSymlink(mode)) mode &= ~umask;
  } else {
    const made = inheritAcl(inherited, mode);
    mode = made.mode;
    xattrs = withXattr(null, ACL_ACCESS, made.acl);
    if (isDirectory(mode)) xattrs = withXattr(xattrs, ACL_DEFAULT, inherited);
  }
  let { gid } = context;
  if ((directory.row.mode & S_ISGID) !== 0) {
    gid = directory.row.gid;
    if (isDirectory(mode)) mode |= S_ISGID;
    else if ((mode & 0o010) !== 0 && !isMember(context, gid)) mode &= ~S_ISGID;
  }
  return tree.create({
    mode,
    uid: context.uid,
    gid,
    nlink,
    size: isDirectory(mode) ? 4096 : target?.length ?? 0,
    rdev,
    target: target?.slice() ?? null,
    xattrs,
  });
}

/** A directory that is not removed. @throws {FsError} ENOENT when it is: nothing can be made in it */
function aliveDirectory(tree: Tree, inode: number): Node {
  const directory = tree.directory(inode);
  if (directory.row.nlink === 0) throw new FsError(ENOENT);
  return directory;
}

/** The names in a directory changed; `links` subdirectories more. */
function touch(tree: Tree, directory: Node, links = 0): void {
  const now = tree.now();
  tree.update(directory, { mtime: now, ctime: now, nlink: directory.row.nlink + links });
}

/** unlink(2). @throws {FsError} ENOENT, EISDIR */
export function unlink(tree: Tree, parent: number, name: Uint8Array): void {
  const directory = tree.directory(parent);
  const node = tree.child(directory, name);
  if (node.children !== null) throw new FsError(EISDIR);
  tree.admit();
  tree.removeName(directory, name);
  touch(tree, directory);
  dropLink(tree, node);
}

/** rmdir(2). @throws {FsError} ENOENT, ENOTDIR, ENOTEMPTY */
export function rmdir(tree: Tree, parent: number, name: Uint8Array): void {
  const directory = tree.directory(parent);
  const node = tree.child(directory, name);
  if (node.children === null) throw new FsError(ENOTDIR);
  demandEmpty(tree, node);
  tree.admit();
  tree.removeName(directory, name);
  touch(tree, directory, -1);
  dropLink(tree, node);
}

function demandEmpty(tree: Tree, node: Node): void {
  if (!tree.names.isEmpty(node)) throw new FsError(ENOTEMPTY);
}

/** One name less; a directory has none left then. */
function dropLink(tree: Tree, node: Node): void {
  const nlink = node.children === null ? node.row.nlink - 1 : 0;
  tree.update(node, { nlink, ctime: tree.now() });
  tree.uncountIfGone(node);
  tree.buryIfUnused(node);
}

/** link(2). @throws {FsError} EPERM, EMLINK, EEXIST, ENAMETOOLONG */
export function link(tree: Tree, inode: number, newParent: number, newName: Uint8Array): Node {
  checkNameLength(newName);
  const node = tree.node(inode);
  const directory = aliveDirectory(tree, newParent);
  if (node.children !== null) throw new FsError(EPERM);
  if (node.row.nlink >= LINK_MAX) throw new FsError(EMLINK);
  if (tree.find(directory, newName) !== null) throw new FsError(EEXIST);
  tree.admit();
  tree.setName(directory, newName, node);
  touch(tree, directory);
  tree.update(node, { nlink: node.row.nlink + 1, ctime: tree.now() });
  return node;
}

/** rename2(2). */
export function rename(
  tree: Tree,
  context: Context,
  parent: number,
  name: Uint8Array,
  newParent: number,
  newName: Uint8Array,
  flags: number,
): void {
  checkNameLength(newName);
  if ((flags & RENAME_EXCHANGE) !== 0) {
    if (flags !== RENAME_EXCHANGE) throw new FsError(EINVAL);
    return exchange(tree, parent, name, newParent, newName);
  }
  const from = tree.directory(parent);
  const to = aliveDirectory(tree, newParent);
  const node = tree.child(from, name);
  const existing = tree.find(to, newName) === null ? null : tree.child(to, newName);
  if (existing !== null && (flags & RENAME_NOREPLACE) !== 0) throw new FsError(EEXIST);
  if (existing === node) return;
  const directory = node.children !== null;
  if (directory) refuseOwnSubtree(tree, node, to);
  if (existing !== null) {
    if (directory && existing.children === null) throw new FsError(ENOTDIR);
    if (!directory && existing.children !== null) throw new FsError(EISDIR);
    if (existing.children !== null) demandEmpty(tree, existing);
  }
  if ((flags & RENAME_WHITEOUT) !== 0) tree.quota.demandInode();
  tree.admit();
  tree.removeName(from, name);
  if ((flags & RENAME_WHITEOUT) !== 0) {
    const whiteout = makeInode(tree, context, from, { mode: S_IFCHR, umask: 0 }, 1);
    tree.setName(from, name, whiteout);
  }
  tree.setName(to, newName, node);
  touch(tree, from, directory ? -1 : 0);
  touch(tree, to, (directory ? 1 : 0) - (existing !== null && existing.children !== null ? 1 : 0));
  tree.update(node, { ctime: tree.now() });
  if (existing !== null) dropLink(tree, existing);
}

function exchange(
  tree: Tree,
  parent: number,
  name: Uint8Array,
  newParent: number,
  newName: Uint8Array,
): void {
  const from = tree.directory(parent);
  const to = tree.directory(newParent);
  const one = tree.child(from, name);
  const other = tree.child(to, newName);
  if (one === other) return;
  if (one.children !== null) refuseOwnSubtree(tree, one, to);
  if (other.children !== null) refuseOwnSubtree(tree, other, from);
  tree.admit();
  tree.setName(from, name, other);
  tree.setName(to, newName, one);
  const shift = (other.children !== null ? 1 : 0) - (one.children !== null ? 1 : 0);
  touch(tree, from, from === to ? 0 : shift);
  touch(tree, to, from === to ? 0 : -shift);
  const now = tree.now();
  tree.update(one, { ctime: now });
  tree.update(other, { ctime: now });
}

/** A directory cannot move below itself. Who the kernel walks through has its parents in memory. */
function refuseOwnSubtree(tree: Tree, node: Node, into: Node): void {
  for (let at = into; at.inode !== ROOT_INODE; at = tree.node(at.parent)) {
    if (at === node) throw new FsError(EINVAL);
    if (at.parent === 0) return;
  }
}
