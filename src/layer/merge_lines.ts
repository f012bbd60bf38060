import { diffArrays } from "diff";

/** Milliseconds, and edits, after which a comparison is given up: the texts then conflict as a whole. */
const LIMITS = { timeout: 5000, maxEditLength: 20_000 };

/** A run of base lines that one side replaced. */
interface Edit {
  readonly start: number;
  readonly end: number;
  readonly lines: readonly string[];
}

/** What a merge of lines gave. */
export interface MergedLines {
  /** The merged text; where sides conflict, with both between markers. */
  readonly text: string;
  /** Places where the sides changed the same lines differently. */
  readonly conflicts: number;
}

/** Lines of a text with their ends; `\n` alone ends a line. */
export function splitLines(text: string): string[] {
  const lines = text.split("\n");
  const last = lines.pop()!;
  return last === "" ? lines.map((line) => `${line}\n`) : [...lines.map((l) => `${l}\n`), last];
}

/**
 * Merges what two sides made of a base, by lines; all three one character per byte. Changes of lines
 * that neither overlap nor touch are both taken, equal changes once.
 */
export function mergeLines(
  base: string,
  ours: string,
  theirs: string,
  labels: { readonly ours: string; readonly theirs: string },
): MergedLines {
  const lines = splitLines(base);
  const sides = [ours, theirs].map((text) => edits(lines, splitLines(text)));
  const [a, b] = [sides[0]!, sides[1]!];
  const out: string[] = [];
  let conflicts = 0;
  let at = 0;
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const start = Math.min(a[i]?.start ?? Infinity, b[j]?.start ?? Infinity);
    const [firstA, firstB] = [i, j];
    // A region grows by every edit that begins in it or right behind it.
    for (let end = start, grown = true; grown;) {
      grown = false;
      while (i < a.length && a[i]!.start <= end) {
        end = Math.max(end, a[i++]!.end);
        grown = true;
      }
      while (j < b.length && b[j]!.start <= end) {
        end = Math.max(end, b[j++]!.end);
        grown = true;
      }
    }
    const [fromA, fromB] = [a.slice(firstA, i), b.slice(firstB, j)];
    const end = Math.max(start, ...[...fromA, ...fromB].map((edit) => edit.end));
    out.push(...lines.slice(at, start));
    at = end;
    const mine = applied(lines, fromA, start, end);
    const other = applied(lines, fromB, start, end);
    if (fromB.length === 0 || mine.join("") === other.join("")) out.push(...mine);
    else if (fromA.length === 0) out.push(...other);
    else {
      conflicts++;
      out.push(
        `<<<<<<< ${labels.ours}\n`,
        ...ended(mine),
        "||||||| base\n",
        ...ended(lines.slice(start, end)),
        "=======\n",
        ...ended(other),
        `>>>>>>> ${labels.theirs}\n`,
      );
    }
  }
  out.push(...lines.slice(at));
  return { text: out.join(""), conflicts };
}

function edits(base: readonly string[], side: readonly string[]): Edit[] {
  const parts = diffArrays([...base], [...side], LIMITS);
  if (parts === undefined) return [{ start: 0, end: base.length, lines: side }];
  const out: Edit[] = [];
  let at = 0;
  let open: { start: number; end: number; lines: string[] } | null = null;
  for (const { value, added, removed } of parts) {
    if (!added && !removed) {
      at += value.length;
      open = null;
      continue;
    }
    if (open === null) {
      open = { start: at, end: at, lines: [] };
      out.push(open);
    }
    if (added) open.lines.push(...value);
    else {
      at += value.length;
      open.end = at;
    }
  }
  return out;
}

/** A region of the base with edits made. */
function applied(
  base: readonly string[],
  edits: readonly Edit[],
  start: number,
  end: number,
): string[] {
  const out: string[] = [];
  let at = start;
  for (const edit of edits) {
    out.push(...base.slice(at, edit.start), ...edit.lines);
    at = edit.end;
  }
  return [...out, ...base.slice(at, end)];
}

/** Lines of which the last has an end, too, so that a marker begins a line. */
function ended(lines: readonly string[]): readonly string[] {
  const last = lines.at(-1);
  return last === undefined || last.endsWith("\n") ? lines : [...lines.slice(0, -1), `${last}\n`];
}
