import { Readable, type Transform } from "node:stream";
import {
  constants,
  crc32,
  createGunzip,
  createGzip,
  createZstdCompress,
  createZstdDecompress,
} from "node:zlib";
import { equalBytes } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";

/** How layers are packed: `stored` is gzip framing without compression, the same on every machine. */
export type Compression = "stored" | "gzip" | "zstd" | "none";

const COMPRESSIONS: readonly string[] = ["stored", "gzip", "zstd", "none"];

/** The compression of this name. @throws {TarboxError} for any other. */
export function parseCompression(name: string): Compression {
  if (COMPRESSIONS.includes(name)) return name as Compression;
  throw new TarboxError(
    `--compress ${name}: there is no such compression`,
    `use one of ${COMPRESSIONS.join(", ")}`,
    2,
  );
}

/** The bytes of `source`, packed. A chunk of either holds until the next one is asked for. */
export function compress(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
): AsyncIterable<Uint8Array> {
  switch (compression) {
    case "stored":
      return storedGzip(source);
    case "gzip":
      return through(owned(source), createGzip({ level: constants.Z_DEFAULT_COMPRESSION }));
    case "zstd":
      // Without the flag a frame has no checksum, and damage goes unnoticed.
      return through(
        owned(source),
        createZstdCompress({ params: { [constants.ZSTD_c_checksumFlag]: 1 } }),
      );
    case "none":
      return source;
  }
}

/** RFC 1952: deflate, no flags, no time, unknown operating system. */
const GZIP_HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff);
/** RFC 1951, 3.2.4: the most bytes that a stored block holds. */
const STORED_MAX = 65535;
/** Stored blocks gathered before they are handed on. */
const BLOCKS_IN_CHUNK = 16;

/**
 * A gzip stream of stored blocks. Its bytes depend on the content alone: not on a zlib build, and
 * not on how the source is cut into chunks. A chunk holds until the next one is asked for: its memory
 * is used again, since a garbage of megabytes grows faster than it is collected.
 */
export async function* storedGzip(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield GZIP_HEADER;
  const chunk = new Uint8Array(BLOCKS_IN_CHUNK * (STORED_MAX + 5));
  let blockAt = 0;
  let filled = 0;
  let checksum = 0;
  let length = 0;
  const closeBlock = (final: boolean) => {
    chunk[blockAt] = final ? 1 : 0;
    chunk[blockAt + 1] = filled & 0xff;
    chunk[blockAt + 2] = filled >> 8;
    chunk[blockAt + 3] = ~filled & 0xff;
    chunk[blockAt + 4] = (~filled >> 8) & 0xff;
    blockAt += 5 + filled;
    filled = 0;
  };
  for await (const piece of source) {
    checksum = crc32(piece, checksum);
    length += piece.length;
    for (let at = 0; at < piece.length;) {
      if (filled === STORED_MAX) {
        closeBlock(false);
        if (blockAt === chunk.length) {
          yield chunk;
          blockAt = 0;
        }
      }
      const part = piece.subarray(at, at + STORED_MAX - filled);
      chunk.set(part, blockAt + 5 + filled);
      filled += part.length;
      at += part.length;
    }
  }
  closeBlock(true);
  yield chunk.subarray(0, blockAt);
  const trailer = new DataView(new ArrayBuffer(8));
  trailer.setUint32(0, checksum, true);
  trailer.setUint32(4, length % 2 ** 32, true);
  yield new Uint8Array(trailer.buffer);
}

const GZIP_MAGIC = Uint8Array.of(0x1f, 0x8b);
const ZSTD_MAGIC = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd);

/** How bytes are packed, told by their first four. */
export function packingOf(first: Uint8Array): "gzip" | "zstd" | "none" {
  if (equalBytes(first.subarray(0, 2), GZIP_MAGIC)) return "gzip";
  return equalBytes(first.subarray(0, 4), ZSTD_MAGIC) ? "zstd" : "none";
}

/**
 * The unpacked bytes of a stream that is gzip (of any number of members), zstd or neither, told by
 * its first bytes: media types are often wrong.
 *
 * @throws {TarboxError} where the packed stream is damaged.
 */
export async function* decompress(
  source: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<Uint8Array> {
  const chunks = source[Symbol.asyncIterator]();
  const first: Uint8Array[] = [];
  let magic = new Uint8Array();
  while (magic.length < ZSTD_MAGIC.length) {
    const next = await chunks.next();
    if (next.done) break;
    first.push(next.value);
    magic = Uint8Array.of(...magic, ...next.value.subarray(0, ZSTD_MAGIC.length));
  }
  const whole = (async function* () {
    try {
      yield* first;
      for (let next = await chunks.next(); !next.done; next = await chunks.next()) {
        yield next.value;
      }
    } finally {
      await chunks.return?.();
    }
  })();
  const packing = packingOf(magic);
  if (packing === "none") return yield* whole;
  const transform = packing === "gzip" ? createGunzip() : createZstdDecompress();
  try {
    yield* through(whole, transform);
  } catch (error) {
    if (error instanceof TarboxError || !isZlibError(error)) throw error;
    throw new TarboxError(`${name} cannot be unpacked: ${error.message}`, "the archive is damaged");
  }
}

function isZlibError(error: unknown): error is Error {
  return error instanceof Error &&
    (/^(Z_|ZSTD_|ERR_)/.test(String((error as { code?: unknown }).code)) ||
      error.message.startsWith("Zstd "));
}

/** Chunks in memory of their own: a stream holds on to them while the source fills the next. */
async function* owned(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) yield chunk.slice();
}

/** Pipes chunks through a stream of node:zlib; errors of either side end both. */
async function* through(
  source: AsyncIterable<Uint8Array>,
  transform: Transform,
): AsyncGenerator<Uint8Array> {
  const input = Readable.from(source, { objectMode: false });
  let failure: unknown = null;
  input.on("error", (error) => {
    failure = error;
    transform.destroy(error);
  });
  // Deno throws what its zstd reader finds wrong out of a tick of its own, where no handler of the
  // stream sees it and the process would end.
  const caught = (event: ErrorEvent) => {
    if (!/^Zstd /.test(String(event.error?.message))) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    failure = event.error;
    transform.destroy(event.error);
  };
  globalThis.addEventListener("error", caught);
  input.pipe(transform);
  try {
    for await (const chunk of transform) yield chunk as Uint8Array;
    if (failure !== null) throw failure;
  } catch (error) {
    throw failure ?? error;
  } finally {
    input.destroy();
    transform.destroy();
    globalThis.removeEventListener("error", caught);
  }
}
