import { equalBytes, fromLatin1, latin1, utf8 } from "../base/bytes.ts";
import { isRegular, isSymlink, S_IFMT } from "../base/modes.ts";
import type { Chain, InodeRow, Point } from "../store/rows.ts";
import type { Reader } from "../store/store.ts";
import { type Change, changes, propertiesDiffer } from "./changes.ts";
import { EMPTY_CHAIN } from "./chains.ts";
import { readWhole } from "./file.ts";
import { formatSize, quotePath } from "./format.ts";
import { pathUnder } from "./paths.ts";
import { findRenames } from "./renames.ts";
import {
  countChanges,
  countLines,
  diffLines,
  type Hunk,
  hunkHeader,
  isText,
  type LineCounts,
  MAX_DIFF_BYTES,
} from "./lines.ts";

/** One change with what differs inside. */
export interface FileDiff extends LineCounts {
  readonly change: Change;
  /**
   * `text`: see `hunks`. `binary`, `large`: the content differs, lines are not told (large also
   * where the bounds on a comparison were reached). `same`: the content does not differ.
   */
  readonly form: "text" | "binary" | "large" | "same";
  readonly hunks: readonly Hunk[];
  /** Lines of the text afterwards. */
  readonly lines: number;
}

/** Two states to compare, and what the labels call them. */
export interface Comparison {
  readonly from: { readonly point: Point | null; readonly label: string };
  readonly to: { readonly point: Point | null; readonly label: string };
}

/** Two states made ready: what `diff` tells of them, and where contents are read. */
export interface Compared extends Comparison {
  readonly changes: readonly Change[];
  readonly fromChain: Chain;
  readonly toChain: Chain;
}

/**
 * What `diff` tells between two states: every change but those of times only; a path that changed
 * its type as removed and added. With `renames`, also renames are found that the inode does not tell
 * ({@link findRenames}). With `paths`, only what is at or under one of them, before or after.
 */
export async function compare(
  reader: Reader,
  comparison: Comparison,
  paths: readonly Uint8Array[] = [],
  { renames = true }: { readonly renames?: boolean } = {},
): Promise<Compared> {
  const { from, to } = comparison;
  const [all, fromChain, toChain] = await Promise.all([
    changes(reader, from.point, to.point),
    from.point === null ? EMPTY_CHAIN : reader.chain(from.point),
    to.point === null ? EMPTY_CHAIN : reader.chain(to.point),
  ]);
  const told = all.filter((change) => tellable(change) && selected(change, paths));
  const split = told.flatMap(splitByType);
  const found = renames ? await findRenames(reader, { fromChain, toChain }, split) : split;
  return { from, to, changes: found, fromChain, toChain };
}

/** Whether a change is more than one of times. */
export function tellable({ kind, content, before, after }: Change): boolean {
  return kind !== "modified" || content || propertiesDiffer(before!, after!);
}

function selected(change: Change, paths: readonly Uint8Array[]): boolean {
  return paths.length === 0 ||
    paths.some((path) =>
      pathUnder(change.path, path) || (change.oldPath !== null && pathUnder(change.oldPath, path))
    );
}

/** A path whose type changed becomes two changes: a removed and an added one. */
export function splitByType(change: Change): Change[] {
  const { before, after } = change;
  if (before === null || after === null || !((before.mode ^ after.mode) & S_IFMT)) return [change];
  const path = change.oldPath ?? change.path;
  const both = { oldPath: null, content: true, metadata: true };
  return [
    { ...both, kind: "removed", path, before, after: null },
    { ...both, kind: "added", path: change.path, before: null, after },
  ];
}

/** Reads both contents of a change and compares their lines. */
export async function diffFile(
  reader: Reader,
  { fromChain, toChain }: { readonly fromChain: Chain; readonly toChain: Chain },
  change: Change,
): Promise<FileDiff> {
  const { before, after } = change;
  const none = { change, hunks: [], lines: 0, added: 0, removed: 0, modified: 0 };
  if (!hasContent(before) && !hasContent(after)) return { ...none, form: "same" };
  if ((before?.size ?? 0) > MAX_DIFF_BYTES || (after?.size ?? 0) > MAX_DIFF_BYTES) {
    return { ...none, form: change.content ? "large" : "same" };
  }
  const [old, now] = await Promise.all([
    contentOf(reader, fromChain, before),
    contentOf(reader, toChain, after),
  ]);
  return { change, ...diffContents(old, now) };
}

/** Two contents compared by lines. */
export function diffContents(old: Uint8Array, now: Uint8Array): Omit<FileDiff, "change"> {
  const readable = isText(old) && isText(now);
  const lines = readable ? countLines(now) : 0;
  const none = { hunks: [], lines, added: 0, removed: 0, modified: 0 };
  if (equalBytes(old, now)) return { ...none, form: "same" };
  if (!readable) return { ...none, form: "binary" };
  const hunks = diffLines(latin1(old), latin1(now));
  if (hunks === null) return { ...none, form: "large" };
  return { form: "text", hunks, lines, ...countChanges(hunks) };
}

function hasContent(inode: InodeRow | null): boolean {
  return inode !== null && (isRegular(inode.mode) || isSymlink(inode.mode));
}

