import { EAGAIN, EINTR, EINVAL, EIO, ENODEV, ENOENT } from "../base/errno.ts";
import { TarboxError } from "../base/errors.ts";
import { copied } from "../base/copied.ts";
import { concatBytes } from "../base/bytes.ts";
import { addressOf, cString, errno, errorText, libc } from "./libc.ts";
import { WRITE_BYTES_MAX } from "./negotiate.ts";
import type { ReplySink } from "./session.ts";

const PAGE_BYTES = 4096;
/** Replies up to this size are copied together: cheaper than finding addresses for writev(2). */
const COPIED_BYTES_MAX = 16384;
/** Parts of one writev(2); the kernel's bound is 1024. */
const PARTS_MAX = 1024;

const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const F_GETFL = 3;
const F_SETFL = 4;
/** The connection was aborted (`/sys/fs/fuse/connections/N/abort`) with FUSE_ABORT_ERROR. */
const ECONNABORTED = 103;

/**
 * Opens `/dev/fuse`.
 * @throws {TarboxError} when it is not there or not allowed
 */
export function openDevice(): number {
  const fd = libc().open(cString("/dev/fuse"), O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    const code = errno();
    throw new TarboxError(
      `cannot open /dev/fuse: ${errorText(code)}`,
      code === ENOENT || code === ENODEV
        ? "load the kernel module: modprobe fuse"
        : "let all users open it: chmod 0666 /dev/fuse",
    );
  }
  return fd;
}

/** The kernel's end of a mount: reads requests, writes replies. For one thread. */
export class Device implements ReplySink {
  readonly #read: ReturnType<typeof libc>["read"];
  readonly #write: ReturnType<typeof libc>["write"];
  readonly #writev: ReturnType<typeof libc>["writev"];
  /** Keeps the memory that `#request` and `#requestPointer` lie in. */
  readonly #request: Uint8Array<ArrayBuffer>;
  readonly #requestPointer: Deno.PointerValue;
  readonly #reply = new Uint8Array(COPIED_BYTES_MAX);
  readonly #vector = new BigUint64Array(2 * PARTS_MAX);

  /** @param fd a mounted `/dev/fuse`; made non-blocking. Closing it stays with the caller */
  constructor(readonly fd: number) {
    const { read, write, writev, fcntl } = libc();
    this.#read = read;
    this.#write = write;
    this.#writev = writev;
    const flags = fcntl(fd, F_GETFL, 0);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
      throw new TarboxError(`cannot make the FUSE descriptor non-blocking: ${errorText(errno())}`);
    }
    // Aligned so that the kernel copies whole pages.
    const size = WRITE_BYTES_MAX + PAGE_BYTES;
    const memory = new Uint8Array(size + PAGE_BYTES);
    const skip = (PAGE_BYTES - Number(addressOf(memory) % BigInt(PAGE_BYTES))) % PAGE_BYTES;
    this.#request = memory.subarray(skip, skip + size);
    this.#requestPointer = Deno.UnsafePointer.of(this.#request);
  }

  /**
   * The next request, valid until the next call; `"none"` when none waits, `"unmounted"` at the end.
   * @throws {TarboxError} when the device fails otherwise
   */
  receive(): Uint8Array | "none" | "unmounted" {
    for (;;) {
      const size = this.#request.length;
      const length = Number(this.#read(this.fd, this.#requestPointer, BigInt(size)));
      if (length > 0) return this.#request.subarray(0, length);
      const code = length === 0 ? ENODEV : errno();
      switch (code) {
        case EAGAIN:
        case 0: // The runtime made a call of its own between ours and errno: poll(2) will tell.
          return "none";
        case EINTR:
        case ENOENT: // The request was interrupted before we had it.
          break;
        case ENODEV:
        case ECONNABORTED:
          return "unmounted";
        default:
          throw new TarboxError(`cannot read from /dev/fuse: ${errorText(code)}`);
      }
    }
  }

  /** Sends one reply. @returns 0, or the errno: ENOENT when nobody waits for it any more */
  send(parts: readonly Uint8Array[]): number {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    if (length <= COPIED_BYTES_MAX) {
      let at = 0;
      copied.bytes += length;
      for (const part of parts) {
        this.#reply.set(part, at);
        at += part.length;
      }
      return this.#sent(() => this.#write(this.fd, this.#reply, BigInt(length)), length);
    }
    const bounded = parts.length <= PARTS_MAX ? parts : [concatBytes(parts)];
    bounded.forEach((part, i) => {
      this.#vector[2 * i] = addressOf(part);
      this.#vector[2 * i + 1] = BigInt(part.length);
    });
    return this.#sent(() => this.#writev(this.fd, this.#vector, bounded.length), length);
  }

  #sent(write: () => bigint, length: number): number {
    for (;;) {
      const written = Number(write());
      if (written === length) return 0;
      if (written >= 0) return EINVAL;
      const code = errno();
      if (code !== EINTR && code !== EAGAIN) return code === 0 ? EIO : code;
    }
  }
}
