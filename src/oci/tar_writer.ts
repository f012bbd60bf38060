import { concatBytes, hex, latin1, text, utf8 } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import { packXattrs, type Xattr } from "../store/xattrs.ts";
import {
  FLAGS,
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

/** The two zero records that end a tar. */
export const END_MARK: Uint8Array = new Uint8Array(2 * RECORD);

/** The zeros after a content of `size` bytes. */
export function contentPadding(size: number): Uint8Array {
  return END_MARK.subarray(0, padding(size));
}

const NAME_ROOM = 100;
const MAX_OCTAL_7 = 0o7777777;
const MAX_OCTAL_11 = 0o77777777777;
const SLASH = utf8("/");
const BILLION = 1_000_000_000n;

/**
 * The header of a member: ustar, with a PAX header before it for what ustar has no room for. The
 * same entry gives the same bytes on every machine. Content and {@link contentPadding} follow it.
 *
 * @throws {TarboxError} when the attributes need a PAX header that container engines refuse.
 */
export function encodeHeader(entry: TarEntry): Uint8Array {
  const path = headerPath(entry);
  const seconds = floorSeconds(entry.mtime);
  const pax: Uint8Array[] = [];
  const put = (key: string | Uint8Array, value: string | Uint8Array) => {
    pax.push(paxRecord(bytesOf(key), bytesOf(value)));
  };
  if (path.length > NAME_ROOM) put("path", path);
  if (entry.target.length > NAME_ROOM) put("linkpath", entry.target);
  if (entry.size > MAX_OCTAL_11) put("size", String(entry.size));
  if (entry.uid > MAX_OCTAL_7) put("uid", String(entry.uid));
  if (entry.gid > MAX_OCTAL_7) put("gid", String(entry.gid));
  if (entry.mtime !== seconds * BILLION || seconds < 0n || seconds > BigInt(MAX_OCTAL_11)) {
    put("mtime", decimalTime(entry.mtime));
  }
  const own: Xattr[] = [];
  for (const xattr of entry.xattrs) {
    if (representable(entry, xattr)) {
      put(concatBytes([utf8(PAX_XATTR), xattr.name]), xattr.value);
    } else own.push(xattr);
  }
  if (own.length > 0) put(PAX_OWN_XATTRS, hex(packXattrs(own)!));
  if (entry.shortBlocks.length > 0) {
    const runs = formatBlocks(entry.shortBlocks);
    // A file with more runs than fit is written in full: its holes come back as zeros.
    if (runs.length <= PAX_LIMIT / 2) put(PAX_OWN_BLOCKS, runs);
  }
  if (entry.type === "socket") put(PAX_OWN_TYPE, "socket");

  const header = ustarHeader(entry, path, FLAGS.get(entry.type)!);
  if (pax.length === 0) return header;
  const records = concatBytes(pax);
  if (records.length > PAX_LIMIT) {
    throw new TarboxError(
      `${text(path)}: its extended attributes take ${records.length} bytes, and no container ` +
        `engine reads more than ${PAX_LIMIT}`,
      "remove some of them (setfattr -x), or leave the file out",
    );
  }
  const before = ustarHeader(
    { ...PAX_MEMBER, size: records.length },
    utf8("PaxHeaders/entry"),
    "x",
  );
  return concatBytes([before, records, contentPadding(records.length), header]);
}

const NOTHING = new Uint8Array();
const PAX_MEMBER: TarEntry = {
  path: NOTHING,
  type: "file",
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  mtime: 0n,
  target: NOTHING,
  major: 0,
  minor: 0,
  xattrs: [],
  shortBlocks: [],
};

/** An entry of these fields, all others zero or empty. */
export function tarEntry(fields: Partial<TarEntry> & Pick<TarEntry, "path">): TarEntry {
  return { ...PAX_MEMBER, ...fields };
}

/** umoci and buildah refuse `user.*` on anything but files and directories, and drop empty values. */
function representable(entry: TarEntry, { name, value }: Xattr): boolean {
  if (value.length === 0 || name.includes(0x3d)) return false;
  const user = latin1(name.subarray(0, 5)) === "user.";
  return !user || entry.type === "file" || entry.type === "directory" || entry.type === "link";
}

function headerPath(entry: TarEntry): Uint8Array {
  if (entry.type !== "directory") return entry.path;
  return entry.path.length === 0 ? utf8("./") : concatBytes([entry.path, SLASH]);
}

function bytesOf(value: string | Uint8Array): Uint8Array {
  return typeof value === "string" ? utf8(value) : value;
}

/** `LENGTH KEY=VALUE\n`, where the length counts its own digits. */
function paxRecord(key: Uint8Array, value: Uint8Array): Uint8Array {
  const rest = key.length + value.length + 3;
  let length = rest + String(rest).length;
  if (String(length).length > String(rest).length) length = rest + String(length).length;
  return concatBytes([utf8(`${length} `), key, utf8("="), value, utf8("\n")]);
}

function floorSeconds(nanoseconds: bigint): bigint {
  const seconds = nanoseconds / BILLION;
  return nanoseconds < seconds * BILLION ? seconds - 1n : seconds;
}

/** Decimal seconds with nine digits after the point: `-0.500000000` is half a second before 1970. */
export function decimalTime(nanoseconds: bigint): string {
  const positive = nanoseconds < 0n ? -nanoseconds : nanoseconds;
  const fraction = String(positive % BILLION).padStart(9, "0");
  const sign = nanoseconds < 0n ? "-" : "";
  return fraction === "000000000"
    ? `${sign}${positive / BILLION}`
    : `${sign}${positive / BILLION}.${fraction}`;
}

function formatBlocks(runs: readonly ShortBlocks[]): string {
  return runs.map(({ first, count, length }) => `${first}+${count}=${length}`).join(",");
}

function ustarHeader(entry: TarEntry, path: Uint8Array, flag: string): Uint8Array {
  const out = new Uint8Array(RECORD);
  const octal = (at: number, digits: number, value: number, max: number) => {
    const digitsOf = (value > max ? 0 : value).toString(8).padStart(digits, "0");
    for (let i = 0; i < digits; i++) out[at + i] = digitsOf.charCodeAt(i);
  };
  out.set(path.subarray(0, NAME_ROOM), 0);
  octal(100, 7, entry.mode, MAX_OCTAL_7);
  octal(108, 7, entry.uid, MAX_OCTAL_7);
  octal(116, 7, entry.gid, MAX_OCTAL_7);
  octal(124, 11, entry.size, MAX_OCTAL_11);
  const seconds = Number(floorSeconds(entry.mtime));
  octal(136, 11, Math.max(0, seconds), MAX_OCTAL_11);
  out.fill(0x20, 148, 156);
  out[156] = flag.charCodeAt(0);
  out.set(entry.target.subarray(0, NAME_ROOM), 157);
  out.set(utf8("ustar\0" + "00"), 257);
  octal(329, 7, entry.major, MAX_OCTAL_7);
  octal(337, 7, entry.minor, MAX_OCTAL_7);
  let sum = 0;
  for (const byte of out) sum += byte;
  octal(148, 6, sum, MAX_OCTAL_7);
  out[154] = 0;
  return out;
}
