import { TarboxError } from "../base/errors.ts";
import { errno, errorText, libc } from "./libc.ts";

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

/**
 * Makes an eventfd(2), by which other threads wake one that blocks in poll(2).
 * @throws {TarboxError} when the process has no descriptor left
 */
export function createWake(): number {
  const fd = libc().eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) throw new TarboxError(`cannot make an eventfd: ${errorText(errno())}`);
  return fd;
}

/** Wakes the thread that serves with this eventfd. Callable from any thread; never blocks. */
export function signalWake(fd: number): void {
  // Fails only when 2^64 - 2 signals wait: then the thread is being woken already.
  libc().write(fd, new BigUint64Array([1n]), 8n);
}

/** Takes the signals that came. @returns whether there was one */
export function takeWake(fd: number, counter: BigUint64Array<ArrayBuffer>): boolean {
  return Number(libc().read(fd, Deno.UnsafePointer.of(counter), 8n)) === 8;
}
