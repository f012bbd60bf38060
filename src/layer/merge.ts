import { equalBytes, fromLatin1, latin1 } from "../base/bytes.ts";
import { invariant } from "../base/errors.ts";
import { isDirectory, isRegular, S_IFMT } from "../base/modes.ts";
import { type Batch, BLOCK_SIZE, type Chain, type InodeRow } from "../store/rows.ts";
import type { Reader } from "../store/store.ts";
import { type Change, changes, comparePaths, propertiesDiffer } from "./changes.ts";
import { EMPTY_CHAIN, readBatched } from "./chains.ts";
import { findPath, listDirectory, readWhole } from "./file.ts";
import { directoryOf, graftBatch, type Put, type Taken } from "./graft.ts";
import { isText, MAX_DIFF_BYTES } from "./lines.ts";
import { mergeLines } from "./merge_lines.ts";

/** One path that a merge brings into the head. Paths have one character per byte. */
export interface MergeAction {
  readonly kind: "added" | "removed" | "modified" | "merged" | "renamed";
  readonly path: string;
}

/** One path on which both sides did what does not go together; the head keeps its own. */
export interface MergeConflict {
  readonly path: string;
  readonly why: string;
  /** A new file beside it with what the other side has, or both between markers; null: none. */
  readonly file: string | null;
}

/** What merging a state into the head does. */
export interface Merge {
  readonly actions: readonly MergeAction[];
  readonly conflicts: readonly MergeConflict[];
  /** Null when there is nothing to change. */
  readonly batch: Batch | null;
}

/** The three states: the nearest common ancestor (empty: none), the head, and the other. */
export interface MergeSides {
  readonly base: Chain;
  readonly ours: Chain;
  readonly theirs: Chain;
  /** What markers and conflict files call the other side. */
  readonly label: string;
}

/** The point at which two states went different ways; an empty chain when they have none. */
export async function mergeBase(reader: Reader, a: Chain, b: Chain): Promise<Chain> {
  const ordinals = new Map(a.map(({ lineage, ordinal }) => [lineage, ordinal]));
  const shared = b.find(({ lineage }) => ordinals.has(lineage));
  if (shared === undefined) return EMPTY_CHAIN;
  const ordinal = Math.min(shared.ordinal, ordinals.get(shared.lineage)!);
  return await reader.chain({ lineage: shared.lineage, ordinal });
}

/**
 * Three-way merge of a state into the head: what the other side changed since the common ancestor is
 * taken where the head did not change the same. Texts are merged by lines. Where both sides did what
 * does not go together the head keeps what it has, and what the other side has is a new file
 * `NAME.conflict-LABEL` beside it, so nothing is overwritten or lost. Costs what both sides changed.
 */
export async function merge(reader: Reader, sides: MergeSides): Promise<Merge> {
  return await new Merging(reader, sides).run();
}

/** What one side made of a path of the base; null: it has nothing there. */
interface Side {
  readonly path: string;
  readonly row: InodeRow;
}

class Merging {
  readonly #puts = new Map<string, Put>();
  readonly #taken = new Map<string, Taken>();
  readonly #actions: MergeAction[] = [];
  readonly #conflicts: MergeConflict[] = [];
  /** What the head did to each path of the base, and what it has at each path that changed. */
  readonly #ours = new Map<string, Change>();
  readonly #here = new Map<string, InodeRow>();

  constructor(private readonly reader: Reader, private readonly sides: MergeSides) {}

