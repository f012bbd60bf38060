/** Extended attributes of inodes (man 7 xattr). */
import { latin1, utf8 } from "../base/bytes.ts";
import {
  E2BIG,
  EACCES,
  EEXIST,
  EINVAL,
  ENODATA,
  ENOSPC,
  EOPNOTSUPP,
  EPERM,
  ERANGE,
} from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import { isDirectory, isRegular, isSymlink, S_ISGID } from "../base/modes.ts";
import { packXattrs, unpackXattrs, type Xattr } from "../store/xattrs.ts";
import { ACL_ACCESS, ACL_DEFAULT, checkDefaultAcl, setAccessAcl } from "./acl.ts";
import type { Node } from "./node.ts";
import type { Context } from "./operations.ts";
import type { Tree } from "./tree.ts";

/** Capability that `trusted.` attributes need (man 7 capabilities). */
const CAP_SYS_ADMIN = 21;

const NAMESPACES = ["user.", "trusted.", "security."];

const CREATE = 1;
const REPLACE = 2;

/** XATTR_SIZE_MAX, XATTR_NAME_MAX and what all of one inode may take (linux/limits.h). */
const VALUE_MAX = 65536;
const NAME_MAX = 255;
const TOTAL_MAX = 1 << 20;

/** The value of an attribute of a row, or null. */
export function xattrOf(node: Node, name: string): Uint8Array | null {
  if (node.row.xattrs === null) return null;
  return unpackXattrs(node.row.xattrs).find((xattr) => latin1(xattr.name) === name)?.value ?? null;
}

/** The packed attributes with one of them set, or (null) removed. */
export function withXattr(
  packed: Uint8Array | null,
  name: string,
  value: Uint8Array | null,
): Uint8Array | null {
  const kept: Xattr[] = unpackXattrs(packed).filter((xattr) => latin1(xattr.name) !== name);
  if (value !== null) kept.push({ name: utf8(name), value });
  return packXattrs(kept);
}

/**
 * Who may use an attribute of this name on this inode. The kernel asks the same before (xattr(7)),
 * but for the names themselves.
 * @throws {FsError} EPERM, ENODATA, EINVAL, EOPNOTSUPP
 */
function checkName(context: Context, node: Node, name: string, write: boolean): void {
  const prefix = NAMESPACES.find((candidate) => name.startsWith(candidate));
  if (prefix !== undefined) {
    if (name === prefix) throw new FsError(EINVAL);
    const { mode } = node.row;
    const may = prefix === "user."
      ? isRegular(mode) || isDirectory(mode)
      : prefix === "security." || context.capable(CAP_SYS_ADMIN);
    if (!may) throw new FsError(write ? EPERM : ENODATA);
    return;
  }
  if (name === ACL_ACCESS || name === ACL_DEFAULT) {
    if (isSymlink(node.row.mode)) throw new FsError(EOPNOTSUPP);
    if (name === ACL_DEFAULT && write && !isDirectory(node.row.mode)) throw new FsError(EACCES);
    return;
  }
  throw new FsError(EOPNOTSUPP);
}

/** How to set an attribute. */
export interface SetXattrOptions {
  /** XATTR_CREATE, XATTR_REPLACE. */
  readonly flags: number;
  /** An access list takes setgid away: who sets it is not of the file's group. */
  readonly killSetgid: boolean;
}

/** setxattr(2). */
export function setXattr(
  tree: Tree,
  context: Context,
  node: Node,
  nameBytes: Uint8Array,
  value: Uint8Array,
  { flags, killSetgid }: SetXattrOptions,
): void {
  const name = latin1(nameBytes);
  checkName(context, node, name, true);
  if (nameBytes.length > NAME_MAX) throw new FsError(ERANGE);
  if (value.length > VALUE_MAX) throw new FsError(E2BIG);
  const present = xattrOf(node, name) !== null;
  if ((flags & REPLACE) !== 0 && !present) throw new FsError(ENODATA);
  if ((flags & CREATE) !== 0 && present) throw new FsError(EEXIST);
  let { mode } = node.row;
  let stored: Uint8Array | null = value.slice();
  if (name === ACL_ACCESS) {
    ({ acl: stored, mode } = setAccessAcl(value, mode));
    if (killSetgid) mode &= ~S_ISGID;
  } else if (name === ACL_DEFAULT) {
    stored = checkDefaultAcl(value);
  }
  const others = unpackXattrs(node.row.xattrs).filter((xattr) => latin1(xattr.name) !== name);
  const all = stored === null ? others : [...others, { name: nameBytes.slice(), value: stored }];
  const xattrs = packXattrs(all);
  if ((xattrs?.length ?? 0) > TOTAL_MAX) throw new FsError(ENOSPC);
  tree.admit();
  tree.update(node, { mode, xattrs, ctime: tree.now() });
}

/** getxattr(2). */
export function getXattr(context: Context, node: Node, nameBytes: Uint8Array): Uint8Array {
  const name = latin1(nameBytes);
  checkName(context, node, name, false);
  const value = xattrOf(node, name);
  if (value === null) throw new FsError(ENODATA);
  return value;
}

/** listxattr(2). */
export function listXattrs(context: Context, node: Node): Uint8Array[] {
  return unpackXattrs(node.row.xattrs).map(({ name }) => name)
    .filter((name) => !latin1(name).startsWith("trusted.") || context.capable(CAP_SYS_ADMIN));
}

/** removexattr(2). */
export function removeXattr(
  tree: Tree,
  context: Context,
  node: Node,
  nameBytes: Uint8Array,
): void {
  const name = latin1(nameBytes);
  checkName(context, node, name, true);
  const others = unpackXattrs(node.row.xattrs).filter((xattr) => latin1(xattr.name) !== name);
  if (others.length === unpackXattrs(node.row.xattrs).length) {
    if (name === ACL_ACCESS || name === ACL_DEFAULT) return;
    throw new FsError(ENODATA);
  }
  tree.admit();
  tree.update(node, { xattrs: packXattrs(others), ctime: tree.now() });
}
