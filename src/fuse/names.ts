/** Operations on names: look up, make, remove, rename, and a directory's listing. */
import { EINVAL, ENOENT } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import { SYNTHETIC_INODE } from "../store/rows.ts";
import { type Call, nothing, oneName, type Operation, operation } from "./operation.ts";
import * as protocol from "./protocol.ts";
import { opcode } from "./protocol.ts";
import { type Body, DirectoryPacker, EMPTY, entryOut, negativeEntryOut, openOut } from "./reply.ts";
import type { RequestCursor } from "./request.ts";

/** Longest listing in one reply, in bytes; the kernel asks again for the rest. */
const LISTING_BYTES_MAX = 131072;

function lookup(call: Call, name: Uint8Array): Body {
  const { negativeSeconds } = call.control;
  try {
    return [entryOut(call.fileSystem.lookup(call.context, call.inode, name))];
  } catch (error) {
    // Names of the control directory come and go by themselves, so their absence is not kept.
    const lasting = negativeSeconds > 0 && call.inode < SYNTHETIC_INODE;
    if (lasting && error instanceof FsError && error.errno === ENOENT) {
      return [negativeEntryOut(negativeSeconds)];
    }
    throw error;
  }
}

interface Rename {
  readonly newParent: number;
  readonly flags: number;
  readonly name: Uint8Array;
  readonly newName: Uint8Array;
}

function decodeRename(cursor: RequestCursor): Rename {
  const input = cursor.struct(protocol.RENAME_IN);
  const newParent = input.u64(protocol.RENAME_IN.newdir);
  return { newParent, flags: 0, name: cursor.name(), newName: cursor.name() };
}

function decodeRename2(cursor: RequestCursor): Rename {
  const input = cursor.struct(protocol.RENAME2_IN);
  const newParent = input.u64(protocol.RENAME2_IN.newdir);
  const flags = input.u32(protocol.RENAME2_IN.flags);
  return { newParent, flags, name: cursor.name(), newName: cursor.name() };
}

function rename({ fileSystem, context, inode }: Call, to: Rename): Body {
  fileSystem.rename(context, inode, to.name, to.newParent, to.newName, to.flags);
  return EMPTY;
}

interface Create {
  readonly flags: number;
  readonly mode: number;
  readonly umask: number;
  readonly name: Uint8Array;
}

function decodeCreate(cursor: RequestCursor): Create {
  const input = cursor.struct(protocol.CREATE_IN);
  return {
    flags: input.u32(protocol.CREATE_IN.flags),
    mode: input.u32(protocol.CREATE_IN.mode),
    umask: input.u32(protocol.CREATE_IN.umask),
    name: cursor.name(),
  };
}

interface Listing {
  readonly handle: number;
  readonly after: number;
  readonly size: number;
}

function decodeListing(cursor: RequestCursor): Listing {
  const input = cursor.struct(protocol.READ_IN);
  return {
    handle: input.u64(protocol.READ_IN.fh),
    after: input.u64(protocol.READ_IN.offset),
    size: input.u32(protocol.READ_IN.size),
  };
}

function list(call: Call, { handle, after, size }: Listing, plus: boolean): Body {
  const packer = new DirectoryPacker(Math.min(size, LISTING_BYTES_MAX), plus);
  call.fileSystem.readdir(
    call.context,
    call.inode,
    handle,
    after,
    plus,
    (entry) => packer.add(entry),
  );
  const bytes = packer.bytes();
  // An empty reply means the end of the directory; getdents(2) has EINVAL for too small a buffer.
  if (bytes.length === 0 && packer.full) throw new FsError(EINVAL, "no room for one entry");
  return [bytes];
}

