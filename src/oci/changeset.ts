import { fromLatin1, latin1, text } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import { isDirectory, isRegular, S_IFCHR, S_IFMT } from "../base/modes.ts";
import { readBatched } from "../layer/chains.ts";
import { changes } from "../layer/changes.ts";
import { BLOCK_SIZE, type BlockRow, type InodeRow, type Point } from "../store/rows.ts";
import type { Reader } from "../store/store.ts";
import { entryOf } from "./inode_entry.ts";
import { regroupedLinks } from "./link_groups.ts";
import { relieved, relieveMemory } from "./memory.ts";
import {
  baseName,
  type ImagePath,
  joinPath,
  parentPath,
  pathsOfInodes,
  resolvePaths,
} from "./paths.ts";
import { contentPadding, encodeHeader, END_MARK, tarEntry } from "./tar_writer.ts";

/** Told of each path that is left out because OCI has no way to say it. */
export type LeftOut = (path: Uint8Array, why: string) => void;

/** Name prefix of whiteouts (OCI image spec, "Whiteouts"). */
export const WHITEOUT = ".wh.";

/** Lines of a changeset whose block rows are read at once. */
const LINES_AT_ONCE = 1000;
/** Bytes of one read of contents, and how many of them: small files come by the hundred. */
const CONTENT_BYTES_AT_ONCE = 2 << 20;
const CONTENTS_AT_ONCE = 512;
/** Reads of contents that are under way while one is written: 8 MiB in all. */
const READS_AHEAD = 3;

/** Bytes handed on at once: hashing and writing cost by the call. */
const CHUNK_BYTES = 256 << 10;

const ZEROS = new Uint8Array(BLOCK_SIZE);

/** One member of a changeset: an inode at a path, or (null) the whiteout that hides the path. */
interface Line {
  readonly path: ImagePath;
  readonly inode: InodeRow | null;
}

/**
 * The tar of what differs from one state to another (null: the empty tree), by the rules of
 * spec/oci.md: every ancestor with its attributes, whiteouts before their siblings, a hard link's
 * target before its links, paths in the order of their bytes. A function of the two trees alone, so
 * equal checkpoints give equal bytes wherever they are stored. Memory: the paths, not the contents. A
 * chunk holds until the next is asked for: its memory is used again.
 *
 * @param leftOut Called for what cannot be represented, which is then left out; when null:
 * @throws {TarboxError} naming the path that OCI cannot represent.
 */
export async function* writeChangeset(
  reader: Reader,
  from: Point | null,
  to: Point,
  leftOut: LeftOut | null = null,
): AsyncGenerator<Uint8Array> {
  const chunk = new Uint8Array(CHUNK_BYTES);
  let filled = 0;
  for await (const piece of piecesOf(relieved(reader), from, to, leftOut)) {
    for (let at = 0; at < piece.length;) {
      const part = piece.subarray(at, at + chunk.length - filled);
      chunk.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled < chunk.length) continue;
      yield chunk;
      filled = 0;
    }
  }
  yield chunk.subarray(0, filled);
}

/** The changeset in many small pieces: headers, contents, zeros. */
async function* piecesOf(
  reader: Reader,
  from: Point | null,
  to: Point,
  leftOut: LeftOut | null,
): AsyncGenerator<Uint8Array> {
  const chain = await reader.chain(to);
  const lines = inOrder(representable(inOrder(await changedLines(reader, from, to)), leftOut));
  const firstPath = new Map<number, ImagePath>();
  for (let at = 0; at < lines.length; at += LINES_AT_ONCE) {
    const group = lines.slice(at, at + LINES_AT_ONCE);
    const files = new Set<number>();
    for (const { inode } of group) {
      if (inode !== null && isRegular(inode.mode) && !firstPath.has(inode.inode)) {
        files.add(inode.inode);
      }
    }
    const rows = await readBatched([...files], (batch) => reader.blocks(chain, batch));
    const blocks = Map.groupBy(rows, (row) => row.inode);
    const inOrder = [...files].flatMap((number) => blocks.get(number) ?? []);
    const contents = contentsInOrder(reader, inOrder);
    for (const { path, inode } of group) {
      if (inode === null) {
        const name = joinPath(parentPath(path), WHITEOUT + baseName(path));
        yield encodeHeader(tarEntry({ path: fromLatin1(name) }));
        continue;
      }
      const target = isDirectory(inode.mode) ? undefined : firstPath.get(inode.inode);
      const own = blocks.get(inode.inode) ?? [];
      yield encodeHeader(entryOf(path, inode, own, target ?? null));
      if (isDirectory(inode.mode) || target !== undefined) continue;
      firstPath.set(inode.inode, path);
      if (!isRegular(inode.mode)) continue;
      yield* fileContent(inode, own, contents);
      yield contentPadding(inode.size);
    }
  }
  yield END_MARK;
}

