import { createHash } from "node:crypto";
import { deflateSync } from "node:zlib";
import { concatBytes, fromLatin1, latin1, text, utf8 } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import { isRegular, isSymlink } from "../base/modes.ts";
import type { InodeRow } from "../store/rows.ts";
import type { Reader } from "../store/store.ts";
import type { Change } from "./changes.ts";
import { type Compared, contentOf, diffContents } from "./diff.ts";
import { formatSize, quotePath } from "./format.ts";
import { countLines, type Hunk, hunkHeader } from "./lines.ts";

/** Alphabet of the base 85 in which git writes binary contents (git's base85.c). */
const BASE85 =
  "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
/** Bytes in one line of a binary patch. */
const BINARY_LINE = 52;
/** Files larger than this are no part of a patch: it holds them in memory and in full. */
const PATCH_BYTES_MAX = 64 * 1024 * 1024;
/** Object name of what does not exist. */
const NO_OBJECT = "0".repeat(40);

/**
 * The comparison as a patch that `git apply` takes in the root of the older tree, one piece for each
 * change. Git knows files and symbolic links, and of modes only whether a file is executable: all
 * else is left out. Binary contents are in it, in full.
 */
export async function* gitPatch(reader: Reader, compared: Compared): AsyncGenerator<Uint8Array> {
  for (const change of plainChanges(compared.changes)) {
    for (const inode of [change.before, change.after]) {
      if (inode === null || inode.size <= PATCH_BYTES_MAX) continue;
      throw new TarboxError(
        `diff --git: ${text(change.path)} is larger than ${formatSize(PATCH_BYTES_MAX)}`,
        "name the paths to be told, or `tarbox export` the layer",
      );
    }
    const [old, now] = await Promise.all([
      contentOf(reader, compared.fromChain, change.before),
      contentOf(reader, compared.toChain, change.after),
    ]);
    yield renderPatch(change, old, now);
  }
}

/**
 * Only what git can tell, removals first. A rename whose names stood or stand for something else is
 * told as removed and added.
 */
function plainChanges(changes: readonly Change[]): Change[] {
  const known = changes.filter(({ before, after }) => isTold(before) && isTold(after));
  const left = new Set<string>();
  const made = new Set<string>();
  for (const { before, after, path, oldPath } of known) {
    if (before !== null) left.add(latin1(oldPath ?? path));
    if (after !== null) made.add(latin1(path));
  }
  const out = known.flatMap((change): Change[] => {
    if (change.kind !== "renamed") return [change];
    const free = !left.has(latin1(change.path)) && !made.has(latin1(change.oldPath!));
    if (free) return [change];
    return [
      { ...change, kind: "removed", path: change.oldPath!, oldPath: null, after: null },
      { ...change, kind: "added", oldPath: null, before: null },
    ];
  });
  const rank = (change: Change) => change.kind === "removed" ? 0 : 1;
  return out.sort((a, b) => rank(a) - rank(b));
}

function isTold(inode: InodeRow | null): boolean {
  return inode === null || isRegular(inode.mode) || isSymlink(inode.mode);
}

function renderPatch(change: Change, old: Uint8Array, now: Uint8Array): Uint8Array {
  const { before, after } = change;
  const name = (side: "a" | "b", path: Uint8Array) => quotePath(`${side}${latin1(path)}`);
  const a = name("a", change.oldPath ?? change.path);
  const b = name("b", change.path);
  const lines = [`diff --git ${a} ${b}`];
  const [oldMode, newMode] = [modeOf(before), modeOf(after)];
  if (before === null) lines.push(`new file mode ${newMode}`);
  else if (after === null) lines.push(`deleted file mode ${oldMode}`);
  else if (oldMode !== newMode) lines.push(`old mode ${oldMode}`, `new mode ${newMode}`);
  const same = before !== null && after !== null && sameContent(old, now);
  const { form, hunks } = diffContents(old, now);
  if (change.kind === "renamed") {
    lines.push(`similarity index ${same ? 100 : similarityOf(hunks, now)}%`);
    const bare = (path: Uint8Array) => quotePath(latin1(path).slice(1));
    lines.push(`rename from ${bare(change.oldPath!)}`, `rename to ${bare(change.path)}`);
  }
  if (same) return lines.length === 1 ? new Uint8Array() : joined(lines);
  const ids = [before === null ? NO_OBJECT : blobId(old), after === null ? NO_OBJECT : blobId(now)];
  const mode = oldMode === newMode ? ` ${newMode}` : "";
  lines.push(`index ${ids[0]}..${ids[1]}${mode}`);
  if (old.length === 0 && now.length === 0) return joined(lines);
  if (form !== "text") {
    return concatBytes([joined(lines), utf8("GIT binary patch\n"), literal(now), literal(old)]);
  }
  // A tab ends a name that holds a space, as git has it.
  const label = (path: string) => path.includes(" ") ? `${path}\t` : path;
  lines.push(`--- ${before === null ? "/dev/null" : label(a)}`);
  lines.push(`+++ ${after === null ? "/dev/null" : label(b)}`);
  for (const hunk of hunks) {
    lines.push(hunkHeader(hunk));
    for (const line of hunk.lines) lines.push(line);
  }
  return joined(lines);
}

/** Percent of the lines that a change leaves; 0 where lines are not told. */
function similarityOf(hunks: readonly Hunk[], now: Uint8Array): number {
  const lines = countLines(now);
  const added = hunks.flatMap((hunk) => hunk.lines).filter((line) => line[0] === "+").length;
  return hunks.length === 0 || lines === 0 ? 0 : Math.floor((lines - added) / lines * 100);
}

function joined(lines: readonly string[]): Uint8Array<ArrayBuffer> {
  return fromLatin1(lines.map((line) => `${line}\n`).join(""));
}

function sameContent(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** A mode as git keeps it. */
function modeOf(inode: InodeRow | null): string {
  if (inode === null) return "000000";
  if (isSymlink(inode.mode)) return "120000";
  return (inode.mode & 0o100) === 0 ? "100644" : "100755";
}

/** Name of a content as git's object. */
function blobId(content: Uint8Array): string {
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}

/** A content as `git diff --binary` writes it: deflated, in lines of base 85. */
function literal(content: Uint8Array): Uint8Array<ArrayBuffer> {
  const packed = new Uint8Array(deflateSync(content));
  const lines = [`literal ${content.length}`];
  for (let at = 0; at < packed.length; at += BINARY_LINE) {
    const part = packed.subarray(at, at + BINARY_LINE);
    // The length of a line: A to Z are 1 to 26, a to z are 27 to 52.
    const { length } = part;
    lines.push(String.fromCharCode(length <= 26 ? 64 + length : 70 + length) + base85(part));
  }
  lines.push("");
  return joined(lines);
}

/** Base 85 of bytes, four to five characters; the last group is filled with zeros. */
function base85(bytes: Uint8Array): string {
  let out = "";
  for (let at = 0; at < bytes.length; at += 4) {
    let value = 0;
    for (let i = 0; i < 4; i++) value = value * 256 + (bytes[at + i] ?? 0);
    let group = "";
    for (let i = 0; i < 5; i++) {
      group = BASE85[value % 85] + group;
      value = Math.floor(value / 85);
    }
    out += group;
  }
  return out;
}
