import { fromLatin1, latin1 } from "../base/bytes.ts";
import { nowNanoseconds } from "../base/clock.ts";
import { ENOENT, ENOTDIR, ESTALE } from "../base/errno.ts";
import { FsError, invariant } from "../base/errors.ts";
import { isDirectory, isRegular } from "../base/modes.ts";
import type { DirtySource } from "../journal/port.ts";
import { type Load, type Loaded, loadKey } from "../store/loads.ts";
import {
  type Batch,
  type BlockRow,
  type ChangedKeys,
  type ContentRow,
  type Entry,
  type InodeRow,
  ROOT_INODE,
} from "../store/rows.ts";
import type { CommitGate } from "./commit_gate.ts";
import { FileData } from "./file_data.ts";
import { FilePool } from "./file_pool.ts";
import { type Dentry, Node } from "./node.ts";
import { type NameRows, Names } from "./names.ts";
import { NodeIds } from "./node_ids.ts";
import type { Forget, KnownInode, Rebase } from "./rebase.ts";
import { Quota } from "./quota.ts";
import { Suspension } from "./suspension.ts";

/** Memory that a node and its name take, about. */
const NODE_BYTES = 1024;

/** Names that take as much memory as a node and its name, about. */
const NAMES_PER_NODE = 4;

/** Nodes that are kept whatever the bound says: one operation needs a few at once. */
const NODES_MIN = 16;

/**
 * From here up are numbers of files that a switch replaced while they were open on one of several
 * mounts. They live in its memory alone, and are never stored.
 */
const PRIVATE_BASE = 2 ** 50;

/** What a tree starts with. */
export interface TreeOptions {
  readonly nextInode: number;
  readonly nextCookie: number;
  readonly maxFileSize: number;
  readonly metadataCacheBytes: number;
  readonly blockCacheBytes: number;
  /** Shared with another tree of the same tenant; its bound counts then. */
  readonly pool?: FilePool;
}

/** Inode and cookie numbers that are free from here up. */
export interface Counters {
  readonly nextInode: number;
  readonly nextCookie: number;
}

/**
 * The mounted tree in memory: what is known of the store, and what is newer than it.
 *
 * INVARIANT: what is dirty or in the batch in flight is in memory. INVARIANT: a name that memory
 * knows (also as absent) is newer than any answer of the store. INVARIANT: an answer asked before
 * the last eviction is dropped: what it tells may be older than what was evicted.
 */
export class Tree implements DirtySource {
  readonly pool: FilePool;
  readonly maxFileSize: number;
  /** By which ids the kernel knows the inodes. */
  readonly ids = new NodeIds();
  readonly nodes = new Map<number, Node>();
  readonly names = new Names();
  readonly quota = new Quota();
  /** Several mounts have the tree: what has no name any more may be open on another one. */
  shared = false;
  /** Asked before an operation changes something; set once the journal exists. */
  gate: CommitGate | null = null;
  #nextInode: number;
  #nextCookie: number;
  readonly #nodesMax: number;
  /** Number of nodes above which to look for what can be forgotten. */
  #roomAt: number;
  #dirtyNodes = new Set<Node>();
  #flyingNodes = new Set<Node>();
  #evictions = 0;
  #privates = 0;
  /** Loads on their way, with the count of evictions when they were asked. */
  readonly #asked = new Map<string, number>();
  /** What the kernel still holds of inodes that a rebase took from memory. */
  readonly #references = new Map<number, { lookups: number; opens: number }>();
  /** Inodes that the store does not have. */
  readonly #absent = new Set<number>();

  constructor(options: TreeOptions) {
    this.pool = options.pool ?? new FilePool(options.blockCacheBytes);
    this.maxFileSize = options.maxFileSize;
    this.#nextInode = options.nextInode;
    this.#nextCookie = options.nextCookie;
    this.#nodesMax = Math.max(NODES_MIN, Math.floor(options.metadataCacheBytes / NODE_BYTES));
    this.#roomAt = this.#nodesMax;
  }

  /** Nanoseconds since 1970. */
  now(): bigint {
    return nowNanoseconds();
  }

  /** Room for this many more dirty bytes. @throws {Suspension} @throws {FsError} EIO */
  admit(bytes = 0): void {
    this.gate?.admit(bytes);
  }

