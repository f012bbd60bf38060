/**
 * POSIX access control lists as the attributes `system.posix_acl_access` and `_default` carry them
 * (man 5 acl; linux/posix_acl_xattr.h): u32 version 2, then entries of u16 tag, u16 permissions,
 * u32 id, little-endian.
 */
import { EINVAL } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";

const VERSION = 2;
const USER_OBJ = 1;
const GROUP_OBJ = 4;
const MASK = 16;
const OTHER = 32;

/** Name of the list that rules access. */
export const ACL_ACCESS = "system.posix_acl_access";
/** Name of the list that what is made in a directory inherits. */
export const ACL_DEFAULT = "system.posix_acl_default";

interface AclEntry {
  readonly tag: number;
  readonly permissions: number;
  readonly id: number;
}

/** A list and the permission bits that go with it. */
export interface AclAndMode {
  /** Null when the permission bits say it all. */
  readonly acl: Uint8Array | null;
  readonly mode: number;
}

function parse(value: Uint8Array): AclEntry[] {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  if (value.length < 4 || (value.length - 4) % 8 !== 0 || view.getUint32(0, true) !== VERSION) {
    throw new FsError(EINVAL);
  }
  const entries: AclEntry[] = [];
  for (let at = 4; at < value.length; at += 8) {
    entries.push({
      tag: view.getUint16(at, true),
      permissions: view.getUint16(at + 2, true),
      id: view.getUint32(at + 4, true),
    });
  }
  return entries;
}

function encode(entries: readonly AclEntry[]): Uint8Array {
  const value = new Uint8Array(4 + 8 * entries.length);
  const view = new DataView(value.buffer);
  view.setUint32(0, VERSION, true);
  entries.forEach(({ tag, permissions, id }, i) => {
    view.setUint16(4 + 8 * i, tag, true);
    view.setUint16(6 + 8 * i, permissions, true);
    view.setUint32(8 + 8 * i, id, true);
  });
  return value;
}

function hasMask(entries: readonly AclEntry[]): boolean {
  return entries.some(({ tag }) => tag === MASK);
}

/** Three entries are what the permission bits hold already. */
function isMinimal(entries: readonly AclEntry[]): boolean {
  return entries.every(({ tag }) => tag === USER_OBJ || tag === GROUP_OBJ || tag === OTHER);
}

/** Shift of the permission bits that an entry stands for, or null. */
function shiftOf(entries: readonly AclEntry[], { tag }: AclEntry): number | null {
  if (tag === USER_OBJ) return 6;
  if (tag === OTHER) return 0;
  if (tag === MASK) return 3;
  return tag === GROUP_OBJ && !hasMask(entries) ? 3 : null;
}

function modeOf(entries: readonly AclEntry[], mode: number): number {
  let bits = 0;
  for (const entry of entries) {
    const shift = shiftOf(entries, entry);
    if (shift !== null) bits |= (entry.permissions & 7) << shift;
  }
  return (mode & ~0o777) | bits;
}

/** What setting an access list makes of list and permission bits. @throws {FsError} EINVAL */
export function setAccessAcl(value: Uint8Array, mode: number): AclAndMode {
  const entries = parse(value);
  if (entries.length === 0) return { acl: null, mode };
  return { acl: isMinimal(entries) ? null : value.slice(), mode: modeOf(entries, mode) };
}

/** Checks a default list; an empty one removes it. @throws {FsError} EINVAL */
export function checkDefaultAcl(value: Uint8Array): Uint8Array | null {
  return parse(value).length === 0 ? null : value.slice();
}

/** The access list after chmod(2): owner, mask (or group) and others follow the mode. */
export function chmodAcl(acl: Uint8Array, mode: number): Uint8Array {
  const entries = parse(acl);
  return encode(entries.map((entry) => {
    const shift = shiftOf(entries, entry);
    return shift === null ? entry : { ...entry, permissions: (mode >> shift) & 7 };
  }));
}

/** What a new file gets of its directory's default list: no bit that `mode` does not have. */
export function inheritAcl(defaultAcl: Uint8Array, mode: number): AclAndMode {
  const entries = parse(defaultAcl);
  const inherited = entries.map((entry) => {
    const shift = shiftOf(entries, entry);
    return shift === null
      ? entry
      : { ...entry, permissions: entry.permissions & (mode >> shift) & 7 };
  });
  return {
    acl: isMinimal(inherited) ? null : encode(inherited),
    mode: modeOf(inherited, mode),
  };
}
