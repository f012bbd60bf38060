/** Operations on open files: open, read, write, flush, fsync, seek, copy, allocate, lock. */
import { EINVAL } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import { ROOT_INODE } from "../store/rows.ts";
import type { LockRange } from "../vfs/operations.ts";
import { type Call, nothing, type Operation, operation } from "./operation.ts";
import * as protocol from "./protocol.ts";
import {
  COPY_FILE_RANGE_IN,
  FALLOCATE_IN,
  FILE_LOCK,
  LK_IN,
  LSEEK_IN,
  opcode,
  READ_IN,
  RELEASE_IN,
  WRITE_IN,
} from "./protocol.ts";
import { type Body, countOut, EMPTY, lockOut, openOut, positionOut } from "./reply.ts";
import type { RequestCursor } from "./request.ts";

function decodeFsync(cursor: RequestCursor): number {
  return cursor.struct(protocol.FSYNC_IN).u64(protocol.FSYNC_IN.fh);
}

function fsync({ fileSystem, context, inode }: Call, handle: number): Body {
  fileSystem.fsync(context, inode, handle);
  return EMPTY;
}

function decodeCopy(cursor: RequestCursor) {
  const input = cursor.struct(COPY_FILE_RANGE_IN);
  return {
    handle: input.u64(COPY_FILE_RANGE_IN.fh_in),
    offset: input.u64(COPY_FILE_RANGE_IN.off_in),
    newInode: input.u64(COPY_FILE_RANGE_IN.nodeid_out),
    newHandle: input.u64(COPY_FILE_RANGE_IN.fh_out),
    newOffset: input.u64(COPY_FILE_RANGE_IN.off_out),
    length: input.u64(COPY_FILE_RANGE_IN.len),
  };
}

function copy({ fileSystem, context, inode }: Call, args: ReturnType<typeof decodeCopy>): number {
  const { handle, offset, newInode, newHandle, newOffset, length } = args;
  return fileSystem.copyFileRange(
    context,
    inode,
    handle,
    offset,
    newInode,
    newHandle,
    newOffset,
    length,
  );
}

const LOCK_TYPES: ReadonlyMap<number, LockRange["type"]> = new Map([
  [protocol.F_RDLCK, "read"],
  [protocol.F_WRLCK, "write"],
  [protocol.F_UNLCK, "unlock"],
]);

interface Lock {
  readonly handle: number;
  readonly owner: bigint;
  /** Null: a lock type that fcntl(2) does not have. */
  readonly range: LockRange | null;
  readonly flock: boolean;
}

function decodeLock(cursor: RequestCursor): Lock {
  const input = cursor.struct(LK_IN);
  const type = LOCK_TYPES.get(input.u32(LK_IN.lk + FILE_LOCK.type));
  return {
    handle: input.u64(LK_IN.fh),
    owner: input.bigU64(LK_IN.owner),
    range: type === undefined ? null : {
      start: input.bigU64(LK_IN.lk + FILE_LOCK.start),
      end: input.bigU64(LK_IN.lk + FILE_LOCK.end),
      type,
      pid: input.u32(LK_IN.lk + FILE_LOCK.pid),
    },
    flock: (input.u32(LK_IN.lk_flags) & protocol.FUSE_LK_FLOCK) !== 0,
  };
}

function knownRange(lock: Lock): LockRange {
  if (lock.range === null) throw new FsError(EINVAL, "unknown lock type");
  return lock.range;
}

function setlk({ fileSystem, context, inode }: Call, lock: Lock, wait: boolean): Body {
  fileSystem.setlk(context, inode, lock.handle, lock.owner, knownRange(lock), lock.flock, wait);
  return EMPTY;
}

