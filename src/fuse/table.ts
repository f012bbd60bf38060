import { ENOSYS, ENOTTY } from "../base/errno.ts";
import { FsError, invariant } from "../base/errors.ts";
import { ATTRIBUTE_OPERATIONS } from "./attributes.ts";
import { FILE_OPERATIONS } from "./files.ts";
import { NAME_OPERATIONS } from "./names.ts";
import { type InitOffer, nothing, type Operation, operation } from "./operation.ts";
import * as protocol from "./protocol.ts";
import { BATCH_FORGET_IN, FORGET_ONE, INIT_IN, INIT_IN_EXT, opcode } from "./protocol.ts";
import type { RequestCursor } from "./request.ts";

function decodeInit(cursor: RequestCursor): InitOffer {
  const input = cursor.struct(INIT_IN);
  const extended = (input.u32(INIT_IN.flags) & protocol.initFlag.INIT_EXT) !== 0;
  return {
    major: input.u32(INIT_IN.major),
    minor: input.u32(INIT_IN.minor),
    maxReadahead: input.u32(INIT_IN.max_readahead),
    flags: input.u32(INIT_IN.flags),
    flags2: extended ? cursor.struct(INIT_IN_EXT).u32(INIT_IN_EXT.flags2) : 0,
  };
}

function decodeBatchForget(cursor: RequestCursor): { inode: number; count: number }[] {
  const forgotten = [];
  let left = cursor.struct(BATCH_FORGET_IN).u32(BATCH_FORGET_IN.count);
  for (; left > 0 && !cursor.truncated; left--) {
    const one = cursor.struct(FORGET_ONE);
    forgotten.push({ inode: one.u64(FORGET_ONE.nodeid), count: one.u64(FORGET_ONE.nlookup) });
  }
  return forgotten;
}

function refused(code: number, name: string, errno: number): Operation {
  return operation(code, name, nothing, () => {
    throw new FsError(errno);
  });
}

const PROTOCOL_OPERATIONS: readonly Operation[] = [
  operation(opcode.INIT, "init", decodeInit, ({ control }, offer) => control.initialize(offer)),
  operation(opcode.DESTROY, "destroy", nothing, ({ control }) => {
    control.destroy();
    return null;
  }),
  operation(
    opcode.INTERRUPT,
    "interrupt",
    (cursor) => cursor.struct(protocol.INTERRUPT_IN).bigU64(protocol.INTERRUPT_IN.unique),
    ({ control }, unique) => control.interrupt(unique),
  ),
  operation(
    opcode.FORGET,
    "forget",
    (cursor) => cursor.struct(protocol.FORGET_IN).u64(protocol.FORGET_IN.nlookup),
    ({ fileSystem, inode }, count) => {
      fileSystem.forget(inode, count);
      return null;
    },
  ),
  operation(opcode.BATCH_FORGET, "forget", decodeBatchForget, ({ fileSystem }, forgotten) => {
    for (const { inode, count } of forgotten) fileSystem.forget(inode, count);
    return null;
  }),
  // ENOSYS once: the kernel then answers these by itself and asks no more.
  refused(opcode.BMAP, "bmap", ENOSYS),
  refused(opcode.POLL, "poll", ENOSYS),
  refused(opcode.IOCTL, "ioctl", ENOTTY),
  refused(opcode.SETUPMAPPING, "setupmapping", ENOSYS),
  refused(opcode.REMOVEMAPPING, "removemapping", ENOSYS),
  operation(opcode.NOTIFY_REPLY, "notify_reply", nothing, () => null),
];

function index(rows: readonly Operation[]): ReadonlyMap<number, Operation> {
  const byOpcode = new Map(rows.map((row) => [row.opcode, row]));
  invariant(byOpcode.size === rows.length, "an opcode has two rows in the operation table");
  return byOpcode;
}

/** Every operation by its opcode: dispatch, and names in traces and metrics, derive from it. */
export const OPERATIONS: ReadonlyMap<number, Operation> = index([
  ...PROTOCOL_OPERATIONS,
  ...NAME_OPERATIONS,
  ...ATTRIBUTE_OPERATIONS,
  ...FILE_OPERATIONS,
]);

/** Names of all operations, each once, for metrics that show those never called as zero. */
export const OPERATION_NAMES: readonly string[] = [
  ...new Set([...OPERATIONS.values()].map((row) => row.name)),
].sort();

const NO_REPLY: ReadonlySet<number> = new Set([
  opcode.FORGET,
  opcode.BATCH_FORGET,
  opcode.DESTROY,
  opcode.NOTIFY_REPLY,
]);

/** Whether the kernel waits for an answer to this opcode; an answer nobody waits for is an error. */
export function expectsReply(code: number): boolean {
  return !NO_REPLY.has(code);
}
