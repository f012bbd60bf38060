import { createHash } from "node:crypto";
import { equalBytes, fromLatin1, latin1 } from "../base/bytes.ts";
import { nowNanoseconds } from "../base/clock.ts";
import { isDirectory } from "../base/modes.ts";
import {
  allocatedBytes,
  type Batch,
  BLOCK_SIZE,
  type BlockRow,
  type Chain,
  type ContentRow,
  type InodeRow,
  ROOT_INODE,
} from "../store/rows.ts";
import type { Reader } from "../store/store.ts";
import { sameInode } from "./changes.ts";
import { dentryKey, PathBuilder, readBatched } from "./chains.ts";
import { findPath } from "./file.ts";

/** A name that a state gets, or keeps with another inode. Paths have one character per byte. */
export interface Put {
  readonly path: string;
  /** As the other state has it. */
  readonly row: InodeRow;
  /** Bytes of a regular file in place of those that the other state has. */
  readonly content?: Uint8Array;
  /** The row is made of one that the state itself has, and so is the content. */
  readonly own?: boolean;
}

/** A name that a state loses. */
export interface Taken {
  readonly path: string;
  readonly row: InodeRow;
}

/** Names that one state takes from another, by path. */
export interface Graft {
  readonly puts: ReadonlyMap<string, Put>;
  readonly taken: ReadonlyMap<string, Taken>;
  /** Whether a directory keeps its mtime though names in it change: both states have the same. */
  readonly keepsTime?: (directory: string) => boolean;
}

/**
 * The batch that grafts names of the state `from` onto the state `to`. Contents are named by their
 * hashes, so nothing is copied. Every directory above a name must be there, or among the puts.
 *
 * An inode keeps its number where the state has no other use for it; else it gets a new one. A
 * directory that is one in both states stays what it is, so whoever works in it still does.
 */
export async function graftBatch(
  reader: Reader,
  from: Chain,
  to: Chain,
  { puts, taken, keepsTime = () => false }: Graft,
): Promise<Batch> {
  return await new Draft(reader, from, to, puts, taken, keepsTime).build();
}

/** Path of the directory that holds a path. */
export function directoryOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

function nameOf(path: string): Uint8Array {
  return fromLatin1(path.slice(path.lastIndexOf("/") + 1));
}

/** Works out numbers, link counts and rows. */
class Draft {
  /** Number of each directory path that matters. */
  readonly #directories = new Map<string, number>([["/", ROOT_INODE]]);
  /** Rows of the state by number. */
  readonly #there = new Map<number, InodeRow>();
  readonly #names = new Map<number, number>();
  readonly #numbers = new Map<string, number>();
  readonly #given = new Set<number>();
  #nextInode = 0;
  #nextCookie = 0;

  constructor(
    private readonly reader: Reader,
    private readonly from: Chain,
    private readonly to: Chain,
    private readonly puts: ReadonlyMap<string, Put>,
    private readonly taken: ReadonlyMap<string, Taken>,
    private readonly keepsTime: (directory: string) => boolean,
  ) {}