/** Rows of the operation table, one for each opcode of this family. */
export const FILE_OPERATIONS: readonly Operation[] = [
  operation(
    opcode.OPEN,
    "open",
    (cursor) => cursor.struct(protocol.OPEN_IN),
    ({ fileSystem, context, inode }, input) => {
      // With FUSE_HANDLE_KILLPRIV_V2 a truncating open by somebody without CAP_FSETID asks for it.
      // First, since an open that was followed by a suspension would leave its handle behind.
      if ((input.u32(protocol.OPEN_IN.open_flags) & protocol.FUSE_OPEN_KILL_SUIDGID) !== 0) {
        fileSystem.setattr(context, inode, { killPrivileges: true });
      }
      return [openOut(fileSystem.open(context, inode, input.u32(protocol.OPEN_IN.flags)))];
    },
  ),
  operation(
    opcode.READ,
    "read",
    (cursor) => cursor.struct(READ_IN),
    ({ fileSystem, context, inode }, input) =>
      fileSystem.read(
        context,
        inode,
        input.u64(READ_IN.fh),
        input.u64(READ_IN.offset),
        input.u32(READ_IN.size),
      ),
  ),
  operation(
    opcode.WRITE,
    "write",
    (cursor) => {
      const input = cursor.struct(WRITE_IN);
      return { input, data: cursor.data(input.u32(WRITE_IN.size)) };
    },
    ({ fileSystem, context, inode }, { input, data }) => {
      const kill = (input.u32(WRITE_IN.write_flags) & protocol.FUSE_WRITE_KILL_SUIDGID) !== 0;
      const handle = input.u64(WRITE_IN.fh);
      const offset = input.u64(WRITE_IN.offset);
      return [countOut(fileSystem.write(context, inode, handle, offset, data, kill))];
    },
  ),
  operation(
    opcode.FLUSH,
    "flush",
    (cursor) => cursor.struct(protocol.FLUSH_IN),
    ({ fileSystem, context, inode }, input) => {
      const owner = input.bigU64(protocol.FLUSH_IN.lock_owner);
      fileSystem.flush(context, inode, input.u64(protocol.FLUSH_IN.fh), owner);
      return EMPTY;
    },
    false,
  ),
  operation(
    opcode.RELEASE,
    "release",
    (cursor) => cursor.struct(RELEASE_IN),
    ({ fileSystem, context, inode }, input) => {
      const unlock = input.u32(RELEASE_IN.release_flags) & protocol.FUSE_RELEASE_FLOCK_UNLOCK;
      const owner = unlock === 0 ? null : input.bigU64(RELEASE_IN.lock_owner);
      fileSystem.release(context, inode, input.u64(RELEASE_IN.fh), owner);
      return EMPTY;
    },
    false,
  ),
  operation(opcode.FSYNC, "fsync", decodeFsync, fsync),
  operation(opcode.FSYNCDIR, "fsyncdir", decodeFsync, fsync),
  operation(opcode.SYNCFS, "syncfs", nothing, ({ fileSystem, context }) => {
    fileSystem.fsync(context, ROOT_INODE, null);
    return EMPTY;
  }),
  operation(
    opcode.FALLOCATE,
    "fallocate",
    (cursor) => cursor.struct(FALLOCATE_IN),
    ({ fileSystem, context, inode }, input) => {
      fileSystem.fallocate(
        context,
        inode,
        input.u64(FALLOCATE_IN.fh),
        input.u32(FALLOCATE_IN.mode),
        input.u64(FALLOCATE_IN.offset),
        input.u64(FALLOCATE_IN.length),
      );
      return EMPTY;
    },
  ),
  operation(
    opcode.LSEEK,
    "lseek",
    (cursor) => cursor.struct(LSEEK_IN),
    ({ fileSystem, context, inode }, input) => [
      positionOut(
        fileSystem.lseek(
          context,
          inode,
          input.u64(LSEEK_IN.fh),
          input.u64(LSEEK_IN.offset),
          input.u32(LSEEK_IN.whence),
        ),
      ),
    ],
  ),
  operation(
    opcode.COPY_FILE_RANGE,
    "copy_file_range",
    decodeCopy,
    (call, args) => [countOut(copy(call, { ...args, length: Math.min(args.length, 0x7ffff000) }))],
  ),
  operation(
    opcode.COPY_FILE_RANGE_64,
    "copy_file_range",
    decodeCopy,
    (call, args) => [positionOut(copy(call, args))],
  ),
  operation(
    opcode.GETLK,
    "getlk",
    decodeLock,
    ({ fileSystem, context, inode }, lock) => [
      lockOut(fileSystem.getlk(context, inode, lock.owner, knownRange(lock), lock.flock)),
    ],
  ),
  operation(opcode.SETLK, "setlk", decodeLock, (call, lock) => setlk(call, lock, false)),
  operation(opcode.SETLKW, "setlkw", decodeLock, (call, lock) => setlk(call, lock, true)),
];
