import { TarboxError } from "./errors.ts";

const SIZES: readonly string[] = ["B", "KB", "MB", "GB", "TB", "PB"];

const SECONDS: ReadonlyMap<string, number> = new Map([
  ["ms", 0.001],
  ["s", 1],
  ["m", 60],
  ["h", 3600],
  ["d", 86400],
]);

/**
 * Bytes of `"10GB"`, `"512 kb"` or `4096`; one KB is 1024 bytes.
 * @throws {TarboxError} naming `key`
 */
export function parseSize(key: string, value: unknown): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  const match = /^\s*(\d+(?:\.\d+)?)\s*([KMGTP]?I?B?)\s*$/i.exec(String(value));
  if (typeof value === "string" && match !== null) {
    const unit = match[2]!.toUpperCase().replace("I", "").replace(/^([KMGTP])$/, "$1B") || "B";
    const bytes = Number(match[1]) * 1024 ** SIZES.indexOf(unit);
    if (Number.isSafeInteger(Math.round(bytes))) return Math.round(bytes);
  }
  throw new TarboxError(`${key}: ${JSON.stringify(value)} is no size`, 'such as "10GB" or 4096', 2);
}

/**
 * Seconds of `"1h"`, `"30m"`, `"90s"`, `"500ms"`, `"7d"` or a number.
 * @throws {TarboxError} naming `key`
 */
export function parseDuration(key: string, value: unknown): number {
  if (typeof value === "number" && value >= 0) return value;
  const match = /^\s*(\d+(?:\.\d+)?)\s*(ms|[smhd])\s*$/.exec(String(value));
  if (typeof value === "string" && match !== null) {
    return Number(match[1]) * SECONDS.get(match[2]!)!;
  }
  throw new TarboxError(`${key}: ${JSON.stringify(value)} is no duration`, 'such as "1h"', 2);
}
