import { equalBytes, fromLatin1, latin1, text, utf8 } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import { unpackXattrs, type Xattr } from "../store/xattrs.ts";
import { ByteReader, TruncatedError } from "./byte_reader.ts";
import {
  type EntryType,
  padding,
  PAX_LIMIT,
  PAX_OWN_BLOCKS,
  PAX_OWN_TYPE,
  PAX_OWN_XATTRS,
  PAX_XATTR,
  RECORD,
  type ShortBlocks,
  type TarEntry,
} from "./tar_entry.ts";
import { parsePax, parseShortBlocks, parseTime, type PaxRecords } from "./pax.ts";

/** A member as it is met: its content must be read before the next member is asked for, or it is skipped. */
export interface TarMember {
  readonly entry: TarEntry;
  /** Where the content begins, in bytes from the beginning of the tar. */
  readonly offset: number;
  /** The content in pieces; can be read once. */
  content(): AsyncIterable<Uint8Array>;
}

/** How {@link readTar} reads. */
export interface TarReading {
  /** What the tar is, for errors: `layer 2`. */
  readonly name: string;
  /** Whether a tar without its end mark is an error; false where a digest vouches for the bytes. */
  readonly endMark: boolean;
}

/**
 * The members of a tar, in their order: ustar, old v7, GNU long names, PAX and base-256 numbers.
 * Bytes after the end mark are not read. Names are checked: no member is absolute or leaves the root.
 *
 * @throws {TarboxError} naming the tar, the offset and what is wrong there.
 */
export async function* readTar(
  source: AsyncIterable<Uint8Array>,
  { name, endMark }: TarReading,
): AsyncGenerator<TarMember> {
  const reader = new ByteReader(source);
  let headerAt = 0;
  const broken = (why: string): never => {
    throw new TarboxError(
      `${name} is no valid tar: at byte ${headerAt}: ${why}`,
      "the archive is damaged or was made by a broken program; nothing of it was added",
    );
  };
  const content = async (size: number): Promise<Uint8Array> => {
    if (size > PAX_LIMIT) broken(`an extended header of ${size} bytes`);
    const bytes = size === 0 ? new Uint8Array() : await reader.read(size);
    if (bytes === null) throw new TruncatedError("the extended header is missing");
    for await (const _ of reader.pieces(padding(size)));
    return bytes;
  };
  let globals: PaxRecords = new Map();
  let pax: PaxRecords | null = null;
  let longName: Uint8Array | null = null;
  let longLink: Uint8Array | null = null;
  try {
    while (true) {
      headerAt = reader.offset;
      const header = await reader.read(RECORD);
      if (header === null) {
        if (endMark || pax !== null || longName !== null || longLink !== null) {
          broken("it ends without an end mark: it is cut short");
        }
        return;
      }
      if (isZero(header)) {
        const second = await reader.read(RECORD);
        if (second === null ? endMark : !isZero(second)) broken("a lone zero record");
        return;
      }
      checkHeader(header, broken);
      const flag = String.fromCharCode(header[156]!);
      const size = number(header, 124, 12, broken);
      if (flag === "x") {
        if (pax !== null) broken("two extended headers in a row");
        pax = parsePax(await content(size), broken);
        continue;
      }
      if (flag === "g") {
        globals = new Map([...globals, ...parsePax(await content(size), broken)]);
        continue;
      }
      if (flag === "L" || flag === "K") {
        const long = untilNul(await content(size));
        if (flag === "L") longName = long;
        else longLink = long;
        continue;
      }
      const records = new Map([...globals, ...pax ?? []]);
      const entry = decode(header, flag, size, records, longName, longLink, broken);
      pax = longName = longLink = null;
      const offset = reader.offset;
      let left = entry.size;
      yield {
        entry,
        offset,
        async *content() {
          try {
            for await (const piece of reader.pieces(left)) {
              left -= piece.length;
              yield piece;
            }
          } catch (error) {
            if (error instanceof TruncatedError) broken(`it is cut short: ${error.message}`);
            throw error;
          }
        },
      };
      for await (const _ of reader.pieces(left));
      for await (const _ of reader.pieces(padding(entry.size)));
    }
  } catch (error) {
    if (error instanceof TruncatedError) broken(`it is cut short: ${error.message}`);
    throw error;
  }
}

const TYPES: ReadonlyMap<string, EntryType> = new Map([
  ["\0", "file"],
  ["0", "file"],
  ["7", "file"],
  ["1", "link"],
  ["2", "symlink"],
  ["3", "char"],
  ["4", "block"],
  ["5", "directory"],
  ["6", "fifo"],
]);

const ZERO_RECORD = new Uint8Array(RECORD);

function isZero(record: Uint8Array): boolean {
  return record[0] === 0 && equalBytes(record, ZERO_RECORD);
}

/** The checksum, as unsigned bytes (POSIX) or as signed ones (old Sun tars). */
function checkHeader(header: Uint8Array, broken: (why: string) => never): void {
  let unsigned = 8 * 0x20;
  let signed = unsigned;
  for (let i = 0; i < RECORD; i++) {
    if (i >= 148 && i < 156) continue;
    unsigned += header[i]!;
    signed += header[i]! << 24 >> 24;
  }
  const stored = number(header, 148, 8, broken);
  if (stored !== unsigned && stored !== signed) broken("the header's checksum does not match");
}