  async run(): Promise<Merge> {
    const { reader, sides } = this;
    const point = (chain: Chain) => chain[0] ?? null;
    const [ours, theirs] = await Promise.all([
      changes(reader, point(sides.base), point(sides.ours)),
      changes(reader, point(sides.base), point(sides.theirs)),
    ]);
    for (const change of ours) {
      if (change.before !== null) this.#ours.set(latin1(change.oldPath ?? change.path), change);
      if (change.after !== null) this.#here.set(latin1(change.path), change.after);
    }
    const directories: Change[] = [];
    for (const change of theirs) {
      const removed = change.kind === "removed" && isDirectory(change.before!.mode);
      if (removed || becameFile(change)) directories.push(change);
      else if (change.kind === "added") await this.#added(latin1(change.path), change.after!);
      else await this.#changed(change, directories);
    }
    // From the bottom up, and only what nothing is left in.
    const place = (change: Change) => change.oldPath ?? change.path;
    directories.sort((a, b) => comparePaths(place(b), place(a)));
    for (const change of directories) await this.#removeDirectory(change);
    for (const { path, after } of theirs.filter(becameFile)) {
      await this.#added(latin1(path), after!);
    }
    await this.#keepParents();
    const nothing = this.#puts.size + this.#taken.size === 0;
    const batch = nothing ? null : await graftBatch(reader, sides.theirs, sides.ours, {
      puts: this.#puts,
      taken: this.#taken,
    });
    return { actions: this.#actions, conflicts: this.#conflicts, batch };
  }

  /** What the head has at a path, with what this merge did so far. */
  async #at(path: string): Promise<InodeRow | null> {
    const put = this.#puts.get(path);
    if (put !== undefined) return put.row;
    if (this.#taken.has(path)) return null;
    const here = this.#here.get(path);
    if (here !== undefined) return here;
    return (await findPath(this.reader, this.sides.ours, fromLatin1(path), false))?.inode ?? null;
  }

  async #added(path: string, row: InodeRow): Promise<void> {
    const here = await this.#at(path);
    if (here === null) {
      if (await this.#hasRoom(path)) return this.#put({ path, row }, "added");
      return await this.#conflict(path, "a directory above is something else here", { path, row });
    }
    if (isDirectory(here.mode) && isDirectory(row.mode)) return;
    if (await this.#equal(here, row)) return;
    await this.#both(path, null, here, { path, row });
  }

  /** Something that the base has, and the other side changed, renamed or removed. */
  async #changed(change: Change, directories: Change[]): Promise<void> {
    const from = latin1(change.oldPath ?? change.path);
    const base = change.before!;
    const mine = this.#ours.get(from);
    const here: Side | null = mine === undefined
      ? { path: from, row: base }
      : mine.after === null
      ? null
      : { path: latin1(mine.path), row: mine.after };
    const there: Side | null = change.after === null
      ? null
      : { path: latin1(change.path), row: change.after };
    if (there === null) return await this.#removed(from, mine, here);
    if (here === null) {
      if (isDirectory(there.row.mode)) {
        if (there.path !== from || change.kind !== "modified") {
          await this.#added(there.path, there.row);
        }
        return;
      }
      if (there.path === from && !await this.#differs(base, this.sides.theirs, there.row)) return;
      return await this.#conflict(there.path, "removed here, changed there", there);
    }
    if (isDirectory(base.mode) && isDirectory(there.row.mode)) {
      return await this.#directory(change, mine, here, there, directories);
    }
    const movedThere = there.path !== from;
    const movedHere = here.path !== from;
    if (movedThere && movedHere && there.path !== here.path) {
      await this.#both(here.path, base, here.row, { ...there, path: here.path });
      this.#conflicts.push({
        path: here.path,
        why: `renamed here, and there to ${there.path}`,
        file: null,
      });
      return;
    }
    if (!movedThere || here.path === there.path) {
      return await this.#both(here.path, base, here.row, { path: here.path, row: there.row });
    }
    if (await this.#at(there.path) !== null || !await this.#hasRoom(there.path)) {
      return await this.#conflict(there.path, `${from} was renamed to it there`, there);
    }
    this.#taken.set(here.path, here);
    if (mine === undefined) return this.#put({ path: there.path, row: there.row }, "renamed");
    await this.#both(there.path, base, here.row, there, "renamed");
    if (!this.#puts.has(there.path)) this.#put({ ...there, row: here.row, own: true }, "renamed");
  }

  async #directory(
    change: Change,
    mine: Change | undefined,
    here: Side,
    there: Side,
    directories: Change[],
  ): Promise<void> {
    const moved = there.path !== latin1(change.oldPath ?? change.path);
    if (moved) {
      // What is in it moves by itself; it goes when it is empty.
      if (await this.#at(there.path) === null && await this.#hasRoom(there.path)) {
        this.#put({ path: there.path, row: there.row }, "renamed");
      }
      directories.push(change);
      return;
    }
    if (!isDirectory(here.row.mode)) return;
    const row = mine === undefined
      ? there.row
      : mergeProperties(change.before!, here.row, there.row);
    if (row === null || !propertiesDiffer(here.row, row)) return;
    this.#taken.set(here.path, here);
    this.#put(
      { path: here.path, row: { ...here.row, ...propertiesOf(row) }, own: true },
      "modified",
    );
  }

  async #removed(path: string, mine: Change | undefined, here: Side | null): Promise<void> {
    if (here === null) return;
    const same = mine === undefined ||
      (here.path === path && !await this.#differs(mine.before!, this.sides.ours, here.row));
    if (!same) {
      this.#conflicts.push({ path: here.path, why: "changed here, removed there", file: null });
      return;
    }
    this.#taken.set(path, here);
    this.#actions.push({ kind: "removed", path });
  }

  /** Both sides have a path: takes the other's, merges, or tells the conflict. */
  async #both(
    path: string,
    base: InodeRow | null,
    here: InodeRow,
    there: Side,
    kind: MergeAction["kind"] = "modified",
  ): Promise<void> {
    const { sides } = this;
    const sameType = ((here.mode ^ there.row.mode) & S_IFMT) === 0;
    const hereSame = base !== null && await this.#sameContent(sides.base, base, sides.ours, here);
    const bothSame = await this.#sameContent(sides.ours, here, sides.theirs, there.row);
    const thereSame = base !== null &&
      await this.#sameContent(sides.base, base, sides.theirs, there.row);
    const hereUntouched = hereSame && !propertiesDiffer(base!, here);
    const thereUntouched = thereSame && !propertiesDiffer(base!, there.row);
    if (thereUntouched) return;
    if (hereUntouched) return this.#replace(path, here, { path, row: there.row }, kind);
    if (!sameType) return await this.#conflict(path, "of another type on each side", there);
    const row = base === null
      ? (samePropertiesAs(here, there.row) ? here : null)
      : mergeProperties(base, here, there.row);
    if (row === null) {
      this.#conflicts.push({
        path,
        why: "mode, owner or attributes changed on both sides",
        file: null,
      });
    }
    const properties = propertiesOf(row ?? here);
    if (bothSame || thereSame) {
      if (!propertiesDiffer(here, { ...here, ...properties })) return;
      return this.#replace(path, here, { path, row: { ...here, ...properties }, own: true }, kind);
    }
    if (hereSame) {
      return this.#replace(path, here, { path, row: { ...there.row, ...properties } }, kind);
    }
    const merged = await this.#mergeTexts(base, here, there.row);
    if (merged === null) return await this.#conflict(path, "changed on both sides", there);
    if (merged.conflicts > 0) {
      const why = `${merged.conflicts} places changed on both sides`;
      return await this.#conflict(path, why, there, fromLatin1(merged.text));
    }
    const content = fromLatin1(merged.text);
    this.#replace(path, here, { path, row: { ...there.row, ...properties }, content }, "merged");
  }

  #replace(path: string, here: InodeRow, put: Put, kind: MergeAction["kind"]): void {
    // A new name takes nothing away.
    const there = kind !== "renamed" && !this.#puts.has(path);
    if (there && !this.#taken.has(path)) this.#taken.set(path, { path, row: here });
    this.#put(put, kind);
  }

  #put(put: Put, kind: MergeAction["kind"]): void {
    this.#puts.set(put.path, put);
    this.#actions.push({ kind, path: put.path });
  }

  async #conflict(path: string, why: string, there: Side, content?: Uint8Array): Promise<void> {
    if (isDirectory(there.row.mode)) {
      this.#conflicts.push({ path, why, file: null });
      return;
    }
    const stem = `${path}.conflict-${this.sides.label.replaceAll("/", "-")}`;
    let file = stem;
    for (let count = 2; await this.#at(file) !== null; count++) file = `${stem}-${count}`;
    const above = directoryOf(file);
    if (!await this.#hasRoom(file)) {
      this.#conflicts.push({ path, why: `${why}; ${above} is no directory here`, file: null });
      return;
    }
    this.#puts.set(file, { path: file, row: { ...there.row, nlink: 1 }, content });
    this.#conflicts.push({ path, why, file });
  }

  /** Whether everything above a path is a directory in the head, or can become one. */
  async #hasRoom(path: string): Promise<boolean> {
    for (let above = directoryOf(path); above !== "/"; above = directoryOf(above)) {
      const there = await this.#at(above);
      if (there !== null && !isDirectory(there.mode)) return false;
    }
    return true;
  }

  async #removeDirectory(change: Change): Promise<void> {
    const path = latin1(change.oldPath ?? change.path);
    const here = this.#ours.get(path)?.after;
    if (this.#ours.has(path) && (here == null || latin1(this.#ours.get(path)!.path) !== path)) {
      return;
    }
    const place = await findPath(this.reader, this.sides.ours, fromLatin1(path), false);
    if (place === null || !isDirectory(place.inode.mode)) return;
    const prefix = path === "/" ? "/" : `${path}/`;
    const entries = await listDirectory(this.reader, this.sides.ours, place.inode.inode);
    const left = entries.some(({ dentry }) => {
      const name = prefix + latin1(dentry.name);
      return !this.#taken.has(name) || this.#puts.has(name);
    });
    const comes = [...this.#puts.keys()].some((put) => put.startsWith(prefix));
    if (left || comes) return;
    this.#taken.set(path, { path, row: place.inode });
    if (change.kind === "removed") this.#actions.push({ kind: "removed", path });
  }

  /** Directories above what is put that the head lost come back as the other side has them. */
  async #keepParents(): Promise<void> {
    for (const path of [...this.#puts.keys()]) {
      for (let above = directoryOf(path); above !== "/"; above = directoryOf(above)) {
        if (await this.#at(above) !== null) continue;
        // What the head renamed has its conflict file at the old place only if the other side has it.
        const there = await findPath(this.reader, this.sides.theirs, fromLatin1(above), false);
        invariant(there !== null, `nobody has the directory of ${path}`);
        this.#puts.set(above, { path: above, row: there.inode });
      }
    }
  }

  async #equal(here: InodeRow, there: InodeRow): Promise<boolean> {
    return !propertiesDiffer(here, there) &&
      await this.#sameContent(this.sides.ours, here, this.sides.theirs, there);
  }

  /** Whether a side made something else of what the base has, times aside. */
  async #differs(base: InodeRow, side: Chain, row: InodeRow): Promise<boolean> {
    return propertiesDiffer(base, row) ||
      !await this.#sameContent(this.sides.base, base, side, row);
  }

  async #sameContent(a: Chain, one: InodeRow, b: Chain, other: InodeRow): Promise<boolean> {
    if ((one.mode ^ other.mode) & S_IFMT) return false;
    if (!isRegular(one.mode)) {
      return equalBytes(one.target ?? new Uint8Array(), other.target ?? new Uint8Array());
    }
    if (one.size !== other.size) return false;
    const [x, y] = await Promise.all([
      readBatched([one.inode], (batch) => this.reader.blocks(a, batch)),
      readBatched([other.inode], (batch) => this.reader.blocks(b, batch)),
    ]);
    const within = (size: number) => ({ index }: { index: number }) => index * BLOCK_SIZE < size;
    const [left, right] = [x.filter(within(one.size)), y.filter(within(other.size))];
    return left.length === right.length &&
      left.every((row, i) => row.index === right[i]!.index && equalBytes(row.hash, right[i]!.hash));
  }

  /** Null where they are no texts, or too large. */
  async #mergeTexts(base: InodeRow | null, here: InodeRow, there: InodeRow) {
    const { sides } = this;
    const rows = [base, here, there].filter((row) => row !== null);
    if (rows.some((row) => !isRegular(row.mode) || row.size > MAX_DIFF_BYTES)) return null;
    const read = async (chain: Chain, row: InodeRow | null) =>
      row === null ? new Uint8Array() : await readWhole(this.reader, chain, row);
    const [old, ours, theirs] = await Promise.all([
      read(sides.base, base),
      read(sides.ours, here),
      read(sides.theirs, there),
    ]);
    if (![old, ours, theirs].every((bytes) => isText(bytes!))) return null;
    return mergeLines(latin1(old!), latin1(ours!), latin1(theirs!), {
      ours: "head",
      theirs: sides.label,
    });
  }
}

