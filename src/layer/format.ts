/** How sizes, times and paths are printed by everything that shows layers (spec/layers.md). */

const UNITS = ["KB", "MB", "GB", "TB", "PB"];

/** Bytes for people: `512B`, `1.25KB` (1 KB is 1024 bytes), two decimals above bytes. */
export function formatSize(bytes: number): string {
  if (bytes < 1024) return `${bytes}B`;
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value.toFixed(2)}${UNITS[unit]}`;
}

/** A time in the local time zone as `2026-01-15 10:30:00`; `@{…}` references read the same form. */
export function formatTime(time: Date): string {
  const two = (value: number) => String(value).padStart(2, "0");
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ` +
    `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

/** `st_mode` as ls(1) prints it: `drwxr-xr-x`. */
export function formatMode(mode: number): string {
  const kind = new Map([[0o14, "s"], [0o12, "l"], [0o10, "-"], [0o6, "b"], [0o4, "d"], [0o2, "c"], [
    0o1,
    "p",
  ]]).get(mode >> 12) ?? "?";
  const triple = (bits: number, special: boolean, letter: string) =>
    (bits & 4 ? "r" : "-") + (bits & 2 ? "w" : "-") +
    (special ? (bits & 1 ? letter : letter.toUpperCase()) : bits & 1 ? "x" : "-");
  return kind + triple((mode >> 6) & 7, (mode & 0o4000) !== 0, "s") +
    triple((mode >> 3) & 7, (mode & 0o2000) !== 0, "s") +
    triple(mode & 7, (mode & 0o1000) !== 0, "t");
}

/**
 * A path as one line of text, one character per byte: as it is, or quoted as C strings are where it
 * holds control bytes, `"` or `\` (git does the same with `core.quotePath=false`).
 */
export function quotePath(path: string): string {
  // deno-lint-ignore no-control-regex -- control bytes are exactly what must be quoted
  if (!/[\x00-\x1f\x7f"\\]/.test(path)) return path;
  const named: Record<string, string> = { "\n": "\\n", "\t": "\\t", "\r": "\\r" };
  const body = Array.from(path, (c) => {
    if (c === '"' || c === "\\") return `\\${c}`;
    const code = c.charCodeAt(0);
    if (code >= 32 && code !== 127) return c;
    return named[c] ?? `\\${code.toString(8).padStart(3, "0")}`;
  }).join("");
  return `"${body}"`;
}
