import { createHash } from "node:crypto";
import { TarboxError } from "../base/errors.ts";

/** A directory for temporary files that is gone when the work ends, however it ends. */
export async function withSpool<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const directory = await Deno.makeTempDir({ prefix: "tarbox-image-" });
  try {
    return await work(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** Size and SHA-256 of bytes that went by, as OCI writes it: `sha256:` and hexadecimal. */
export interface Digested {
  readonly size: number;
  readonly digest: string;
}

/** Passes bytes on and tells their size and digest once they all went by. */
export class Digester {
  readonly #hash = createHash("sha256");
  #size = 0;

  async *of(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      this.add(chunk);
      yield chunk;
    }
  }

  /** Takes in the next bytes. */
  add(chunk: Uint8Array): void {
    this.#hash.update(chunk);
    this.#size += chunk.length;
  }

  /** May be called once. */
  result(): Digested {
    return { size: this.#size, digest: `sha256:${this.#hash.digest("hex")}` };
  }
}

/** Writes all chunks to a new file. @throws {TarboxError} when they are more than `limit` bytes. */
export async function spoolTo(
  path: string,
  source: AsyncIterable<Uint8Array>,
  limit = Infinity,
): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true });
  let size = 0;
  for await (const chunk of source) {
    size += chunk.length;
    if (size > limit) {
      throw new TarboxError(
        `the archive holds more than ${limit} bytes`,
        "if you trust it, allow more with --max-bytes",
      );
    }
    for (let at = 0; at < chunk.length;) at += await file.write(chunk.subarray(at));
  }
}

/** Bytes of one read of a file: large, since every read is a round trip to a thread. */
const READ_BYTES = 1 << 20;

/** As {@link fileBytes}, in memory that is used again: a chunk holds until the next is asked for. */
export async function* passingFileBytes(path: string): AsyncGenerator<Uint8Array> {
  using file = await Deno.open(path);
  const buffer = new Uint8Array(READ_BYTES);
  for (let read = await file.read(buffer); read !== null; read = await file.read(buffer)) {
    yield buffer.subarray(0, read);
  }
}

/** The bytes of a file, or of `length` bytes of it from `offset`. */
export async function* fileBytes(
  path: string,
  offset = 0,
  length = Infinity,
): AsyncGenerator<Uint8Array> {
  using file = await Deno.open(path);
  if (offset > 0) await file.seek(offset, Deno.SeekMode.Start);
  for (let left = length; left > 0;) {
    const buffer = new Uint8Array(Math.min(READ_BYTES, left));
    const read = await file.read(buffer);
    if (read === null) return;
    left -= read;
    yield buffer.subarray(0, read);
  }
}
