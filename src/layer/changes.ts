import { equalBytes, fromLatin1, latin1 } from "../base/bytes.ts";
import { isDirectory, isRegular, S_IFMT } from "../base/modes.ts";
import {
  type BlockRow,
  type Chain,
  type Entry,
  type InodeRow,
  type Point,
  ROOT_INODE,
} from "../store/rows.ts";
import type { Reader } from "../store/store.ts";
import {
  dentryKey,
  EMPTY_CHAIN,
  keysOf,
  PathBuilder,
  readBatched,
  segmentsBetween,
} from "./chains.ts";
import { listDirectory } from "./file.ts";

/** One path that differs between two states. */
export interface Change {
  /** A `renamed` inode has another path now; it may have changed besides. */
  readonly kind: "added" | "removed" | "modified" | "renamed";
  /** Absolute, `/` for the root: the path afterwards, for `removed` the one before. */
  readonly path: Uint8Array;
  /** The path before, for `renamed` only. */
  readonly oldPath: Uint8Array | null;
  /** Null for `added`. */
  readonly before: InodeRow | null;
  /** Null for `removed`. Of another type than `before` where a path was replaced by another kind. */
  readonly after: InodeRow | null;
  /** Whether the bytes of a regular file differ, or its type does. Of added and removed: true. */
  readonly content: boolean;
  /** Whether mode, owner, device, link target, attributes or mtime differ. */
  readonly metadata: boolean;
}

/**
 * Order of paths in every listing: by components, each by its bytes, so that a directory comes
 * before what is in it and nothing comes in between.
 */
export function comparePaths(a: Uint8Array, b: Uint8Array): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) {
    if (a[i] === b[i]) continue;
    if (a[i] === 0x2f) return -1;
    if (b[i] === 0x2f) return 1;
    return a[i]! - b[i]!;
  }
  return a.length - b.length;
}

/** Whether two rows are of one inode: forks may give a number twice, but never with one birth. */
export function sameInode(a: InodeRow | null | undefined, b: InodeRow | null | undefined): boolean {
  return a != null && b != null && identity(a) === identity(b);
}

/** What never changes in the life of an inode: number, birth and type. */
function identity(row: InodeRow): string {
  return `${row.inode} ${row.btime} ${row.mode & S_IFMT}`;
}

/** Whether what a tar entry of the inode says, content aside, differs. */
export function metadataDiffers(a: InodeRow, b: InodeRow): boolean {
  return a.mtime !== b.mtime || propertiesDiffer(a, b);
}

/** {@link metadataDiffers} without the time: what `diff` tells. */
export function propertiesDiffer(a: InodeRow, b: InodeRow): boolean {
  return a.mode !== b.mode || a.uid !== b.uid || a.gid !== b.gid || a.rdev !== b.rdev ||
    !sameOptional(a.target, b.target) || !sameOptional(a.xattrs, b.xattrs);
}

function sameOptional(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : equalBytes(a, b);
}

/**
 * Every path that differs between two states (null: the empty tree), in the order of
 * {@link comparePaths}. Reads what changed on the way between them, not the trees; only under a
 * renamed directory everything is listed, because every path below it changed. Inodes without a name
 * are invisible.
 */
export async function changes(
  reader: Reader,
  from: Point | null,
  to: Point | null,
): Promise<Change[]> {
  const before = new Side(reader, from === null ? EMPTY_CHAIN : await reader.chain(from));
  const after = new Side(reader, to === null ? EMPTY_CHAIN : await reader.chain(to));
  const keys = await keysOf(reader, segmentsBetween(before.chain, after.chain));
  await Promise.all([before.read(keys), after.read(keys)]);

  // A directory whose dentry changed is not always among the changed inodes.
  await Promise.all([before.addInodes(after), after.addInodes(before)]);
  const named = [...before.directories, ...after.directories];
  const moved = new Set(
    named.filter((number) => sameInode(before.inodes.get(number), after.inodes.get(number))),
  );
  await addSubtrees(before, after, moved);

  const touched = keys.inodes.filter((number) =>
    sameInode(before.inodes.get(number), after.inodes.get(number))
  );
  await Promise.all([before.addNames(touched), after.addNames(touched)]);
  const [old, now] = await Promise.all([before.paths(), after.paths()]);
  return await compareSides(reader, before.chain, after.chain, old, now, new Set(keys.inodes));
}