/** What {@link propertiesDiffer} compares, but for the type, device and target. */
function propertiesOf({ mode, uid, gid, xattrs }: InodeRow) {
  return { mode, uid, gid, xattrs };
}

/** Whether a directory of the base is something else on the other side. */
function becameFile({ kind, before, after }: Change): boolean {
  return kind === "modified" && isDirectory(before!.mode) && !isDirectory(after!.mode);
}

function samePropertiesAs(a: InodeRow, b: InodeRow): boolean {
  return !propertiesDiffer(a, { ...a, ...propertiesOf(b) });
}

/** Each property as the side has it that changed it; null where both changed one differently. */
function mergeProperties(base: InodeRow, here: InodeRow, there: InodeRow): InodeRow | null {
  let clean = true;
  const pick = <T>(of: (row: InodeRow) => T): T => {
    const same = (a: InodeRow, b: InodeRow) => {
      const [x, y] = [of(a), of(b)];
      return x instanceof Uint8Array && y instanceof Uint8Array ? equalBytes(x, y) : x === y;
    };
    if (same(base, there) || same(here, there)) return of(here);
    if (!same(base, here)) clean = false;
    return of(there);
  };
  const row = {
    ...here,
    mode: pick(({ mode }) => mode),
    uid: pick(({ uid }) => uid),
    gid: pick(({ gid }) => gid),
    xattrs: pick(({ xattrs }) => xattrs),
  };
  return clean ? row : null;
}
