import { TarboxError } from "../base/errors.ts";
import { errno, errorText, libc, pollReadable } from "./libc.ts";

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

/**
 * An eventfd(2), by which other threads wake one that blocks in poll(2). The descriptor's number is
 * good in every thread of the process: one makes it, others take it by {@link Eventfd.of}.
 */
export class Eventfd {
  readonly descriptor: number;
  readonly #counter = new BigUint64Array(1);

  /** @throws {TarboxError} when the process has no descriptor left */
  constructor(descriptor: number = create()) {
    this.descriptor = descriptor;
  }

  /** The eventfd that another thread made. */
  static of(descriptor: number): Eventfd {
    return new Eventfd(descriptor);
  }

  /** Wakes who waits, now or the next time. Never blocks. */
  signal(): void {
    // Fails only when 2^64 - 2 signals wait: then the thread is being woken already.
    libc().write(this.descriptor, new BigUint64Array([1n]), 8n);
  }

  /** Takes the signals that came. @returns whether there was one */
  clear(): boolean {
    const length = libc().read(this.descriptor, Deno.UnsafePointer.of(this.#counter), 8n);
    return Number(length) === 8;
  }

  /** Blocks until a signal came, at most `timeout` milliseconds. Takes no signal. */
  wait(timeout: number): void {
    pollReadable([this.descriptor], timeout);
  }

  /** Closes the descriptor, for all threads. */
  close(): void {
    libc().close(this.descriptor);
  }
}

function create(): number {
  const fd = libc().eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) throw new TarboxError(`cannot make an eventfd: ${errorText(errno())}`);
  return fd;
}
