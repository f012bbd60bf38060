/** What the kernel does of a mount: walking, references, waiting; and what nobody may notice. */
import assert from "node:assert/strict";
import { fromLatin1 } from "../../src/base/bytes.ts";
import { EEXIST, ENOENT, ENOTDIR } from "../../src/base/errno.ts";
import { FsError } from "../../src/base/errors.ts";
import { isDirectory, isSymlink } from "../../src/base/modes.ts";
import { Journal } from "../../src/journal/journal.ts";
import type { SequencedBatch } from "../../src/journal/port.ts";
import { checkState } from "../../src/layer/check.ts";
import { runLayerCommand } from "../../src/layer/commands.ts";
import { answerLoad } from "../../src/store/loads.ts";
import { type Chain, ROOT_INODE, type WorkspaceRow } from "../../src/store/rows.ts";
import type { Store } from "../../src/store/store.ts";
import { FrontFileSystem } from "../../src/vfs/front.ts";
import type { Attributes, Context } from "../../src/vfs/operations.ts";
import { rebaseBetween } from "../../src/mount/rebasing.ts";
import { Suspension, type Wait } from "../../src/vfs/suspension.ts";

/** Name of the workspace that is mounted. */
export const WORKSPACE = "main";
const HOLDER = { host: "test", pid: 1, mountPoint: null };

/** How often one operation may wait before it counts as hanging. */
const WAITS_MAX = 1000;

/** Bounds of the memory of a tree. */
export interface TreeBounds {
  readonly metadataCacheBytes: number;
  readonly blockCacheBytes: number;
}

/** Memory that programs run with in turns: none, hardly any, enough. */
export const BOUNDS: readonly TreeBounds[] = [
  { metadataCacheBytes: 0, blockCacheBytes: 0 },
  { metadataCacheBytes: 0, blockCacheBytes: 400_000 },
  { metadataCacheBytes: 2 ** 30, blockCacheBytes: 2 ** 30 },
];

/** What a descriptor stands for. */
export interface OpenFile {
  readonly inode: number;
  readonly handle: number;
  readonly flags: number;
  readonly directory: boolean;
  /** Inodes on the way to it: the kernel holds them while it is open. */
  readonly path: readonly number[];
  /** Made by O_TMPFILE and not linked yet. */
  linkable: boolean;
}

/** A workspace of a store, mounted in this process, and the kernel that uses it. */
export abstract class Kernel {
  readonly #store: Store;
  readonly #bounds: TreeBounds;
  #workspace!: WorkspaceRow;
  #epoch = 0;
  #chain!: Chain;
  protected fileSystem!: FrontFileSystem;
  #journal!: Journal;
  #batch: SequencedBatch | null = null;
  /** References that the kernel holds. */
  readonly #lookups = new Map<number, number>();
  protected readonly files = new Map<number, OpenFile>();
  #nextFd = 3;
  #clock = 0n;
  /** Called while an operation waits. */
  interlude: (() => Promise<void>) | null = null;
  readonly layers = {
    checkpoint: (name: string) => this.#command("checkpoint", { name }),
    switchTo: (ref: string) => this.#command("switch", { ref }),
  };

  constructor(store: Store, bounds: TreeBounds) {
    this.#store = store;
    this.#bounds = bounds;
  }

  /** Takes the lease and mounts. */
  async mount(): Promise<void> {
    const { id } = (await this.#store.workspace(WORKSPACE))!;
    this.#epoch = (await this.#store.attach(id, HOLDER, 0)).epoch;
    this.#workspace = (await this.#store.workspace(WORKSPACE))!;
    this.#chain = await this.#store.chain(this.#workspace.head);
    this.fileSystem = new FrontFileSystem({
      ...await this.#store.counters(this.#workspace.head.lineage),
      ...this.#bounds,
      readOnly: false,
      atime: "relatime",
      maxFileSize: 2 ** 40,
      controlDirectory: true,
      uid: 0,
      gid: 0,
    });
    this.fileSystem.head.tree.now = () => this.#clock;
    this.#journal = new Journal(this.fileSystem.head.tree, (batch) => {
      assert.equal(this.#batch, null);
      this.#batch = batch;
    });
    this.fileSystem.head.useJournal(this.#journal);
  }

  /** Nothing is left to be ended. */
  async end(): Promise<void> {}

  /** Sets the clock. */
  begin(operation: number): void {
    this.#clock = BigInt(operation) * 1_000_000_000n;
  }

  /** The one time that the clock shows in an operation. */
  window(operation: number): readonly [bigint, bigint] {
    const time = BigInt(operation) * 1_000_000_000n;
    return [time, time];
  }

  /** Runs an operation until nothing is missing. */
  protected async run<T>(operation: (context: Context) => T): Promise<T> {
    const context: Context = { uid: 0, gid: 0, pid: 1, groups: () => [], capable: () => true };
    for (let turn = 0; turn < WAITS_MAX; turn++) {
      try {
        return operation(context);
      } catch (error) {
        if (!(error instanceof Suspension)) throw error;
        await this.#wait(error.wait);
      }
    }
    throw new Error("an operation waits again and again");
  }

  async #wait(wait: Wait): Promise<void> {
    if (wait.kind === "load") {
      const { tree } = this.fileSystem.head;
      tree.asking(wait.load);
      const loaded = await answerLoad(this.#store, this.#chain, wait.load);
      // The answer is as old as the question; meanwhile other things happen.
      const fileSystem = this.fileSystem;
      await this.interlude?.();
      assert.equal(this.fileSystem, fileSystem);
      return fileSystem.absorb(null, wait.load, loaded);
    }
    assert(wait.kind === "commit" || wait.kind === "pressure", `nothing ends a ${wait.kind}`);
    await this.interlude?.();
    await this.#commit();
  }

  /** Commits the batch in flight. */
  async #commit(): Promise<void> {
    const batch = this.#batch;
    if (batch === null) return;
    this.#batch = null;
    const { id, head } = this.#workspace;
    await this.#store.commit(id, this.#epoch, head, batch.sequence, batch.batch);
    this.#journal.committed(batch.sequence);
  }