  /** Room for bytes of a file. @throws {FsError} EDQUOT */
  demandRoom(file: FileData, offset: number, end: number): void {
    this.quota.demandBytes(file, offset, end);
  }

  /** A file takes this much more (or less) than before. */
  grew(bytes: number): void {
    this.quota.count(0, bytes);
  }

  /** Suspends the operation until the store has answered. */
  fault(load: Load): never {
    throw new Suspension({ kind: "load", load });
  }

  /** A load is on its way: to be told of each before it is answered to {@link Tree.absorb}. */
  asking(load: Load): void {
    if (load.kind !== "contents") this.#asked.set(loadKey(load), this.#evictions);
  }

  /** The inode of a number. @throws {Suspension} @throws {FsError} ESTALE when there is none */
  node(inode: number): Node {
    const node = this.nodes.get(inode);
    if (node !== undefined) return node;
    if (this.#absent.has(inode)) throw new FsError(ESTALE);
    return this.fault({ kind: "inodes", numbers: [inode] });
  }

  /** The directory of a number. @throws {FsError} ENOTDIR */
  directory(inode: number): Node {
    const node = this.node(inode);
    if (node.children === null) throw new FsError(ENOTDIR);
    return node;
  }

  /** What a directory has under a name, or null. @throws {Suspension} */
  find(directory: Node, name: Uint8Array): Dentry | null {
    return this.names.find(directory, name);
  }

  /** The inode that a name stands for. @throws {FsError} ENOENT */
  child(directory: Node, name: Uint8Array): Node {
    const dentry = this.find(directory, name);
    if (dentry === null) throw new FsError(ENOENT);
    const node = this.node(dentry.child);
    if (node.children !== null) node.parent = directory.inode;
    return node;
  }

  /** The inodes of these names are in memory. @throws {Suspension} */
  demandChildren(names: readonly Dentry[]): void {
    const absent = names.filter(({ child }) => !this.nodes.has(child) && !this.#absent.has(child));
    if (absent.length === 0) return;
    this.fault({ kind: "inodes", numbers: absent.map(({ child }) => child) });
  }

  /** A new inode; it has no name yet. Times are now. */
  create(row: Omit<InodeRow, "inode" | "atime" | "mtime" | "ctime" | "btime" | "allocated">): Node {
    const now = this.now();
    const inode = this.#nextInode++;
    const times = { atime: now, mtime: now, ctime: now, btime: now };
    const node = this.#add({ ...row, ...times, inode, allocated: 0 }, false);
    node.complete = true;
    this.quota.count(1, 0);
    this.markInode(node);
    return node;
  }

  #add(row: InodeRow, stored: boolean): Node {
    const node = new Node(row, isDirectory(row.mode), stored);
    if (isRegular(row.mode)) node.file = new FileData(row.inode, this.pool, !stored);
    this.nodes.set(row.inode, node);
    const kept = this.#references.get(row.inode);
    if (kept !== undefined) {
      this.#references.delete(row.inode);
      node.lookups = kept.lookups;
      node.opens = kept.opens;
    }
    return node;
  }

  /** The kernel dropped references to an inode. */
  forget(inode: number, count: number): void {
    const holder = this.nodes.get(inode) ?? this.#references.get(inode);
    if (holder === undefined) return;
    holder.lookups = Math.max(0, holder.lookups - count);
    if (holder.lookups === 0) this.ids.forgotten(inode);
    if (holder instanceof Node) this.buryIfUnused(holder);
    else if (holder.lookups === 0 && holder.opens === 0) this.#references.delete(inode);
  }

  /** A handle of an inode was closed. */
  closed(inode: number): void {
    const holder = this.nodes.get(inode) ?? this.#references.get(inode);
    if (holder === undefined) return;
    holder.opens--;
    if (holder instanceof Node) {
      this.uncountIfGone(holder);
      this.buryIfUnused(holder);
    } else if (holder.lookups === 0 && holder.opens === 0) this.#references.delete(inode);
  }

  /** Replaces some columns of an inode's row. */
  update(node: Node, change: Partial<InodeRow>): void {
    node.row = { ...node.row, ...change };
    this.markInode(node);
  }

  /** The row or the blocks of an inode changed. */
  markInode(node: Node): void {
    if (!node.dirty) this.gate?.touched();
    node.dirty = true;
    this.#dirtyNodes.add(node);
  }

  /** Gives a directory a name, in place of what it may have had there. */
  setName(directory: Node, name: Uint8Array, child: Node): void {
    this.names.set(directory, name, child, this.#nextCookie++);
    this.gate?.touched();
    if (child.children !== null) child.parent = directory.inode;
  }

  /** Takes a name out of a directory. */
  removeName(directory: Node, name: Uint8Array): void {
    this.names.remove(directory, name);
    this.gate?.touched();
  }

  /**
   * What has no name and is not open is gone for everybody: it makes room at once, not only when the
   * kernel has let go of it, which it does when it likes.
   */
  uncountIfGone(node: Node): void {
    if (node.row.nlink > 0 || node.opens > 0 || node.uncounted) return;
    node.uncounted = true;
    this.quota.count(-1, -node.row.allocated);
  }

  /** Ends an inode whose last name, handle and kernel reference are gone. */
  buryIfUnused(node: Node): void {
    if (node.row.nlink > 0 || node.lookups > 0 || node.opens > 0 || node.dead) return;
    // Reclaimed when the workspace is next mounted by one mount alone.
    if (this.shared && node.stored) return;
    node.dead = true;
    this.uncountIfGone(node);
    node.file?.discard();
    this.nodes.delete(node.inode);
    this.markInode(node);
  }

  get dirtyBytes(): number {
    return this.pool.dirtyBytes;
  }

  get dirty(): boolean {
    return this.#dirtyNodes.size > 0 || this.names.dirty;
  }

  collect(): Batch {
    const inodes: InodeRow[] = [];
    const deadInodes: number[] = [];
    const names: NameRows = { dentries: [], deadDentries: [] };
    const rows: Pick<Batch, "blocks" | "deadBlocks" | "contents"> = {
      blocks: [],
      deadBlocks: [],
      contents: [],
    };
    for (const node of this.#dirtyNodes) {
      node.dirty = false;
      node.flying = true;
      node.lazyAtime = false;
      if (node.dead) {
        if (node.stored) deadInodes.push(node.inode);
        continue;
      }
      if (node.inode >= PRIVATE_BASE) {
        // Its contents are asked for again like all others; no row leads to them.
        node.file?.collect({ blocks: [], deadBlocks: [], contents: rows.contents as ContentRow[] });
        continue;
      }
      node.file?.collect(rows as Parameters<FileData["collect"]>[0]);
      inodes.push(node.row);
      node.stored = true;
    }
    this.names.collect(names);
    this.#flyingNodes = this.#dirtyNodes;
    this.#dirtyNodes = new Set();
    const { nextInode, nextCookie } = this.counters;
    return { nextInode, nextCookie, inodes, deadInodes, ...names, ...rows };
  }

  /** Numbers that are free from here up. */
  get counters(): Counters {
    return { nextInode: this.#nextInode, nextCookie: this.#nextCookie };
  }

  /** Numbers that are free, as another mount left them. */
  set counters({ nextInode, nextCookie }: Counters) {
    this.#nextInode = nextInode;
    this.#nextCookie = nextCookie;
  }

  settled(): void {
    for (const node of this.#flyingNodes) node.flying = false;
    this.#flyingNodes.clear();
    this.names.settled();
    this.pool.settled();
    // Whoever waits for this commit counts on a tree that is clean now.
    this.#evict(false);
  }

  /** Takes in what the store answered to a load. */
  absorb(load: Load, loaded: Loaded): void {
    if (loaded.kind === "contents") {
      invariant(load.kind === "contents", "an answer of another kind");
      return this.pool.absorbContents(load.hashes, loaded.data);
    }
    const key = loadKey(load);
    const asked = this.#asked.get(key);
    this.#asked.delete(key);
    // Before anything is added, so that what is added now is here when its operation runs again. The
    // answer itself is dropped then, and asked for again.
    this.#evict(true);
    if (asked !== this.#evictions) return;
    switch (loaded.kind) {
      case "inodes":
        for (const row of loaded.rows) this.#know(row);
        if (load.kind !== "inodes") return;
        for (const inode of load.numbers) {
          if (!this.nodes.has(inode)) this.#absent.add(inode);
        }
        return;
      case "lookup": {
        if (load.kind !== "lookup") return;
        const directory = this.nodes.get(load.parent);
        // A complete directory knows better: the name may have been removed since it was asked for.
        if (directory === undefined || directory.children === null || directory.complete) return;
        if (loaded.entry === null) return this.names.knowAbsent(directory, load.name);
        return this.#knowEntry(directory, loaded.entry);
      }
      case "list": {
        if (load.kind !== "list") return;
        const directory = this.nodes.get(load.parent);
        if (directory === undefined || directory.list?.upto !== load.after) return;
        for (const entry of loaded.entries) this.#knowEntry(directory, entry);
        return this.names.knowPage(directory, load.after, loaded.entries, loaded.complete);
      }
      case "blocks":
        if (load.kind !== "blocks") return;
        return this.nodes.get(load.inode)?.file?.absorb(loaded.rows, loaded.data);
    }
  }

  #knowEntry(directory: Node, entry: Entry): void {
    if (directory.children!.has(latin1(entry.dentry.name))) return;
    this.names.know(directory, entry);
    this.#know(entry.inode);
    const node = this.nodes.get(entry.dentry.child);
    if (node !== undefined && node.children !== null) node.parent = directory.inode;
  }

  #know(row: InodeRow): void {
    if (!this.nodes.has(row.inode)) this.#add(row, true);
  }

  /** Makes room when there is more than the bound, and than what last could not be forgotten. */
  #evict(writeAtimes: boolean): void {
    if (this.#room <= this.#roomAt) return;
    if (this.#asked.size > 0 && this.#room <= 2 * this.#roomAt) return;
    this.trim(Math.floor(this.#nodesMax * 0.9), writeAtimes);
    // A scan of what the kernel holds is not repeated before there is a tenth more.
    this.#roomAt = Math.max(this.#nodesMax, NODES_MIN + Math.ceil(this.#room * 1.1));
  }

  /** What nodes and names take, in nodes. */
  get #room(): number {
    return this.nodes.size + Math.floor(this.names.count / NAMES_PER_NODE);
  }

  /**
   * Forgets what is clean and used by nobody, the oldest first, until this many nodes are left, and
   * then the names that lead to nothing in memory. To be called between operations. `writeAtimes`: an access time that is only in memory makes its inode
   * dirty, so that it can be forgotten later; else such inodes stay.
   */
  trim(nodes: number, writeAtimes = true): void {
    for (const node of this.nodes.values()) {
      if (this.nodes.size <= nodes) break;
      if (!this.#evictable(node)) continue;
      if (node.lazyAtime) {
        if (writeAtimes) this.markInode(node);
      } else this.nodes.delete(node.inode);
    }
    this.names.trim(this.nodes);
    this.#evictions++;
  }

  #evictable(node: Node): boolean {
    if (node.inode === ROOT_INODE || node.lookups > 0 || node.opens > 0) return false;
    if (node.dirty || node.flying || node.file?.dirty) return false;
    return this.names.isClean(node);
  }

  /** Other mounts changed these: what memory knows of them is dropped. Nothing may be dirty. */
  invalidate({ inodes, dentries }: ChangedKeys): void {
    invariant(!this.dirty && this.#flyingNodes.size === 0, "a tree was invalidated while dirty");
    for (const { parent, name } of dentries) {
      const directory = this.nodes.get(parent);
      if (directory === undefined || directory.children === null) continue;
      directory.children.delete(latin1(name));
      directory.complete = false;
      directory.list = null;
    }
    for (const inode of inodes) {
      this.#absent.delete(inode);
      this.#drop(inode);
    }
    this.#evictions++;
  }

  /** Anything may have changed: all that memory knows of the store is dropped. */
  forgetAll(): void {
    this.invalidate({ inodes: [...this.nodes.keys(), ...this.#absent], dentries: [] });
  }

  /** Forgets an inode, but not what the kernel holds of it. */
  #drop(inode: number): void {
    const node = this.nodes.get(inode);
    // What a switch replaced while it was open is nowhere else.
    if (node === undefined || inode >= PRIVATE_BASE) return;
    this.nodes.delete(inode);
    const { lookups, opens } = node;
    if (lookups > 0 || opens > 0) this.#references.set(inode, { lookups, opens });
  }

  /** What the kernel may have cached: every inode it knows, and every name beneath. */
  get cached(): Forget {
    const { entries, inodes }: Forget = { entries: [], inodes: [] };
    for (const node of this.nodes.values()) {
      if (node.lookups === 0 && node.opens === 0 && node.inode !== ROOT_INODE) continue;
      const id = this.ids.id(node.inode);
      inodes.push(id);
      for (const [key, { child }] of node.children ?? []) {
        const cached = child === 0 || (this.nodes.get(child)?.lookups ?? 0) > 0;
        if (cached) entries.push({ parent: id, name: fromLatin1(key) });
      }
    }
    return { entries, inodes };
  }

  /** Which of these inodes the kernel knows. */
  inspect(inodes: readonly number[]): KnownInode[] {
    const out: KnownInode[] = [];
    for (const inode of inodes) {
      const holder = this.nodes.get(inode) ?? this.#references.get(inode);
      if (holder === undefined || (holder.lookups === 0 && holder.opens === 0)) continue;
      out.push({ inode, open: holder.opens > 0 });
    }
    return out;
  }

  /**
   * The head shows another state. What differs is forgotten, everything else stays known. Nothing
   * may be dirty. Open files whose content differs or that are gone stay as unlinked(2) files are: a
   * new inode without a name, which keeps the kernel's node id.
   * @returns what the kernel may have cached of what differs, by node ids
   */
  rebase(
    { nextInode, nextCookie, inodes, dentries, replaced, strangers, ...rest }: Rebase,
  ): Forget {
    invariant(!this.dirty && this.#flyingNodes.size === 0, "a tree was rebased while dirty");
    this.#nextInode = nextInode;
    this.#nextCookie = nextCookie;
    // Answers on their way are of the tree before.
    this.#evictions++;
    this.#asked.clear();
    const forget: Forget = { entries: [], inodes: [] };
    const cached = (inode: number) => this.nodes.has(inode) || this.#references.has(inode);
    for (const { parent, name } of dentries) {
      if (!cached(parent)) continue;
      forget.entries.push({ parent: this.ids.id(parent), name });
      const directory = this.nodes.get(parent);
      if (directory === undefined || directory.children === null) continue;
      directory.children.delete(latin1(name));
      directory.complete = false;
      directory.list = null;
    }
    for (const { parent, name } of rest.renamed) {
      if (cached(parent)) forget.entries.push({ parent: this.ids.id(parent), name });
    }
    const kept = new Set(replaced.map(({ row }) => row.inode));
    for (const inode of inodes) {
      this.#absent.delete(inode);
      if (!cached(inode)) continue;
      if (!kept.has(inode)) forget.inodes.push(this.ids.id(inode));
      this.#drop(inode);
    }
    for (const { row, blocks } of replaced) this.#keepUnlinked(row, blocks);
    for (const inode of strangers) {
      const references = this.#references.get(inode);
      if (references === undefined) continue;
      const nobody = this.#privateInode();
      this.#references.delete(inode);
      this.#references.set(nobody, references);
      this.#absent.add(nobody);
      this.ids.replace(inode, nobody);
    }
    return forget;
  }

  /** A number that no other mount gives to anything. */
  #privateInode(): number {
    return this.shared ? PRIVATE_BASE + this.#privates++ : this.#nextInode++;
  }

  #keepUnlinked(row: InodeRow, blocks: readonly BlockRow[]): void {
    const references = this.#references.get(row.inode);
    if (references === undefined) return;
    const inode = this.#privateInode();
    this.#references.delete(row.inode);
    const node = this.#add({ ...row, inode, nlink: 0 }, false);
    node.lookups = references.lookups;
    node.opens = references.opens;
    node.complete = true;
    for (const { index, hash, length } of blocks) {
      node.file!.share(index, { hash, key: latin1(hash), length });
    }
    this.ids.replace(row.inode, inode);
  }
}
