/** System calls on the data of files, beside those of `syscalls.ts`: seeking, copying, mapping. */
import { FsError } from "../../src/base/errors.ts";

const i32 = "i32" as const;
const i64 = "i64" as const;

const LIBC = Deno.dlopen("libc.so.6", {
  __errno_location: { parameters: [], result: "pointer" },
  lseek: { parameters: [i32, i64, i32], result: i64 },
  pread: { parameters: [i32, "pointer", "usize", i64], result: i64 },
  pwrite: { parameters: [i32, "pointer", "usize", i64], result: i64 },
  copy_file_range: { parameters: [i32, "buffer", i32, "buffer", "usize", "u32"], result: i64 },
  mmap: { parameters: ["pointer", "usize", i32, i32, i32, i64], result: "pointer" },
  msync: { parameters: ["pointer", "usize", i32], result: i32 },
  munmap: { parameters: ["pointer", "usize"], result: i32 },
}).symbols;

const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const MS_SYNC = 4;

export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;
export const MAP_SHARED = 1;
export const MAP_PRIVATE = 2;

function checked(result: number | bigint): number {
  if (result >= 0) return Number(result);
  throw new FsError(new Deno.UnsafePointerView(LIBC.__errno_location()!).getInt32());
}

/** The errno that a call of this module fails with; 0: it did not fail. */
export function errnoOf(run: () => unknown): number {
  try {
    run();
  } catch (error) {
    if (error instanceof FsError) return error.errno;
    throw error;
  }
  return 0;
}

/** lseek(2). @throws {FsError} */
export function seek(fd: number, offset: number, whence: number): number {
  return checked(LIBC.lseek(fd, BigInt(offset), whence));
}

/** copy_file_range(2) with offsets. @throws {FsError} */
export function copyRange(
  from: number,
  offset: number,
  to: number,
  toOffset: number,
  length: number,
): number {
  const offsets = [offset, toOffset].map((at) => BigInt64Array.of(BigInt(at)));
  return checked(LIBC.copy_file_range(from, offsets[0]!, to, offsets[1]!, BigInt(length), 0));
}

/** Memory that is a part of a file, or that no file stands behind; starts at a page. */
export class Mapping {
  readonly #address: Deno.PointerObject;
  /** The bytes; not to be used after {@link Mapping.unmap}. */
  readonly bytes: Uint8Array;

  /** @param fd -1: no file */
  constructor(readonly length: number, kind: number, fd: number) {
    const flags = fd === -1 ? MAP_PRIVATE_ANONYMOUS : kind;
    const address = LIBC.mmap(null, BigInt(length), PROT_READ_WRITE, flags, fd, 0n);
    if (address === null || Deno.UnsafePointer.value(address) === 2n ** 64n - 1n) checked(-1);
    this.#address = address!;
    this.bytes = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(this.#address, length));
  }

  /** pread(2) of all of it. */
  read(fd: number, offset: number): number {
    return checked(LIBC.pread(fd, this.#address, BigInt(this.length), BigInt(offset)));
  }

  /** pwrite(2) of all of it. */
  write(fd: number, offset: number): number {
    return checked(LIBC.pwrite(fd, this.#address, BigInt(this.length), BigInt(offset)));
  }

  /** msync(2). */
  sync(): void {
    checked(LIBC.msync(this.#address, BigInt(this.length), MS_SYNC));
  }

  unmap(): void {
    checked(LIBC.munmap(this.#address, BigInt(this.length)));
  }
}