/** What is known of one of the two states. */
class Side {
  /** Changed or affected entries, by directory and name. */
  readonly entries = new Map<string, Entry>();
  readonly inodes = new Map<number, InodeRow>();
  /** Directories that a changed dentry names. */
  readonly directories = new Set<number>();

  constructor(private readonly reader: Reader, readonly chain: Chain) {}

  async read(
    keys: {
      readonly inodes: readonly number[];
      readonly dentries: readonly { readonly parent: number; readonly name: Uint8Array }[];
    },
  ): Promise<void> {
    if (this.chain.length === 0) return;
    const [rows, entries] = await Promise.all([
      readBatched(keys.inodes, (batch) => this.reader.inodes(this.chain, batch)),
      readBatched(keys.dentries, (batch) => this.reader.lookup(this.chain, batch)),
    ]);
    for (const row of rows) this.inodes.set(row.inode, row);
    for (const entry of entries) {
      this.add(entry);
      if (isDirectory(entry.inode.mode)) this.directories.add(entry.inode.inode);
    }
  }

  add(entry: Entry): void {
    this.entries.set(dentryKey(entry.dentry.parent, entry.dentry.name), entry);
    this.inodes.set(entry.inode.inode, entry.inode);
  }

  /** Reads the directories that the other side found under a changed name. */
  async addInodes(other: Side): Promise<void> {
    if (this.chain.length === 0) return;
    const missing = [...other.directories].filter((number) => !this.inodes.has(number));
    const rows = await readBatched(
      missing,
      (batch) => this.reader.inodes(this.chain, batch),
    );
    for (const row of rows) this.inodes.set(row.inode, row);
  }

  /** All entries of a directory, none where this state has no such directory. */
  async list(directory: number): Promise<Entry[]> {
    return this.chain.length === 0 ? [] : await listDirectory(this.reader, this.chain, directory);
  }

  /** Adds every name of these inodes. */
  async addNames(numbers: readonly number[]): Promise<void> {
    if (this.chain.length === 0) return;
    const rows = await readBatched(numbers, (batch) => this.reader.names(this.chain, batch));
    for (const dentry of rows) {
      const inode = this.inodes.get(dentry.child);
      if (inode !== undefined) this.add({ dentry, inode });
    }
  }

  /** All entries by path, one character per byte; what cannot be reached is left out. */
  async paths(): Promise<Map<string, InodeRow>> {
    const builder = new PathBuilder(this.reader, this.chain);
    const parents = new Set([...this.entries.values()].map(({ dentry }) => dentry.parent));
    parents.delete(ROOT_INODE);
    await builder.load(parents);
    const out = new Map<string, InodeRow>();
    const directories = new Map<number, string | null>();
    for (const { dentry, inode } of this.entries.values()) {
      let directory = directories.get(dentry.parent);
      if (directory === undefined) {
        directory = builder.directory(dentry.parent);
        directories.set(dentry.parent, directory);
      }
      if (directory !== null) out.set(`${directory}/${latin1(dentry.name)}`, inode);
    }
    const root = this.inodes.get(ROOT_INODE);
    if (root !== undefined) out.set("/", root);
    return out;
  }
}

/** Adds everything below directories that moved, on both sides: all their paths changed. */
async function addSubtrees(before: Side, after: Side, moved: Set<number>): Promise<void> {
  const seen = new Set(moved);
  let level = [...moved];
  while (level.length > 0) {
    const next: number[] = [];
    for (let at = 0; at < level.length; at += 16) {
      const group = level.slice(at, at + 16);
      await Promise.all(group.flatMap((number) =>
        [before, after].map(async (side) => {
          for (const entry of await side.list(number)) {
            side.add(entry);
            if (isDirectory(entry.inode.mode) && !seen.has(entry.inode.inode)) {
              seen.add(entry.inode.inode);
              next.push(entry.inode.inode);
            }
          }
        })
      ));
    }
    level = next;
  }
}