  async build(): Promise<Batch> {
    const { reader, to } = this;
    const counters = await reader.counters(to[0]!.lineage);
    // Numbers of the other state that come back are taken, too.
    const highest = [...this.puts.values()].reduce((most, { row }) => Math.max(most, row.inode), 0);
    this.#nextInode = Math.max(counters.nextInode, highest + 1);
    this.#nextCookie = counters.nextCookie;
    const puts = [...this.puts.values()].sort((a, b) => a.path.length - b.path.length);
    await this.#readHead(puts);
    // What stays where it is keeps its number before anybody else asks for it.
    for (const put of puts) this.#keepDirectory(put);
    for (const put of puts) if (!this.#numbers.has(put.path)) this.#number(put);
    await this.#findDirectories(puts);

    const now = nowNanoseconds();
    const rows = new Map<number, InodeRow>();
    const links = new Map(this.#names);
    const subdirectories = new Map<number, number>();
    const entries = new Map<
      string,
      { parent: number; name: Uint8Array; child: number | null; was: number | null }
    >();
    const touched = new Set<number>();
    for (const { path, row } of this.taken.values()) {
      if (path === "/") continue;
      const parent = this.#directories.get(directoryOf(path))!;
      const name = nameOf(path);
      entries.set(dentryKey(parent, name), { parent, name, child: null, was: row.inode });
      links.set(row.inode, links.get(row.inode)! - 1);
      if (isDirectory(row.mode)) add(subdirectories, parent, -1);
      touched.add(parent);
    }
    const sources = new Map<number, Put>();
    for (const put of puts) {
      const { path, row } = put;
      const inode = this.#numbers.get(path)!;
      sources.set(inode, put);
      if (path !== "/") {
        const parent = this.#directories.get(directoryOf(path))!;
        const name = nameOf(path);
        const was = entries.get(dentryKey(parent, name))?.was ?? null;
        entries.set(dentryKey(parent, name), { parent, name, child: inode, was });
        add(links, inode, 1);
        if (isDirectory(row.mode)) add(subdirectories, parent, 1);
        touched.add(parent);
      }
    }
    await this.#readThere([...touched, ...links.keys()]);
    for (const [inode, { row, content }] of sources) {
      const nlink = isDirectory(row.mode)
        ? directoryLinks(this.#there.get(inode))
        : links.get(inode)!;
      const written = content === undefined
        ? {}
        : { size: content.length, allocated: allocatedOf(content.length), mtime: now };
      rows.set(inode, { ...row, ...written, inode, nlink, ctime: now });
    }
    // A name that stays with its inode is no change of the directory.
    const changed = [...entries.values()].filter(({ child, was }) => child !== was);
    const kept = new Set(
      [...this.#directories].filter(([path]) => this.keepsTime(path)).map(([, inode]) => inode),
    );
    const parents = new Set(changed.map(({ parent }) => parent));
    for (const inode of new Set([...parents, ...subdirectories.keys()])) {
      const base = rows.get(inode) ?? this.#there.get(inode)!;
      const times = sources.has(inode) || kept.has(inode) ? {} : { mtime: now };
      const nlink = base.nlink + (subdirectories.get(inode) ?? 0);
      rows.set(inode, { ...base, ...times, nlink, ctime: now });
    }
    const dead: number[] = [];
    for (const [inode, count] of links) {
      if (sources.has(inode)) continue;
      if (count === 0) {
        dead.push(inode);
        rows.delete(inode);
      } else if (count !== this.#names.get(inode)) {
        rows.set(inode, { ...this.#there.get(inode)!, nlink: count, ctime: now });
      }
    }
    return {
      inodes: [...rows.values()],
      deadInodes: dead,
      dentries: changed.filter(({ child }) => child !== null).map(({ parent, name, child }) => ({
        parent,
        name,
        child: child!,
        cookie: this.#nextCookie++,
      })),
      deadDentries: changed.filter(({ child }) => child === null)
        .map(({ parent, name }) => ({ parent, name })),
      ...await this.#blocks(sources),
      nextInode: this.#nextInode,
      nextCookie: this.#nextCookie,
    };
  }

  /** Reads what the state has under the numbers concerned, and how many names of each there are. */
  async #readHead(puts: readonly Put[]): Promise<void> {
    const numbers = new Set<number>();
    for (const { row } of this.taken.values()) numbers.add(row.inode);
    for (const { row } of puts) numbers.add(row.inode);
    await this.#readThere([...numbers]);
    await this.#findLinked(puts);
    const present = [...numbers].filter((inode) => this.#there.has(inode));
    const names = await readBatched(present, (batch) => this.reader.names(this.to, batch));
    for (const inode of present) this.#names.set(inode, 0);
    for (const { child } of names) add(this.#names, child, 1);
  }

  async #readThere(numbers: readonly number[]): Promise<void> {
    const missing = [...new Set(numbers)].filter((inode) => !this.#there.has(inode));
    const rows = await readBatched(missing, (batch) => this.reader.inodes(this.to, batch));
    for (const row of rows) this.#there.set(row.inode, row);
  }

  #keepDirectory({ path, row }: Put): void {
    const old = this.taken.get(path)?.row;
    if (old === undefined || !isDirectory(old.mode) || !isDirectory(row.mode)) return;
    this.#numbers.set(path, old.inode);
    this.#given.add(old.inode);
  }

  /** Chooses the number that a path's inode gets. */
  #number({ path, row, content, own }: Put): void {
    // Names of one inode stay names of one, but a merged content is of its path alone.
    const group = isDirectory(row.mode) || content !== undefined
      ? path
      : `\0${own ? "own" : "other"} ${row.inode} ${row.btime}`;
    let number = this.#numbers.get(group);
    if (number === undefined) {
      number = this.#free(row) ? row.inode : this.#nextInode++;
      this.#given.add(number);
      this.#numbers.set(group, number);
    }
    this.#numbers.set(path, number);
  }

  /**
   * Whether the state may use an inode's own number for it: nobody else has it, and no name of it
   * stays that would change, too.
   */
  #free({ inode }: InodeRow): boolean {
    if (this.#given.has(inode) || inode === ROOT_INODE) return false;
    return !this.#there.has(inode) || this.#leaving(inode) === this.#names.get(inode) ||
      this.#linked.has(inode);
  }

  /** Files that are there unchanged, and whose other names are theirs in the other state, too. */
  readonly #linked = new Set<number>();

  async #findLinked(puts: readonly Put[]): Promise<void> {
    const files = puts.filter(({ row, content, own }) =>
      content === undefined && !own && !isDirectory(row.mode) && row.nlink > 1 &&
      sameInode(this.#there.get(row.inode), row)
    ).map(({ row }) => row.inode);
    if (files.length === 0) return;
    const [here, there] = await Promise.all([this.to, this.from].map(async (chain) => {
      const paths = new PathBuilder(this.reader, chain);
      await paths.load(files);
      const blocks = await readBatched(files, (batch) => this.reader.blocks(chain, batch));
      return { paths, blocks: Map.groupBy(blocks, ({ inode }) => inode) };
    }));
    const pathsOf = (side: PathBuilder, inode: number) =>
      side.names(inode).map(({ parent, name }) => `${side.directory(parent)}/${latin1(name)}`);
    for (const { row } of puts) {
      const { inode } = row;
      const now = this.#there.get(inode);
      if (!files.includes(inode) || now!.mode !== row.mode || now!.mtime !== row.mtime) continue;
      const blocks = [here!, there!].map((side) =>
        (side.blocks.get(inode) ?? []).map(({ index, hash }) => `${index} ${hash.toHex()}`).join()
      );
      const theirs = new Set(pathsOf(there!.paths, inode));
      const rest = pathsOf(here!.paths, inode).filter((path) => !this.taken.has(path));
      if (blocks[0] === blocks[1] && rest.every((path) => theirs.has(path))) {
        this.#linked.add(inode);
      }
    }
  }

  readonly #leavingCounts = new Map<number, number>();
  #leaving(inode: number): number {
    if (this.#leavingCounts.size === 0) {
      for (const { row } of this.taken.values()) add(this.#leavingCounts, row.inode, 1);
    }
    return this.#leavingCounts.get(inode) ?? 0;
  }

  /** Numbers of the directories that hold what changes: before (for names taken) and after. */
  async #findDirectories(puts: readonly Put[]): Promise<void> {
    for (const { path, row } of puts) {
      if (isDirectory(row.mode)) this.#directories.set(path, this.#numbers.get(path)!);
    }
    for (const { path, row } of this.taken.values()) {
      if (isDirectory(row.mode) && !this.#directories.has(path)) {
        this.#directories.set(path, row.inode);
      }
    }
    for (const { path } of [...puts, ...this.taken.values()]) {
      const above = directoryOf(path);
      if (this.#directories.has(above)) continue;
      const place = await findPath(this.reader, this.to, fromLatin1(above), false);
      this.#directories.set(above, place!.inode.inode);
    }
  }

  async #blocks(
    sources: ReadonlyMap<number, Put>,
  ): Promise<Pick<Batch, "blocks" | "deadBlocks" | "contents">> {
    const copied = [...sources.values()].filter(({ content }) => content === undefined);
    const inodesOf = (own: boolean) =>
      copied.filter((put) => (put.own ?? false) === own).map(({ row }) => row.inode);
    const [old, now] = await Promise.all([
      readBatched(
        [...new Set([...sources.keys(), ...inodesOf(true)])],
        (batch) => this.reader.blocks(this.to, batch),
      ),
      readBatched([...new Set(inodesOf(false))], (batch) => this.reader.blocks(this.from, batch)),
    ]);
    const before = Map.groupBy(old, ({ inode }) => inode);
    const wanted = Map.groupBy(now, ({ inode }) => inode);
    const blocks: BlockRow[] = [];
    const deadBlocks: { inode: number; index: number }[] = [];
    const contents: ContentRow[] = [];
    for (const [inode, { row, content, own }] of sources) {
      // Blocks of an inode that ended may still be visible under its number: they end here.
      const has = new Map((before.get(inode) ?? []).map((block) => [block.index, block]));
      const target = content === undefined
        ? (own ? before : wanted).get(row.inode) ?? []
        : cut(inode, content, contents);
      for (const block of target) {
        const same = has.get(block.index);
        has.delete(block.index);
        const unchanged = same?.length === block.length && equalBytes(same.hash, block.hash);
        if (!unchanged) blocks.push({ ...block, inode });
      }
      for (const index of has.keys()) deadBlocks.push({ inode, index });
    }
    return { blocks, deadBlocks, contents };
  }
}

/** Bytes as blocks, their contents added to `contents`. */
function cut(inode: number, bytes: Uint8Array, contents: ContentRow[]): BlockRow[] {
  const out: BlockRow[] = [];
  for (let at = 0; at < bytes.length; at += BLOCK_SIZE) {
    const data = bytes.slice(at, at + BLOCK_SIZE);
    const hash = new Uint8Array(createHash("sha256").update(data).digest());
    contents.push({ hash, data });
    out.push({ inode, index: at / BLOCK_SIZE, hash, length: data.length });
  }
  return out;
}

/** Bytes on disk of a file without holes. */
function allocatedOf(bytes: number): number {
  const rest = bytes % BLOCK_SIZE;
  return Math.floor(bytes / BLOCK_SIZE) * BLOCK_SIZE + allocatedBytes(rest);
}

/** Links of a directory that takes over what the state has under its number. */
function directoryLinks(there: InodeRow | undefined): number {
  return there !== undefined && isDirectory(there.mode) ? there.nlink : 2;
}

function add(counts: Map<number, number>, key: number, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}
