import { TarboxError } from "../base/errors.ts";

const SYMBOLS = {
  __errno_location: { parameters: [], result: "pointer" },
  open: { parameters: ["buffer", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  read: { parameters: ["i32", "pointer", "usize"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  writev: { parameters: ["i32", "buffer", "i32"], result: "isize" },
  poll: { parameters: ["buffer", "u64", "i32"], result: "i32" },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  mount: { parameters: ["buffer", "buffer", "buffer", "u64", "buffer"], result: "i32" },
  umount2: { parameters: ["buffer", "i32"], result: "i32" },
  socketpair: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  recvmsg: { parameters: ["i32", "buffer", "i32"], result: "isize" },
  strerror: { parameters: ["i32"], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The same write(2), on a thread of its own: for writes that the kernel may block. */
const THREADED = {
  write: { parameters: ["i32", "buffer", "usize"], result: "isize", nonblocking: true },
} as const satisfies Deno.ForeignLibraryInterface;

type Symbols = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];
type ThreadedSymbols = Deno.DynamicLibrary<typeof THREADED>["symbols"];

let symbols: Symbols | null = null;
let threadedSymbols: ThreadedSymbols | null = null;

function load<S extends Deno.ForeignLibraryInterface>(interface_: S): Deno.DynamicLibrary<S> {
  if (Deno.build.os !== "linux") {
    throw new TarboxError(
      `mounting needs Linux: this is ${Deno.build.os}`,
      "mount on a Linux machine or in a container; every other command works here",
    );
  }
  return Deno.dlopen("libc.so.6", interface_);
}

/**
 * The C library, opened when first asked for, so that this module can be imported anywhere.
 * @throws {TarboxError} where there is no Linux
 */
export function libc(): Symbols {
  symbols ??= load(SYMBOLS).symbols;
  return symbols;
}

/** write(2) that answers later and blocks no thread of ours. @throws {TarboxError} off Linux */
export function threadedLibc(): ThreadedSymbols {
  threadedSymbols ??= load(THREADED).symbols;
  return threadedSymbols;
}

/** `errno` of the last call on this thread that failed. Ask at once. */
export function errno(): number {
  const location = libc().__errno_location();
  return location === null ? 0 : new Deno.UnsafePointerView(location).getInt32();
}

/** What the C library says an error number means. */
export function errorText(code: number): string {
  const message = libc().strerror(code);
  return message === null ? `error ${code}` : new Deno.UnsafePointerView(message).getCString();
}

/** Bytes of `text`, ended by NUL. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\0`);
}

/** Address of the first byte, for structs that hold pointers. `bytes` must be kept alive. */
export function addressOf(bytes: Uint8Array): bigint {
  // V8 may keep a small array inside its heap, where it moves; asking for the buffer takes it out.
  void bytes.buffer;
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes as Uint8Array<ArrayBuffer>));
}

/** Closes a file descriptor. */
export function close(fd: number): void {
  libc().close(fd);
}

const POLLIN = 1;

/**
 * Blocks until one of the descriptors can be read or has failed, at most `timeout` milliseconds
 * (rounded up; negative: without a bound). A signal may end it early.
 * @returns for each descriptor whether to look at it
 */
export function pollReadable(fds: readonly number[], timeout: number): boolean[] {
  // struct pollfd: i32 fd, i16 events, i16 revents.
  const polled = Int32Array.from(fds.flatMap((fd) => [fd, POLLIN]));
  const bound = timeout < 0 ? -1 : Math.min(Math.ceil(timeout), 0x7fffffff);
  const ready = libc().poll(polled, BigInt(fds.length), bound);
  return fds.map((_, i) => ready < 0 || (polled[2 * i + 1]! >>> 16) !== 0);
}
