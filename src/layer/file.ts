import { compareBytes, concatBytes, latin1, text, utf8 } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import { isDirectory, isSymlink } from "../base/modes.ts";
import { LIST_PAGE } from "../store/loads.ts";
import { BLOCK_SIZE, type Chain, type Entry, type InodeRow, ROOT_INODE } from "../store/rows.ts";
import type { Reader } from "../store/store.ts";

/** Blocks whose content is read at once: 2 MiB in memory for a file of any size. */
const BLOCKS_AT_ONCE = 16;
/** Directories that are listed ahead of the walk. */
const LISTED_AHEAD = 16;
/** Symbolic links followed in one path, as path_resolution(7) has it. */
const MAX_LINKS = 40;

const ZEROS = new Uint8Array(BLOCK_SIZE);

/** One inode at its place in a tree. */
export interface Place {
  /** Absolute path, `/` for the root. */
  readonly path: Uint8Array;
  readonly inode: InodeRow;
}

/**
 * The content of a regular file in one state, in pieces of at most `BLOCK_SIZE` bytes that add up to
 * its size; holes are zeros. The pieces must not be written to.
 */
export async function* readFile(
  reader: Reader,
  chain: Chain,
  file: InodeRow,
): AsyncGenerator<Uint8Array> {
  const rows = await reader.blocks(chain, [file.inode]);
  let at = 0;
  for (let first = 0; first < rows.length; first += BLOCKS_AT_ONCE) {
    const group = rows.slice(first, first + BLOCKS_AT_ONCE);
    const contents = await reader.contents(group.map((row) => row.hash));
    for (const [i, row] of group.entries()) {
      const start = row.index * BLOCK_SIZE;
      if (start >= file.size) break;
      yield* zeros(start - at);
      const data = contents[i]!.subarray(0, file.size - start);
      yield data;
      at = start + data.length;
    }
  }
  yield* zeros(file.size - at);
}

function* zeros(length: number): Generator<Uint8Array> {
  for (let left = length; left > 0; left -= BLOCK_SIZE) {
    yield left >= BLOCK_SIZE ? ZEROS : ZEROS.subarray(0, left);
  }
}

/** The whole content of a file in memory; only for files that the caller knows to be small. */
export async function readWhole(
  reader: Reader,
  chain: Chain,
  file: InodeRow,
): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  for await (const part of readFile(reader, chain, file)) parts.push(part);
  return concatBytes(parts);
}

/** All entries of a directory, sorted by the bytes of their names. */
export async function listDirectory(
  reader: Reader,
  chain: Chain,
  directory: number,
): Promise<Entry[]> {
  const out: Entry[] = [];
  for (let after = -1;;) {
    const page = await reader.list(chain, directory, after, LIST_PAGE);
    for (const entry of page) out.push(entry);
    if (page.length < LIST_PAGE) break;
    after = page.at(-1)!.dentry.cookie;
  }
  return out.sort((a, b) => compareBytes(a.dentry.name, b.dentry.name));
}

/**
 * Everything in and under a directory (default: the root), that directory first. Each directory
 * comes directly before what it holds, names in the order of their bytes (`comparePaths`). Hard
 * links come once for each name. Memory: one listing for each level, and those read ahead.
 */
export async function* walk(
  reader: Reader,
  chain: Chain,
  from: Place | null = null,
): AsyncGenerator<Place> {
  const start = from ?? { path: utf8("/"), inode: await rootInode(reader, chain) };
  yield start;
  if (isDirectory(start.inode.mode)) {
    const listing = listDirectory(reader, chain, start.inode.inode);
    yield* below(reader, chain, start.path, await listing);
  }
}

async function* below(
  reader: Reader,
  chain: Chain,
  directory: Uint8Array,
  entries: readonly Entry[],
): AsyncGenerator<Place> {
  const pending: { number: number; listing: Promise<Entry[]> }[] = [];
  const directories = entries.filter(({ inode }) => isDirectory(inode.mode));
  let ahead = 0;
  for (const { dentry, inode } of entries) {
    const path = childPath(directory, dentry.name);
    yield { path, inode };
    if (!isDirectory(inode.mode)) continue;
    while (pending.length < LISTED_AHEAD && ahead < directories.length) {
      const number = directories[ahead++]!.inode.inode;
      const listing = listDirectory(reader, chain, number);
      // Awaited below; a failure before that moment must not end the process.
      listing.catch(() => {});
      pending.push({ number, listing });
    }
    yield* below(reader, chain, path, await pending.shift()!.listing);
  }
}

/** Path of a name in a directory. */
export function childPath(directory: Uint8Array, name: Uint8Array): Uint8Array<ArrayBuffer> {
  const slash = utf8("/");
  return directory.length === 1
    ? concatBytes([slash, name])
    : concatBytes([directory, slash, name]);
}

async function rootInode(reader: Reader, chain: Chain): Promise<InodeRow> {
  const [root] = await reader.inodes(chain, [ROOT_INODE]);
  if (root === undefined) {
    throw new TarboxError("this state of the tree has no root directory", "run tarbox fsck");
  }
  return root;
}

/**
 * What a path names in one state, or null. Relative paths start at the root. Symbolic links are
 * followed on the way (absolute targets start at the workspace's root), and at the end when `follow`.
 * @throws {TarboxError} for more than 40 links.
 */
export async function findPath(
  reader: Reader,
  chain: Chain,
  path: Uint8Array,
  follow = true,
): Promise<Place | null> {
  const root: Place = { path: utf8("/"), inode: await rootInode(reader, chain) };
  const stack: Place[] = [root];
  const todo = components(path);
  let links = 0;
  while (todo.length > 0) {
    const part = todo.shift()!;
    const here = stack.at(-1)!;
    if (!isDirectory(here.inode.mode)) return null;
    if (part === "." || part === "") continue;
    if (part === "..") {
      if (stack.length > 1) stack.pop();
      continue;
    }
    const name = Uint8Array.from(part, (c) => c.charCodeAt(0));
    const [entry] = await reader.lookup(chain, [{ parent: here.inode.inode, name }]);
    if (entry === undefined) return null;
    if (isSymlink(entry.inode.mode) && (follow || todo.length > 0)) {
      if (++links > MAX_LINKS) {
        throw new TarboxError(`${text(path)}: more than ${MAX_LINKS} symbolic links`);
      }
      const target = entry.inode.target ?? new Uint8Array();
      if (target[0] === 0x2f) stack.length = 1;
      todo.unshift(...components(target));
      continue;
    }
    stack.push({ path: childPath(here.path, name), inode: entry.inode });
  }
  return stack.at(-1)!;
}

/** As {@link findPath}. @throws {TarboxError} when there is no such path. */
export async function resolvePath(
  reader: Reader,
  chain: Chain,
  path: Uint8Array,
  follow = true,
): Promise<Place> {
  const place = await findPath(reader, chain, path, follow);
  if (place === null) throw new TarboxError(`${text(path)}: no such file or directory`);
  return place;
}

/** Components of a path, one character per byte. A slash at the end asks for a directory: `.`. */
function components(path: Uint8Array): string[] {
  const parts = latin1(path).split("/");
  if (parts.at(-1) === "") parts[parts.length - 1] = ".";
  return parts.filter((part) => part !== "");
}
