import type { Context, FileSystem } from "../vfs/operations.ts";
import type { Body } from "./reply.ts";
import type { RequestCursor } from "./request.ts";

/** What of a session its operations may use: the part of the protocol that is not the file system. */
export interface Control {
  /** Answers INIT: agrees on version, flags and sizes. @throws {FsError} EPROTO: kernel too old */
  initialize(offer: InitOffer): Body;
  /** The kernel wants the request `unique` answered early. */
  interrupt(unique: bigint): Body | null;
  /** The last request of a mount. */
  destroy(): void;
  /** Seconds for which "no such name" may be kept by the kernel; 0: not at all. */
  readonly negativeSeconds: number;
  /** Whether FUSE_SETXATTR_EXT was agreed on: it changes a struct's size. */
  readonly longSetxattr: boolean;
}

/** What the kernel offers in INIT. */
export interface InitOffer {
  readonly major: number;
  readonly minor: number;
  readonly maxReadahead: number;
  readonly flags: number;
  readonly flags2: number;
}

/** One request being carried out. */
export interface Call {
  readonly fileSystem: FileSystem;
  readonly control: Control;
  readonly context: Context;
  /** Node id of the header: the inode, or the directory of the name. */
  readonly inode: number;
}

/** One row of the operation table. */
export interface Operation {
  readonly opcode: number;
  /** Lower case; names the operation in traces and metrics. */
  readonly name: string;
  /**
   * Whether a dying caller may be answered EINTR while the operation waits. Not so for what must
   * happen even then: a handle closed, its locks released.
   */
  readonly killable: boolean;
  /**
   * Decodes the request after its header and returns what carries it out; that returns the body of
   * the reply, or null for none.
   * @throws {FsError | Suspension} by what is returned, as `FileSystem` says; decoding throws nothing
   */
  readonly prepare: (cursor: RequestCursor, control: Control) => (call: Call) => Body | null;
}

/** Makes a row of the table from a decoder and a handler of what it decoded. */
export function operation<Arguments>(
  opcode: number,
  name: string,
  decode: (cursor: RequestCursor, control: Control) => Arguments,
  run: (call: Call, args: Arguments) => Body | null,
  killable = true,
): Operation {
  return {
    opcode,
    name,
    killable,
    prepare: (cursor, control) => {
      const args = decode(cursor, control);
      return (call) => run(call, args);
    },
  };
}

/** Decoder of a request that is only its header. */
export function nothing(): undefined {
  return undefined;
}

/** Decoder of a request that is one name. */
export function oneName(cursor: RequestCursor): Uint8Array {
  return cursor.name();
}
