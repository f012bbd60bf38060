import { concatBytes } from "../base/bytes.ts";

/** The stream ended before the bytes that were asked for. */
export class TruncatedError extends Error {
  override readonly name = "TruncatedError";
}

/** Reads exact numbers of bytes from chunks of any sizes, without copying what it hands on. */
export class ByteReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array();
  /** Bytes handed out or skipped so far. */
  offset = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#chunks = source[Symbol.asyncIterator]();
  }

  /** Exactly `length` bytes; null at the very end. @throws {TruncatedError} when it ends within. */
  async read(length: number): Promise<Uint8Array | null> {
    const parts: Uint8Array[] = [];
    let missing = length;
    while (missing > 0) {
      const part = await this.#some(missing);
      if (part === null) {
        if (missing === length) return null;
        throw new TruncatedError(`${missing} bytes are missing`);
      }
      parts.push(part);
      missing -= part.length;
    }
    return parts.length === 1 ? parts[0]! : concatBytes(parts);
  }

  /** The next `length` bytes in pieces. @throws {TruncatedError} when there are fewer. */
  async *pieces(length: number): AsyncGenerator<Uint8Array> {
    for (let missing = length; missing > 0;) {
      const part = await this.#some(missing);
      if (part === null) throw new TruncatedError(`${missing} bytes are missing`);
      missing -= part.length;
      yield part;
    }
  }

  /** Ends the source, also when it was not read to its end. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }

  /** At least one and at most `most` bytes; null at the end. */
  async #some(most: number): Promise<Uint8Array | null> {
    while (this.#rest.length === 0) {
      const next = await this.#chunks.next();
      if (next.done) return null;
      this.#rest = next.value;
    }
    const part = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(part.length);
    this.offset += part.length;
    return part;
  }
}