/** An octal number with spaces or NULs around it, or GNU's base-256 where the first bit is set. */
function number(
  header: Uint8Array,
  at: number,
  length: number,
  broken: (why: string) => never,
): number {
  const field = header.subarray(at, at + length);
  if (field[0]! & 0x80) {
    const value = big256(field);
    if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)) {
      broken("a number out of range");
    }
    return Number(value);
  }
  const digits = latin1(field).replace(/[\0 ]+$/, "").replace(/^ +/, "");
  if (digits === "") return 0;
  if (!/^[0-7]+$/.test(digits)) broken(`${JSON.stringify(digits)} is no octal number`);
  return parseInt(digits, 8);
}

function big256(field: Uint8Array): bigint {
  const rest = BigInt(`0x${field.toHex()}`) & ((1n << BigInt(8 * field.length - 1)) - 1n);
  return BigInt.asIntN(8 * field.length - 1, rest);
}

function untilNul(bytes: Uint8Array): Uint8Array {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}

function decode(
  header: Uint8Array,
  flag: string,
  headerSize: number,
  pax: PaxRecords,
  longName: Uint8Array | null,
  longLink: Uint8Array | null,
  broken: (why: string) => never,
): TarEntry {
  if (flag === "S" || [...pax.keys()].some((key) => key.startsWith("GNU.sparse."))) {
    broken("a GNU sparse file; write the archive without --sparse");
  }
  let type = TYPES.get(flag);
  if (type === undefined) return broken(`a member of unknown type ${JSON.stringify(flag)}`);
  const rawPath = pax.get("path") ?? longName ?? ustarPath(header);
  if (type === "file" && rawPath.at(-1) === 0x2f) type = "directory";
  const integer = (key: string, at: number, length: number): number => {
    const record = pax.get(key);
    if (record === undefined) return number(header, at, length, broken);
    const digits = latin1(record);
    const value = /^[0-9]{1,16}$/.test(digits) ? Number(digits) : NaN;
    if (!Number.isSafeInteger(value)) broken(`${key}=${digits} is no number`);
    return value;
  };
  const size = pax.has("size") ? integer("size", 124, 12) : headerSize;
  if (size < 0) broken("a negative size");
  const uid = integer("uid", 108, 8);
  const gid = integer("gid", 116, 8);
  if (uid < 0 || gid < 0 || uid > 0xffffffff || gid > 0xffffffff) broken("an owner out of range");
  const rawTarget = pax.get("linkpath") ?? longLink ?? untilNul(header.subarray(157, 257));
  if (rawTarget.includes(0)) broken("a NUL in a link target");
  if ((type === "symlink" || type === "link") && rawTarget.length === 0) {
    broken("a link without a target");
  }
  const device = type === "char" || type === "block";
  const time = pax.get("mtime");
  const own = pax.get(PAX_OWN_TYPE);
  if (own !== undefined && type === "file" && latin1(own) === "socket") type = "socket";
  const blocks = pax.get(PAX_OWN_BLOCKS);
  const shortBlocks: ShortBlocks[] = blocks === undefined ? [] : parseShortBlocks(blocks, broken);
  return {
    path: cleanPath(rawPath, broken),
    type,
    mode: number(header, 100, 8, broken) & 0o7777,
    uid,
    gid,
    // Old tars give links and directories a size that no content follows.
    size: type === "file" ? size : 0,
    mtime: time === undefined
      ? BigInt(number(header, 136, 12, broken)) * 1_000_000_000n
      : parseTime(latin1(time), broken),
    target: type === "symlink"
      ? rawTarget
      : type === "link"
      ? cleanPath(rawTarget, broken)
      : new Uint8Array(),
    major: device ? number(header, 329, 8, broken) : 0,
    minor: device ? number(header, 337, 8, broken) : 0,
    xattrs: xattrsOf(pax, broken),
    shortBlocks,
  };
}

function xattrsOf(pax: PaxRecords, broken: (why: string) => never): Xattr[] {
  const out = new Map<string, Uint8Array>();
  for (const [key, value] of pax) {
    if (key.startsWith(PAX_XATTR)) out.set(key.slice(PAX_XATTR.length), value);
  }
  const own = pax.get(PAX_OWN_XATTRS);
  if (own !== undefined) {
    try {
      const packed = Uint8Array.fromHex(latin1(own));
      for (const { name, value } of unpackXattrs(packed)) out.set(latin1(name), value);
    } catch {
      broken(`${PAX_OWN_XATTRS} is damaged`);
    }
  }
  const xattrs: Xattr[] = [];
  for (const [key, value] of out) {
    if (key.length === 0 || key.length > 255 || key.includes("\0") || value.length > 65536) {
      broken("an extended attribute that Linux does not allow");
    }
    xattrs.push({ name: fromLatin1(key), value });
  }
  return xattrs;
}

/** Name of ustar: prefix and name. GNU's magic has a space where ustar has NUL, and no prefix. */
function ustarPath(header: Uint8Array): Uint8Array {
  const name = untilNul(header.subarray(0, 100));
  if (latin1(header.subarray(257, 263)) !== "ustar\0") return name;
  const prefix = untilNul(header.subarray(345, 500));
  return prefix.length === 0 ? name : fromLatin1(`${latin1(prefix)}/${latin1(name)}`);
}

/** Without `./` and doubled slashes. */
function cleanPath(raw: Uint8Array, broken: (why: string) => never): Uint8Array {
  if (raw.length === 0) broken("a member without a name");
  if (raw.includes(0)) broken("a NUL in a name");
  if (raw[0] === 0x2f) broken(`${text(raw)} is an absolute name`);
  const parts: string[] = [];
  for (const part of latin1(raw).split("/")) {
    if (part === "" || part === ".") continue;
    if (part === "..") broken(`${text(raw)} leaves the root`);
    if (part.length > 255) broken("a name of more than 255 bytes");
    parts.push(part);
  }
  return parts.length === 0 ? utf8("") : fromLatin1(parts.join("/"));
}