/** Rows of the operation table, one for each opcode of this family. */
export const NAME_OPERATIONS: readonly Operation[] = [
  operation(opcode.LOOKUP, "lookup", oneName, lookup),
  operation(
    opcode.READLINK,
    "readlink",
    nothing,
    ({ fileSystem, context, inode }) => [fileSystem.readlink(context, inode)],
  ),
  operation(
    opcode.SYMLINK,
    "symlink",
    (cursor) => ({ name: cursor.name(), target: cursor.name() }),
    ({ fileSystem, context, inode }, { name, target }) => [
      entryOut(fileSystem.symlink(context, inode, name, target)),
    ],
  ),
  operation(
    opcode.MKNOD,
    "mknod",
    (cursor) => ({ input: cursor.struct(protocol.MKNOD_IN), name: cursor.name() }),
    ({ fileSystem, context, inode }, { input, name }) => {
      const mode = input.u32(protocol.MKNOD_IN.mode);
      const rdev = input.u32(protocol.MKNOD_IN.rdev);
      const umask = input.u32(protocol.MKNOD_IN.umask);
      return [entryOut(fileSystem.mknod(context, inode, name, mode, rdev, umask))];
    },
  ),
  operation(
    opcode.MKDIR,
    "mkdir",
    (cursor) => ({ input: cursor.struct(protocol.MKDIR_IN), name: cursor.name() }),
    ({ fileSystem, context, inode }, { input, name }) => {
      const mode = input.u32(protocol.MKDIR_IN.mode);
      const umask = input.u32(protocol.MKDIR_IN.umask);
      return [entryOut(fileSystem.mkdir(context, inode, name, mode, umask))];
    },
  ),
  operation(opcode.UNLINK, "unlink", oneName, ({ fileSystem, context, inode }, name) => {
    fileSystem.unlink(context, inode, name);
    return EMPTY;
  }),
  operation(opcode.RMDIR, "rmdir", oneName, ({ fileSystem, context, inode }, name) => {
    fileSystem.rmdir(context, inode, name);
    return EMPTY;
  }),
  operation(opcode.RENAME, "rename", decodeRename, rename),
  operation(opcode.RENAME2, "rename", decodeRename2, rename),
  operation(
    opcode.LINK,
    "link",
    (cursor) => ({
      inode: cursor.struct(protocol.LINK_IN).u64(protocol.LINK_IN.oldnodeid),
      name: cursor.name(),
    }),
    ({ fileSystem, context, inode: parent }, { inode, name }) => [
      entryOut(fileSystem.link(context, inode, parent, name)),
    ],
  ),
  operation(
    opcode.CREATE,
    "create",
    decodeCreate,
    ({ fileSystem, context, inode }, { name, flags, mode, umask }) => {
      const made = fileSystem.create(context, inode, name, flags, mode, umask);
      return [entryOut(made.attributes), openOut(made.opened)];
    },
  ),
  operation(
    opcode.TMPFILE,
    "tmpfile",
    decodeCreate,
    ({ fileSystem, context, inode }, { flags, mode, umask }) => {
      const made = fileSystem.tmpfile(context, inode, flags, mode, umask);
      return [entryOut(made.attributes), openOut(made.opened)];
    },
  ),
  operation(
    opcode.OPENDIR,
    "opendir",
    (cursor) => cursor.struct(protocol.OPEN_IN).u32(protocol.OPEN_IN.flags),
    ({ fileSystem, context, inode }, flags) => [
      openOut(fileSystem.opendir(context, inode, flags)),
    ],
  ),
  operation(
    opcode.READDIR,
    "readdir",
    decodeListing,
    (call, listing) => list(call, listing, false),
  ),
  operation(
    opcode.READDIRPLUS,
    "readdirplus",
    decodeListing,
    (call, listing) => list(call, listing, true),
  ),
  operation(
    opcode.RELEASEDIR,
    "releasedir",
    (cursor) => cursor.struct(protocol.RELEASE_IN).u64(protocol.RELEASE_IN.fh),
    ({ fileSystem, context, inode }, handle) => {
      fileSystem.releasedir(context, inode, handle);
      return EMPTY;
    },
    false,
  ),
];