  async #flush(): Promise<void> {
    const sequence = this.#journal.barrier();
    while (!this.#journal.reached(sequence)) await this.#commit();
  }

  /** Counts the reference that an answer gave. */
  protected entry(attributes: Attributes): Attributes {
    const inode = attributes.nodeId ?? attributes.inode;
    this.#lookups.set(inode, (this.#lookups.get(inode) ?? 0) + 1);
    return { ...attributes, inode };
  }

  /** One component of a path. */
  protected async lookup(parent: number, name: string): Promise<Attributes> {
    return this.entry(
      await this.run((context) => this.fileSystem.lookup(context, parent, fromLatin1(name))),
    );
  }

  /** The directory of a path's last component, and the inodes on the way. */
  protected async parent(path: string) {
    const names = path.split("/");
    const inodes = [ROOT_INODE];
    for (const name of names.slice(0, -1)) {
      const { inode, mode } = await this.lookup(inodes.at(-1)!, name);
      // Links of these programs lead nowhere.
      if (isSymlink(mode)) throw new FsError(ENOENT);
      if (!isDirectory(mode)) throw new FsError(ENOTDIR);
      inodes.push(inode);
    }
    return { parent: inodes.at(-1)!, name: names.at(-1)!, inodes };
  }

  /** The inode of a path; `follow`: of what a link there leads to. */
  protected async at(path: string, follow = false): Promise<Attributes & { path: number[] }> {
    if (path === "") {
      const root = await this.run((c) => this.fileSystem.getattr(c, ROOT_INODE));
      return { ...root, path: [ROOT_INODE] };
    }
    const { parent, name, inodes } = await this.parent(path);
    const found = await this.lookup(parent, name);
    if (follow && isSymlink(found.mode)) throw new FsError(ENOENT);
    return { ...found, path: inodes };
  }

  /** What exists under a name, or null. @throws {FsError} ENAMETOOLONG and others */
  protected async existing(parent: number, name: string): Promise<Attributes | null> {
    try {
      return await this.lookup(parent, name);
    } catch (error) {
      if (error instanceof FsError && error.errno === ENOENT) return null;
      throw error;
    }
  }

  /** Where to make something new. @throws {FsError} EEXIST */
  protected async absent(path: string) {
    const found = await this.parent(path);
    if (await this.existing(found.parent, found.name) !== null) throw new FsError(EEXIST);
    return { ...found, bytes: fromLatin1(found.name) };
  }

  protected file(fd: number): OpenFile {
    return this.files.get(fd)!;
  }

  protected opened(file: Omit<OpenFile, "linkable">, linkable = false): number {
    const fd = this.#nextFd++;
    this.files.set(fd, { ...file, linkable });
    return fd;
  }

  /** Something that no program may notice. */
  async disturb(random: () => number): Promise<void> {
    const kind = random();
    if (kind < 0.3) return void this.#journal.barrier();
    if (kind < 0.6) return await this.#commit();
    if (kind < 0.8) return this.#forget(random);
    this.fileSystem.head.tree.trim(0);
  }

  /** The kernel drops names that nobody uses, in an order that nobody knows. */
  #forget(random: () => number): void {
    const held = new Set([...this.files.values()].flatMap(({ inode, path }) => [inode, ...path]));
    for (const [inode, count] of [...this.#lookups]) {
      if (held.has(inode) || random() < 0.3) continue;
      this.#lookups.delete(inode);
      this.fileSystem.forget(inode, count);
    }
  }

  /** Unmounts and mounts again. */
  async remount(): Promise<void> {
    this.fileSystem.close();
    await this.#flush();
    await this.#store.detach(this.#workspace.id, this.#epoch);
    this.#lookups.clear();
    await this.mount();
  }

  async #command(command: string, argument: unknown): Promise<void> {
    await this.#flush();
    await runLayerCommand(this.#store, this.#workspace, this.#epoch, command, argument);
    const before = this.#chain;
    this.#workspace = (await this.#store.workspace(WORKSPACE))!;
    this.#chain = await this.#store.chain(this.#workspace.head);
    const { tree } = this.fileSystem.head;
    const rebase = await rebaseBetween(
      this.#store,
      before,
      this.#chain,
      async (inodes) => tree.inspect(inodes),
    );
    if (rebase !== null) tree.rebase(rebase);
  }

  /** Violations of a check of the store. */
  async check(): Promise<readonly string[]> {
    await this.#flush();
    return (await checkState(this.#store, this.#workspace.head)).violations;
  }
}
