import { structuredPatch } from "diff";

/** Files larger than this are told as different, without their lines. */
export const MAX_DIFF_BYTES = 8 * 1024 * 1024;
/** Milliseconds after which a comparison of two files is given up. */
const MAX_DIFF_MILLISECONDS = 5000;
/** Inserted and deleted lines beyond which it is given up: its cost grows with their square. */
const MAX_EDITS = 20_000;
/** Bytes that are looked at to tell text from binary, as git does. */
const SAMPLE_BYTES = 8192;
const CONTEXT_LINES = 3;

/** A hunk of a unified diff. Lines start with ` `, `-`, `+` or `\`; one character per byte. */
export interface Hunk {
  readonly oldStart: number;
  readonly oldLines: number;
  readonly newStart: number;
  readonly newLines: number;
  readonly lines: readonly string[];
}

/**
 * Changed lines. A removed and an added line of one run count as one modified line, and in neither
 * of the other two.
 */
export interface LineCounts {
  readonly added: number;
  readonly removed: number;
  readonly modified: number;
}

/**
 * Whether bytes are a text: no NUL in the first 8 KiB and, where they are not UTF-8 (Latin-1, say),
 * hardly any control bytes.
 */
export function isText(bytes: Uint8Array): boolean {
  const sample = bytes.subarray(0, SAMPLE_BYTES);
  let control = 0;
  for (const byte of sample) {
    if (byte === 0) return false;
    const layout = byte >= 7 && byte <= 13 || byte === 27;
    if ((byte < 32 && !layout) || byte === 127) control++;
  }
  if (control === 0) return true;
  try {
    // A character cut at the end of the sample is no error.
    new TextDecoder("utf-8", { fatal: true }).decode(sample, { stream: true });
    return true;
  } catch {
    return control * 20 < sample.length;
  }
}

/** Lines of a text; a last line without a line end counts. */
export function countLines(bytes: Uint8Array): number {
  let lines = 0;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) lines++;
  return bytes.length > 0 && bytes.at(-1) !== 10 ? lines + 1 : lines;
}

/**
 * Hunks between two texts of one character per byte, with three lines of context; lines end at `\n`
 * only, so a CR is part of its line. Null when the bounds on time and edits were reached.
 */
export function diffLines(before: string, after: string): Hunk[] | null {
  const patch = structuredPatch("", "", before, after, undefined, undefined, {
    context: CONTEXT_LINES,
    timeout: MAX_DIFF_MILLISECONDS,
    maxEditLength: MAX_EDITS,
  });
  return patch === undefined ? null : patch.hunks;
}

/** What the hunks add, remove and modify. */
export function countChanges(hunks: readonly Hunk[]): LineCounts {
  const counts = { added: 0, removed: 0, modified: 0 };
  let minus = 0;
  let plus = 0;
  const close = () => {
    const pairs = Math.min(minus, plus);
    counts.modified += pairs;
    counts.removed += minus - pairs;
    counts.added += plus - pairs;
    minus = plus = 0;
  };
  for (const { lines } of hunks) {
    for (const line of lines) {
      if (line[0] === "-") minus++;
      else if (line[0] === "+") plus++;
      else if (line[0] === " ") close();
    }
    close();
  }
  return counts;
}

/** The `@@` line of a hunk. A side without lines starts one lower, and a count of 1 is left out. */
export function hunkHeader(hunk: Hunk): string {
  const range = (start: number, count: number) =>
    count === 1 ? `${start}` : `${count === 0 ? start - 1 : start},${count}`;
  return `@@ -${range(hunk.oldStart, hunk.oldLines)} +${range(hunk.newStart, hunk.newLines)} @@`;
}