/** What `diff` compares of an inode: the bytes of a file, the target of a link; else nothing. */
export async function contentOf(
  reader: Reader,
  chain: Chain,
  inode: InodeRow | null,
): Promise<Uint8Array> {
  if (inode === null || !hasContent(inode)) return new Uint8Array();
  return inode.target ?? await readWhole(reader, chain, inode);
}

/** Colours of a terminal for the lines of a diff; the plain form has none. */
const COLOURS = new Map([["-", 31], ["+", 32], ["@", 36]]);

/** The unified diff of a comparison, one piece for each change. */
export async function* unifiedDiff(
  reader: Reader,
  compared: Compared,
  { color = false }: { readonly color?: boolean } = {},
): AsyncGenerator<Uint8Array> {
  for (const change of compared.changes) {
    yield renderFile(await diffFile(reader, compared, change), compared, color);
  }
}

/** The unified diff of one file: what changed around its content, then its hunks. */
export function renderFile(file: FileDiff, comparison: Comparison, color = false): Uint8Array {
  const { change } = file;
  const label = (path: Uint8Array | null, name: string) =>
    path === null ? "/dev/null" : `${quotePath(latin1(path))} (${latin1(utf8(name))})`;
  const before = change.before === null ? null : change.oldPath ?? change.path;
  const after = change.after === null ? null : change.path;
  const old = label(before, comparison.from.label);
  const now = label(after, comparison.to.label);

  const header = properties(change, file.form === "same");
  if (header.length > 0) {
    const [a, b] = [before ?? after!, after ?? before!].map((path) => quotePath(latin1(path)));
    header.unshift(`diff ${a} ${b}`);
  }
  const body: string[] = [];
  if (file.form === "binary") {
    body.push(`Binary files ${old} and ${now} differ`);
  } else if (file.form === "large") {
    const sizes = [change.before, change.after].map((inode) => formatSize(inode?.size ?? 0));
    body.push(`Files ${old} and ${now} differ: ${sizes[0]} and ${sizes[1]}`);
  } else if (file.form === "text") {
    header.push(`--- ${old}`, `+++ ${now}`);
    for (const hunk of file.hunks) body.push(hunkHeader(hunk), ...hunk.lines);
  }
  const lines = color
    ? [
      ...header.map((line) => `\x1b[1m${line}\x1b[m`),
      ...body.map((line) => {
        const colour = COLOURS.get(line[0]!);
        return colour === undefined ? line : `\x1b[${colour}m${line}\x1b[m`;
      }),
    ]
    : [...header, ...body];
  return fromLatin1(lines.map((line) => `${line}\n`).join(""));
}

/** Lines on type, mode, owner, attributes and name, in git's words where it has any. */
function properties({ kind, before, after, path, oldPath }: Change, empty: boolean): string[] {
  const mode = (inode: InodeRow) => inode.mode.toString(8).padStart(6, "0");
  if (before === null) return empty ? [`new file mode ${mode(after!)}`] : [];
  if (after === null) return empty ? [`deleted file mode ${mode(before)}`] : [];
  const out: string[] = [];
  if (kind === "renamed") {
    out.push(`rename from ${quotePath(latin1(oldPath!))}`, `rename to ${quotePath(latin1(path))}`);
  }
  const pair = (what: string, a: string, b: string) => {
    if (a !== b) out.push(`old ${what} ${a}`, `new ${what} ${b}`);
  };
  pair("mode", mode(before), mode(after));
  pair("owner", `${before.uid}:${before.gid}`, `${after.uid}:${after.gid}`);
  pair(
    "device",
    `${before.rdev >>> 8}:${before.rdev & 255}`,
    `${after.rdev >>> 8}:${after.rdev & 255}`,
  );
  if ((before.xattrs?.toHex() ?? "") !== (after.xattrs?.toHex() ?? "")) {
    out.push("extended attributes changed");
  }
  return out;
}

/** The letter of `--name-status`: A, D, M, R, as git has them. */
export function statusLetter(change: Change): "A" | "D" | "M" | "R" {
  const letters = { added: "A", removed: "D", modified: "M", renamed: "R" } as const;
  return letters[change.kind];
}

/** One line of `--name-status`: the letter, a tab, the path; for a rename the old path before it. */
export function nameStatusLine(change: Change): Uint8Array {
  const paths = change.oldPath === null ? [change.path] : [change.oldPath, change.path];
  return fromLatin1(
    [statusLetter(change), ...paths.map((path) => quotePath(latin1(path)))].join("\t") + "\n",
  );
}

/** One line of `--stat`: path and changed lines, or the sizes where lines are not told. */
export function statLine({ change, form, added, removed, modified }: FileDiff): Uint8Array {
  const path = quotePath(latin1(change.path));
  const name = change.oldPath === null ? path : `${quotePath(latin1(change.oldPath))} => ${path}`;
  const sizes = `${formatSize(change.before?.size ?? 0)} -> ${formatSize(change.after?.size ?? 0)}`;
  const what = form === "text"
    ? `+${added} -${removed} ~${modified}`
    : form === "binary"
    ? `binary ${sizes}`
    : form === "large"
    ? sizes
    : change.kind === "modified"
    ? "properties"
    : change.kind;
  return fromLatin1(` ${name} | ${what}\n`);
}