/** The contents of blocks in their order, read ahead: the database works while they are written. */
async function* contentsInOrder(
  reader: Reader,
  rows: readonly BlockRow[],
): AsyncGenerator<Uint8Array> {
  const ahead: Promise<Uint8Array[]>[] = [];
  let at = 0;
  const readOn = () => {
    const group: Uint8Array[] = [];
    let bytes = 0;
    while (
      at < rows.length && group.length < CONTENTS_AT_ONCE && bytes < CONTENT_BYTES_AT_ONCE
    ) {
      bytes += rows[at]!.length;
      group.push(rows[at++]!.hash);
    }
    if (group.length === 0) return;
    const read = reader.contents(group);
    // Awaited below; a failure before that moment must not end the process.
    read.catch(() => {});
    ahead.push(read);
  };
  for (let i = 0; i <= READS_AHEAD; i++) readOn();
  for (let next = ahead.shift(); next !== undefined; next = ahead.shift()) {
    const contents = await next;
    readOn();
    yield* contents;
    relieveMemory(contents.reduce((sum, { length }) => sum + length, 0));
  }
}

/** The file in full, holes as zeros, in pieces of at most a block; takes its blocks of `contents`. */
async function* fileContent(
  inode: InodeRow,
  blocks: readonly BlockRow[],
  contents: AsyncGenerator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const row of blocks) {
    const data: Uint8Array = (await contents.next()).value;
    const start = row.index * BLOCK_SIZE;
    if (start >= inode.size) continue;
    yield* zeros(start - at);
    const piece = data.subarray(0, inode.size - start);
    yield piece;
    at = start + piece.length;
  }
  yield* zeros(inode.size - at);
}

function* zeros(length: number): Generator<Uint8Array> {
  for (let left = length; left > 0; left -= BLOCK_SIZE) yield ZEROS.subarray(0, left);
}

/** All lines, in no order. */
async function changedLines(reader: Reader, from: Point | null, to: Point): Promise<Line[]> {
  const [old, chain] = [from === null ? [] : await reader.chain(from), await reader.chain(to)];
  const entries = new Map<ImagePath, InodeRow>();
  const gone = new Set<ImagePath>();
  for (const change of await changes(reader, from, to)) {
    const path = latin1(change.path).slice(1);
    if (change.kind === "removed") gone.add(path);
    if (change.oldPath !== null) gone.add(latin1(change.oldPath).slice(1));
    if (change.after !== null) entries.set(path, change.after);
  }

  // A link to a file of a lower layer breaks on overlay clients: all names of a file go together.
  const linked = new Map<number, InodeRow>();
  const takeLinked = (inode: InodeRow) => {
    if (!isDirectory(inode.mode) && inode.nlink > 1) linked.set(inode.inode, inode);
  };
  for (const inode of entries.values()) takeLinked(inode);
  for (const [number, paths] of await pathsOfInodes(reader, chain, [...linked.keys()])) {
    for (const path of paths) entries.set(path, linked.get(number)!);
  }
  for (const [path, inode] of await regroupedLinks(reader, old, chain, new Set(entries.keys()))) {
    entries.set(path, inode);
  }

  // What lies under a removed or replaced directory is gone with it.
  const whiteouts = [...gone].filter((path) => {
    const parent = parentPath(path);
    const now = entries.get(parent);
    return !gone.has(parent) && (now === undefined || isDirectory(now.mode));
  });

  const ancestors = new Set<ImagePath>([""]);
  for (const path of [...entries.keys(), ...whiteouts]) {
    for (let at = parentPath(path); !ancestors.has(at); at = parentPath(at)) ancestors.add(at);
  }
  const missing = [...ancestors].filter((path) => !entries.has(path));
  const found = await resolvePaths(reader, chain, missing);
  for (const path of missing) entries.set(path, found.get(path)!);

  const lines: Line[] = [];
  for (const [path, inode] of entries) lines.push({ path, inode });
  for (const path of whiteouts) lines.push({ path, inode: null });
  return lines;
}

/** By the bytes of the paths, the whiteouts of a directory before all that is in it. */
function inOrder(lines: readonly Line[]): Line[] {
  const keyed = lines.map((line) => ({
    line,
    // No name begins with NUL.
    key: line.inode !== null
      ? line.path
      : joinPath(parentPath(line.path), "\0" + baseName(line.path)),
  }));
  keyed.sort((a, b) => a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
  return keyed.map(({ line }) => line);
}

const RESERVED = /(^|\/)\.wh\./;

function representable(lines: readonly Line[], leftOut: LeftOut | null): Line[] {
  return lines.flatMap((line) => {
    const why = RESERVED.test(line.path)
      ? `names that begin with ${WHITEOUT} are whiteouts in an image`
      : line.inode !== null && (line.inode.mode & S_IFMT) === S_IFCHR && line.inode.rdev === 0
      ? "a character device 0:0 is a whiteout in an image"
      : null;
    if (why === null) return [line];
    // What was left out when it came needs no whiteout when it goes.
    if (line.inode === null) return [];
    const path = fromLatin1(line.path);
    if (leftOut === null) {
      throw new TarboxError(
        `/${text(path)} cannot be exported: ${why}`,
        "rename or remove it, or leave such files out with --skip-unrepresentable",
      );
    }
    leftOut(path, why);
    // A device in the place of something else must hide it all the same.
    return RESERVED.test(line.path) ? [] : [{ path: line.path, inode: null }];
  });
}