async function compareSides(
  reader: Reader,
  fromChain: Chain,
  toChain: Chain,
  old: ReadonlyMap<string, InodeRow>,
  now: ReadonlyMap<string, InodeRow>,
  changed: ReadonlySet<number>,
): Promise<Change[]> {
  const pairs: { path: string; oldPath: string; before: InodeRow; after: InodeRow }[] = [];
  const gone = new Map<string, string[]>();
  const out: Change[] = [];
  for (const [path, row] of old) {
    const after = now.get(path);
    if (after !== undefined) pairs.push({ path, oldPath: path, before: row, after });
    else {
      const paths = gone.get(identity(row));
      if (paths === undefined) gone.set(identity(row), [path]);
      else paths.push(path);
    }
  }
  for (const [path, after] of now) {
    if (old.has(path)) continue;
    const oldPath = gone.get(identity(after))?.shift();
    if (oldPath !== undefined) {
      pairs.push({ path, oldPath, before: old.get(oldPath)!, after });
    } else {
      out.push({
        kind: "added",
        path: fromLatin1(path),
        oldPath: null,
        before: null,
        after,
        content: true,
        metadata: true,
      });
    }
  }
  for (const path of [...gone.values()].flat()) {
    out.push({
      kind: "removed",
      path: fromLatin1(path),
      oldPath: null,
      before: old.get(path)!,
      after: null,
      content: true,
      metadata: true,
    });
  }

  const differing = await contentDiffers(reader, fromChain, toChain, pairs, changed);
  pairs.forEach(({ path, oldPath, before, after }, index) => {
    const content = differing[index]!;
    const metadata = metadataDiffers(before, after);
    const renamed = path !== oldPath;
    if (!renamed && !content && !metadata) return;
    out.push({
      kind: renamed ? "renamed" : "modified",
      path: fromLatin1(path),
      oldPath: renamed ? fromLatin1(oldPath) : null,
      before,
      after,
      content,
      metadata,
    });
  });
  return out.sort((a, b) => comparePaths(a.path, b.path));
}

/** For each pair whether type or bytes differ; blocks are compared by hash, contents are not read. */
async function contentDiffers(
  reader: Reader,
  fromChain: Chain,
  toChain: Chain,
  pairs: readonly { readonly before: InodeRow; readonly after: InodeRow }[],
  changed: ReadonlySet<number>,
): Promise<boolean[]> {
  const unsure = pairs.filter(({ before, after }) =>
    isRegular(before.mode) && isRegular(after.mode) && before.size === after.size &&
    (changed.has(before.inode) || !sameInode(before, after))
  );
  const read = async (chain: Chain, numbers: number[]) => {
    const rows = await readBatched(
      [...new Set(numbers)],
      (batch) => reader.blocks(chain, batch),
    );
    return Map.groupBy(rows, (row) => row.inode);
  };
  const [old, now] = await Promise.all([
    read(fromChain, unsure.map(({ before }) => before.inode)),
    read(toChain, unsure.map(({ after }) => after.inode)),
  ]);
  const asked = new Set(unsure);
  return pairs.map((pair) => {
    const { before, after } = pair;
    if ((before.mode ^ after.mode) & S_IFMT) return true;
    if (!isRegular(before.mode)) return false;
    if (before.size !== after.size) return true;
    return asked.has(pair) &&
      !sameBlocks(old.get(before.inode) ?? [], now.get(after.inode) ?? []);
  });
}

function sameBlocks(a: readonly BlockRow[], b: readonly BlockRow[]): boolean {
  return a.length === b.length &&
    a.every((row, i) => row.index === b[i]!.index && equalBytes(row.hash, b[i]!.hash));
}
