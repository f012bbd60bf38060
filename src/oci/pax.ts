import { latin1 } from "../base/bytes.ts";
import type { ShortBlocks } from "./tar_entry.ts";

/** Values of an extended header by key, one character per byte in the keys. */
export type PaxRecords = ReadonlyMap<string, Uint8Array>;

/**
 * The records of an extended header (pax(1)). An empty value removes the key, as POSIX has it.
 * `broken` throws.
 */
export function parsePax(bytes: Uint8Array, broken: (why: string) => never): PaxRecords {
  const out = new Map<string, Uint8Array>();
  let at = 0;
  while (at < bytes.length) {
    const space = bytes.indexOf(0x20, at);
    const digits = space < 0 ? "" : latin1(bytes.subarray(at, Math.min(space, at + 9)));
    const end = at + Number(digits);
    const equals = bytes.indexOf(0x3d, space);
    const sound = /^[1-9][0-9]{0,7}$/.test(digits) && space === at + digits.length &&
      end <= bytes.length && bytes[end - 1] === 0x0a && equals > space + 1 && equals < end - 1;
    if (!sound) broken("a malformed extended header");
    const key = latin1(bytes.subarray(space + 1, equals));
    const value = bytes.slice(equals + 1, end - 1);
    if (key === "hdrcharset") broken("an extended header in a character set of its own");
    if (value.length === 0) out.delete(key);
    else out.set(key, value);
    at = end;
  }
  return out;
}

/** Nanoseconds of decimal seconds; digits beyond nanoseconds are cut off. `broken` throws. */
export function parseTime(decimal: string, broken: (why: string) => never): bigint {
  const match = /^(-?)([0-9]{1,11})(?:\.([0-9]*))?$/.exec(decimal);
  if (match === null) return broken(`mtime=${decimal} is no time`);
  const fraction = (match[3] ?? "").slice(0, 9).padEnd(9, "0");
  const nanoseconds = BigInt(match[2]!) * 1_000_000_000n + BigInt(fraction);
  // What a signed 64-bit number of nanoseconds cannot hold is in the year 2262 or later.
  if (nanoseconds >= 1n << 63n) return broken(`mtime=${decimal} is out of range`);
  return match[1] === "-" ? -nanoseconds : nanoseconds;
}

/** Runs of short blocks, ascending and apart. `broken` throws. */
export function parseShortBlocks(value: Uint8Array, broken: (why: string) => never): ShortBlocks[] {
  const out: ShortBlocks[] = [];
  let next = 0;
  for (const run of latin1(value).split(",")) {
    const match = /^([0-9]{1,12})\+([1-9][0-9]{0,11})=([0-9]{1,6})$/.exec(run);
    if (match === null) return broken(`${JSON.stringify(run)} is no run of blocks`);
    const [first, count, length] = [Number(match[1]), Number(match[2]), Number(match[3])];
    if (first < next) broken("runs of blocks that overlap");
    out.push({ first, count, length });
    next = first + count;
  }
  return out;
}
