import { IN_HEADER } from "./protocol.ts";

/** The size of a struct, and offsets of its fields by their names. */
interface Layout {
  readonly bytes: number;
}

/** Reads fields of one struct at their offsets ({@link Layout}). */
export class Fields {
  readonly #view: DataView;
  readonly #start: number;

  constructor(view: DataView, start: number) {
    this.#view = view;
    this.#start = start;
  }

  u16(offset: number): number {
    return this.#view.getUint16(this.#start + offset, true);
  }

  u32(offset: number): number {
    return this.#view.getUint32(this.#start + offset, true);
  }

  /**
   * An unsigned 64-bit integer as a number. Inexact above 2^53: such a value is no inode or handle
   * that Tarbox gave out, and as a file offset it lies beyond every file's maximum size.
   */
  u64(offset: number): number {
    return this.u32(offset) + this.u32(offset + 4) * 2 ** 32;
  }

  bigU64(offset: number): bigint {
    return this.#view.getBigUint64(this.#start + offset, true);
  }

  bigI64(offset: number): bigint {
    return this.#view.getBigInt64(this.#start + offset, true);
  }
}

/** What a struct that is not there reads as, so that a decoder runs on and is rejected at its end. */
const ABSENT = new Fields(new DataView(new ArrayBuffer(128)), 0);
const NOTHING = new Uint8Array(0);

/**
 * Goes through the bytes of one request. Reading past the end is no exception: it sets `truncated`
 * and gives zeros, so that one check after decoding covers every field.
 */
export class RequestCursor {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #position: number;
  /** Whether something read was not there: the request is malformed. */
  truncated = false;

  /** @param position where to start; by default after the header */
  constructor(bytes: Uint8Array, position: number = IN_HEADER.bytes) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#position = position;
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#bytes.length - this.#position;
  }

  /** The next struct. */
  struct(layout: Layout): Fields {
    if (layout.bytes > this.remaining) {
      this.truncated = true;
      return ABSENT;
    }
    const fields = new Fields(this.#view, this.#position);
    this.#position += layout.bytes;
    return fields;
  }

  /** The next bytes up to a NUL, copied: file names outlive the request. */
  name(): Uint8Array<ArrayBuffer> {
    const end = this.#bytes.indexOf(0, this.#position);
    if (end < 0) {
      this.truncated = true;
      return new Uint8Array(0);
    }
    const name = this.#bytes.slice(this.#position, end);
    this.#position = end + 1;
    return name;
  }

  /** The next `length` bytes, not copied: valid only until the buffer is read into again. */
  data(length: number): Uint8Array {
    if (length > this.remaining) {
      this.truncated = true;
      return NOTHING;
    }
    const data = this.#bytes.subarray(this.#position, this.#position + length);
    this.#position += length;
    return data;
  }
}

/** What every request begins with. */
export interface RequestHeader {
  readonly opcode: number;
  /** Names the request in its reply and in an INTERRUPT of it. */
  readonly unique: bigint;
  /** The inode asked about; for operations on a name, the directory. */
  readonly inode: number;
  readonly uid: number;
  readonly gid: number;
  /** Thread id of the caller in the mount's pid namespace; 0 when it has none there. */
  readonly pid: number;
  /** Whether `len` agrees with the bytes that came. */
  readonly complete: boolean;
}

/** Decodes the header; null when the bytes are shorter than one, so that no reply can name it. */
export function decodeHeader(request: Uint8Array): RequestHeader | null {
  const cursor = new RequestCursor(request, 0);
  const header = cursor.struct(IN_HEADER);
  if (cursor.truncated) return null;
  return {
    opcode: header.u32(IN_HEADER.opcode),
    unique: header.bigU64(IN_HEADER.unique),
    inode: header.u64(IN_HEADER.nodeid),
    uid: header.u32(IN_HEADER.uid),
    gid: header.u32(IN_HEADER.gid),
    pid: header.u32(IN_HEADER.pid),
    complete: header.u32(IN_HEADER.len) === request.length,
  };
}
