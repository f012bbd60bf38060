/** Operations on an inode's attributes: stat, chmod and its like, extended attributes, statfs. */
import { ERANGE } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import type { AttributeChange } from "../vfs/operations.ts";
import { nothing, oneName, type Operation, operation } from "./operation.ts";
import * as protocol from "./protocol.ts";
import { GETATTR_IN, opcode, SETATTR_IN, STATX_IN } from "./protocol.ts";
import { attrOut, type Body, countOut, EMPTY, nameList, statfsOut, statxOut } from "./reply.ts";
import type { Fields, RequestCursor } from "./request.ts";

function changedTime(
  input: Fields,
  which: { readonly set: number; readonly now: number },
  seconds: number,
  nanoseconds: number,
): bigint | "now" | undefined {
  const valid = input.u32(SETATTR_IN.valid);
  if ((valid & which.now) !== 0) return "now";
  if ((valid & which.set) === 0) return undefined;
  return input.bigI64(seconds) * 1_000_000_000n + BigInt(input.u32(nanoseconds));
}

function decodeSetattr(cursor: RequestCursor): AttributeChange {
  const input = cursor.struct(SETATTR_IN);
  const valid = input.u32(SETATTR_IN.valid);
  const has = (flag: number) => (valid & flag) !== 0;
  // chown(2) of neither owner nor group comes with nothing to change, and clears the bits as well.
  const nothing = (valid & ~(protocol.FATTR_FH | protocol.FATTR_LOCKOWNER)) === 0;
  const atime = changedTime(
    input,
    { set: protocol.FATTR_ATIME, now: protocol.FATTR_ATIME_NOW },
    SETATTR_IN.atime,
    SETATTR_IN.atimensec,
  );
  const mtime = changedTime(
    input,
    { set: protocol.FATTR_MTIME, now: protocol.FATTR_MTIME_NOW },
    SETATTR_IN.mtime,
    SETATTR_IN.mtimensec,
  );
  const ctime = changedTime(
    input,
    { set: protocol.FATTR_CTIME, now: 0 },
    SETATTR_IN.ctime,
    SETATTR_IN.ctimensec,
  );
  return {
    ...(has(protocol.FATTR_MODE) && { mode: input.u32(SETATTR_IN.mode) }),
    ...(has(protocol.FATTR_UID) && { uid: input.u32(SETATTR_IN.uid) }),
    ...(has(protocol.FATTR_GID) && { gid: input.u32(SETATTR_IN.gid) }),
    ...(has(protocol.FATTR_SIZE) && { size: input.u64(SETATTR_IN.size) }),
    ...(has(protocol.FATTR_FH) && { handle: input.u64(SETATTR_IN.fh) }),
    ...((has(protocol.FATTR_KILL_SUIDGID) || nothing) && { killPrivileges: true }),
    ...(atime !== undefined && { atime }),
    ...(mtime !== undefined && { mtime }),
    ...(ctime !== undefined && ctime !== "now" && { ctime }),
  };
}

function handleOf(input: Fields, flags: number, handle: number): number | null {
  return (input.u32(flags) & protocol.FUSE_GETATTR_FH) !== 0 ? input.u64(handle) : null;
}

/** Answers getxattr(2) and listxattr(2): size 0 asks how long the value is. */
function sized(value: Uint8Array, size: number): Body {
  if (size === 0) return [countOut(value.length)];
  if (value.length > size) throw new FsError(ERANGE);
  return [value];
}

/** Rows of the operation table, one for each opcode of this family. */
export const ATTRIBUTE_OPERATIONS: readonly Operation[] = [
  operation(
    opcode.GETATTR,
    "getattr",
    (cursor) => handleOf(cursor.struct(GETATTR_IN), GETATTR_IN.getattr_flags, GETATTR_IN.fh),
    ({ fileSystem, context, inode }, handle) => [
      attrOut(fileSystem.getattr(context, inode, handle)),
    ],
  ),
  operation(
    opcode.STATX,
    "getattr",
    (cursor) => handleOf(cursor.struct(STATX_IN), STATX_IN.getattr_flags, STATX_IN.fh),
    ({ fileSystem, context, inode }, handle) => [
      statxOut(fileSystem.getattr(context, inode, handle)),
    ],
  ),
  operation(
    opcode.SETATTR,
    "setattr",
    decodeSetattr,
    ({ fileSystem, context, inode }, change) => [
      attrOut(fileSystem.setattr(context, inode, change)),
    ],
  ),
  operation(
    opcode.STATFS,
    "statfs",
    nothing,
    ({ fileSystem, context }) => [statfsOut(fileSystem.statfs(context))],
  ),
  operation(
    opcode.SETXATTR,
    "setxattr",
    (cursor, control) => {
      const { longSetxattr } = control;
      const input = cursor.struct(
        longSetxattr ? protocol.SETXATTR_IN : protocol.SETXATTR_IN_COMPAT,
      );
      const more = longSetxattr ? input.u32(protocol.SETXATTR_IN.setxattr_flags) : 0;
      const killSetgid = (more & protocol.FUSE_SETXATTR_ACL_KILL_SGID) !== 0;
      const name = cursor.name();
      // Copied: the value outlives the request.
      const value = cursor.data(input.u32(protocol.SETXATTR_IN.size)).slice();
      return { name, value, flags: input.u32(protocol.SETXATTR_IN.flags), killSetgid };
    },
    ({ fileSystem, context, inode }, { name, value, flags, killSetgid }) => {
      fileSystem.setxattr(context, inode, name, value, flags, killSetgid);
      return EMPTY;
    },
  ),
  operation(
    opcode.GETXATTR,
    "getxattr",
    (cursor) => ({
      size: cursor.struct(protocol.GETXATTR_IN).u32(protocol.GETXATTR_IN.size),
      name: cursor.name(),
    }),
    ({ fileSystem, context, inode }, { size, name }) =>
      sized(fileSystem.getxattr(context, inode, name), size),
  ),
  operation(
    opcode.LISTXATTR,
    "listxattr",
    (cursor) => cursor.struct(protocol.GETXATTR_IN).u32(protocol.GETXATTR_IN.size),
    ({ fileSystem, context, inode }, size) =>
      sized(nameList(fileSystem.listxattr(context, inode)), size),
  ),
  operation(
    opcode.REMOVEXATTR,
    "removexattr",
    oneName,
    ({ fileSystem, context, inode }, name) => {
      fileSystem.removexattr(context, inode, name);
      return EMPTY;
    },
  ),
  operation(
    opcode.ACCESS,
    "access",
    (cursor) => cursor.struct(protocol.ACCESS_IN).u32(protocol.ACCESS_IN.mask),
    ({ fileSystem, context, inode }, mask) => {
      fileSystem.access(context, inode, mask);
      return EMPTY;
    },
  ),
];
