import assert from "node:assert/strict";
import { utf8 } from "../../src/base/bytes.ts";
import { EIO } from "../../src/base/errno.ts";
import { FsError } from "../../src/base/errors.ts";
import { isDirectory, S_IFREG } from "../../src/base/modes.ts";
import { Committer } from "../../src/journal/committer.ts";
import { Journal } from "../../src/journal/journal.ts";
import { checkState } from "../../src/layer/check.ts";
import { checkpoint } from "../../src/layer/checkpoint.ts";
import { answerLoad } from "../../src/store/loads.ts";
import { memoryStore } from "../../src/store/memory/store.ts";
import { BLOCK_SIZE, type Point, ROOT_INODE } from "../../src/store/rows.ts";
import type { Store } from "../../src/store/store.ts";
import { MountedFileSystem } from "../../src/vfs/mounted.ts";
import type { Context } from "../../src/vfs/operations.ts";
import { Suspension, type Wait } from "../../src/vfs/suspension.ts";
import {
  Model,
  type ModelDirectory,
  type ModelFile,
  patched,
  resized,
} from "./simulation_model.ts";
import { FaultyLine, Random, settle, VirtualClock } from "./simulation_store.ts";

const HOLDER = { host: "simulated", pid: 1, mountPoint: "/simulated" };

/** Milliseconds after which a mount of the simulation gives up. */
const RETRY_TIMEOUT_MS = 3_000;

/** Mount options that make everything small, so that bounds are met. */
const SMALL = {
  maxFileSize: 2 ** 30,
  metadataCacheBytes: 24 * 1024,
  blockCacheBytes: 256 * 1024,
  readOnly: false,
  atime: "relatime",
  controlDirectory: false,
  uid: 0,
  gid: 0,
} as const;

function newContext(): Context {
  return { uid: 0, gid: 0, pid: 1, groups: () => [], capable: () => true };
}

/** One mount: the tree, journal and committer of the program, without threads and kernel. */
class SimulatedMount {
  readonly fs: MountedFileSystem;
  readonly journal: Journal;
  readonly committer: Committer;
  /** Calls of fsync that have not returned. */
  readonly syncs: { readonly context: Context; readonly state: number }[] = [];

  private constructor(
    readonly store: Store,
    readonly clock: VirtualClock,
    readonly workspace: number,
    readonly epoch: number,
    public head: Point,
    counters: { nextInode: number; nextCookie: number },
    line: FaultyLine,
  ) {
    this.fs = new MountedFileSystem({ ...SMALL, ...counters });
    this.journal = new Journal(
      this.fs.tree,
      (batch) => this.committer.submit(batch),
      { commitIntervalMs: 100, softBytes: 300 * 1024, hardBytes: 900 * 1024 },
    );
    this.committer = new Committer(
      line,
      workspace,
      () => ({ epoch, head: this.head, publish: false }),
      {
        retryTimeoutMs: RETRY_TIMEOUT_MS,
        onCommitted: (sequence) => this.journal.committed(sequence),
        onFailed: (error) => this.journal.failed(error),
        now: () => clock.now,
        after: (ms, callback) => clock.after(ms, callback),
      },
    );
    this.fs.useJournal(this.journal);
  }

  /** Takes the workspace over, whoever has it. */
  static async attach(store: Store, clock: VirtualClock, line: FaultyLine) {
    const { id } = (await store.workspace("main"))!;
    const { epoch } = await store.attach(id, HOLDER, 0);
    const { head } = (await store.workspace("main"))!;
    const counters = await store.counters(head.lineage);
    return new SimulatedMount(store, clock, id, epoch, head, counters, line);
  }

  /** Time passes. */
  async pass(ms: number): Promise<void> {
    this.journal.tick(this.clock.now);
    await this.clock.advance(ms);
    this.journal.tick(this.clock.now);
    await settle();
  }

  /** Runs an operation to its end, as the session does. @throws {FsError} */
  async run<T>(operation: (context: Context) => T): Promise<T> {
    const context = newContext();
    let last = "";
    for (let turn = 0; turn < 2000; turn++) {
      try {
        const result = operation(context);
        this.journal.tick(this.clock.now);
        return result;
      } catch (error) {
        if (!(error instanceof Suspension)) throw error;
        last = JSON.stringify(error.wait);
        await this.#wait(error.wait);
      }
    }
    throw new Error(`an operation waits for ever: ${last}`);
  }

  async #wait(wait: Wait): Promise<void> {
    if (wait.kind === "load") {
      this.fs.tree.asking(wait.load);
      const chain = await this.store.chain(this.head);
      this.fs.absorb(wait.load, await answerLoad(this.store, chain, wait.load));
    } else {
      await this.pass(50);
    }
  }

  /** What fsync calls have returned by now: the state that each covers, or that it failed. */
  answers(): { readonly state: number; readonly failed: boolean }[] {
    const done: { state: number; failed: boolean }[] = [];
    for (const sync of [...this.syncs]) {
      try {
        this.fs.fsync(sync.context);
        done.push({ state: sync.state, failed: false });
      } catch (error) {
        if (error instanceof Suspension) continue;
        if (!(error instanceof FsError)) throw error;
        assert.equal(error.errno, EIO);
        done.push({ state: sync.state, failed: true });
      }
      this.syncs.splice(this.syncs.indexOf(sync), 1);
    }
    return done;
  }
}

/**
 * One world: a mount does random things over a faulty line, crashes, is taken over; after each crash
 * what the store has must be a state that the model went through, none older than the last fsync that
 * returned.
 * @throws {AssertionError} when it is not
 * @returns what happened, in numbers
 */
export async function simulate(seed: number, steps = 250): Promise<Record<string, number>> {
  const world = new World(seed);
  await world.start();
  for (let step = 0; step < steps; step++) await world.step();
  await world.crash();
  return world.counts;
}

class World {
  readonly #random: Random;
  readonly #clock = new VirtualClock();
  readonly #store = memoryStore();
  readonly counts: Record<string, number> = {};
  #mount!: SimulatedMount;
  #model = new Model();
  /** The model after each operation, the first before any; and from where on the store must be. */
  #states: Model[] = [new Model()];
  #floor = 0;
  readonly #layers: { readonly name: string; readonly state: string }[] = [];
  /** Mounts that were taken over and do not know it yet. */
  #zombies: { readonly mount: SimulatedMount; left: number }[] = [];
  #nextName = 0;

  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  async start(): Promise<void> {
    await this.#store.createWorkspace("main", null, { uid: 0, gid: 0, time: 1n });
    await this.#attach();
  }

  async #attach(): Promise<void> {
    const faults = this.#random.pick([0, 0.1, 0.3, 0.7]);
    const line = new FaultyLine(this.#store, this.#clock, this.#random, faults);
    this.#mount = await SimulatedMount.attach(this.#store, this.#clock, line);
  }

  #count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  async step(): Promise<void> {
    const random = this.#random;
    for (const zombie of [...this.#zombies]) await this.#haunt(zombie);
    const roll = random.below(100);
    try {
      if (roll < 3) await this.crash();
      else if (roll < 5) await this.#takeOver();
      else if (roll < 15) this.#sync();
      else if (roll < 18) await this.#checkpoint();
      else if (roll < 25) await this.#mount.pass(random.below(400));
      else await this.#operation();
    } catch (error) {
      if (!(error instanceof FsError) || error.errno !== EIO) throw error;
      // Commits have failed for good: somebody unmounts and mounts again.
      assert(this.#mount.journal.failure !== null, "EIO without a failure");
      this.#count("gave up");
      await this.crash();
    }
    await this.#mount.pass(random.below(20));
    this.#hear();
  }

  /** Takes in which fsync calls returned. */
  #hear(): void {
    for (const { state, failed } of this.#mount.answers()) {
      this.#count(failed ? "fsync failed" : "fsync");
      if (!failed) this.#floor = Math.max(this.#floor, state);
    }
  }

  #sync(): void {
    this.#mount.syncs.push({ context: newContext(), state: this.#states.length - 1 });
    this.#hear();
  }

  async #checkpoint(): Promise<void> {
    const mount = this.#mount;
    await mount.run((context) => mount.fs.fsync(context));
    const name = `layer-${this.#nextName++}`;
    const workspace = (await this.#store.workspace("main"))!;
    await checkpoint(this.#store, workspace, mount.epoch, { name });
    mount.head = (await this.#store.workspace("main"))!.head;
    this.#floor = this.#states.length - 1;
    this.#layers.push({ name, state: this.#model.toString() });
    this.#count("checkpoint");
  }

  /** Another mount takes the lease while this one lives on. */
  async #takeOver(): Promise<void> {
    this.#count("take-over");
    this.#hear();
    this.#zombies.push({ mount: this.#mount, left: 12 });
    await this.#recover();
  }

  /** One that was taken over does something: nothing of it may arrive, and its fsync must not lie. */
  async #haunt(zombie: { readonly mount: SimulatedMount; left: number }): Promise<void> {
    if (zombie.left-- === 0) {
      this.#zombies = this.#zombies.filter((other) => other !== zombie);
      return;
    }
    const { mount } = zombie;
    const name = utf8(`zombie-${this.#nextName++}`);
    try {
      await mount.run((context) => {
        mount.fs.mkdir(context, ROOT_INODE, name, 0o755, 0);
      });
      await mount.run((context) => mount.fs.fsync(context));
      assert.fail("a mount that lost its lease said that it wrote");
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
      assert.equal(error.errno, EIO);
      this.#count("zombie refused");
    }
    const now = (await this.#dump(await this.#head())).toString();
    assert(!/zombie/.test(now), "a mount that lost its lease wrote");
  }

  /** The process is gone; what it sent may still arrive. */
  async crash(): Promise<void> {
    this.#count("crash");
    this.#hear();
    await this.#recover();
  }

  async #recover(): Promise<void> {
    await this.#attach();
    await this.#clock.advance(this.#random.below(6000));
    const stored = await this.#dump(await this.#head());
    const text = stored.toString();
    const index = this.#states.findLastIndex((state) => state.toString() === text);
    assert(index >= 0, `no state of the model is what the store has:\n${text}`);
    assert(index >= this.#floor, `state ${index} is older than the last fsync, ${this.#floor}`);
    if (index < this.#states.length - 1) this.#count("lost a tail");
    const { violations } = await checkState(this.#store, await this.#head());
    assert.deepEqual(violations, []);
    for (const { name, state } of this.#layers.slice(-3)) {
      const layer = (await this.#store.layers()).find((layer) => layer.name === name)!;
      assert.equal((await this.#dump(layer.point)).toString(), state, `layer ${name}`);
    }
    this.#model = stored;
    this.#states = [stored.clone()];
    this.#floor = 0;
  }

  async #head(): Promise<Point> {
    return (await this.#store.workspace("main"))!.head;
  }

  /** A state of the store as a model. */
  async #dump(point: Point): Promise<Model> {
    const chain = await this.#store.chain(point);
    const model = new Model();
    const files = new Map<number, ModelFile>();
    const walk = async (inode: number, directory: ModelDirectory) => {
      for (const { dentry, inode: row } of await this.#store.list(chain, inode, 0, 1e6)) {
        const name = new TextDecoder().decode(dentry.name);
        if (isDirectory(row.mode)) {
          const below: ModelDirectory = new Map();
          directory.set(name, below);
          await walk(row.inode, below);
          continue;
        }
        if (!files.has(row.inode)) {
          const data = new Uint8Array(row.size);
          const blocks = await this.#store.blocks(chain, [row.inode]);
          const contents = await this.#store.contents(blocks.map(({ hash }) => hash));
          for (const [i, { index }] of blocks.entries()) data.set(contents[i]!, index * BLOCK_SIZE);
          files.set(row.inode, { data });
        }
        directory.set(name, files.get(row.inode)!);
      }
    };
    await walk(ROOT_INODE, model.root);
    return model;
  }

  async #operation(): Promise<void> {
    const random = this.#random;
    const { fs } = this.#mount;
    const { directories, files } = this.#model.paths();
    const parent = random.pick(directories);
    const name = `n${this.#nextName++}`;
    const file = files.length === 0 ? null : random.pick(files);
    const kind = file === null ? random.below(2) : random.below(10);
    const directoryOf = (path: readonly string[]) => this.#model.at(path) as ModelDirectory;
    const last = (path: readonly string[]) => path.at(-1)!;
    switch (kind) {
      case 0: {
        const at = await this.#resolve(parent);
        await this.#mount.run((context) => {
          fs.mknod(context, at, utf8(name), S_IFREG | 0o644, 0, 0);
        });
        directoryOf(parent).set(name, { data: new Uint8Array() });
        break;
      }
      case 1: {
        if (directories.length > 12) return;
        const at = await this.#resolve(parent);
        await this.#mount.run((context) => {
          fs.mkdir(context, at, utf8(name), 0o755, 0);
        });
        directoryOf(parent).set(name, new Map());
        break;
      }
      case 2:
      case 3:
      case 4: {
        const node = this.#model.at(file!) as ModelFile;
        const size = random.chance(0.15) ? random.below(300_000) : random.below(3000);
        const bytes = new Uint8Array(size).fill(random.below(256));
        bytes.set(utf8(name).subarray(0, size));
        const offset = random.below(Math.min(node.data.length, 200_000) + 500);
        const inode = await this.#resolve(file!);
        await this.#mount.run((context) => {
          fs.write(context, inode, 0, offset, bytes, false);
        });
        if (size > 0) node.data = patched(node.data, offset, bytes);
        break;
      }
      case 5: {
        const node = this.#model.at(file!) as ModelFile;
        const size = random.below(node.data.length + 1000);
        const inode = await this.#resolve(file!);
        await this.#mount.run((context) => {
          fs.setattr(context, inode, { size });
        });
        node.data = resized(node.data, size);
        break;
      }
      case 6: {
        const at = await this.#resolve(file!.slice(0, -1));
        await this.#mount.run((context) => fs.unlink(context, at, utf8(last(file!))));
        directoryOf(file!.slice(0, -1)).delete(last(file!));
        break;
      }
      case 7: {
        const from = random.chance(0.3) && directories.length > 1
          ? random.pick(directories.slice(1))
          : file!;
        if (parent.slice(0, from.length).join("/") === from.join("/")) return;
        const target = from === file && random.chance(0.3) ? random.pick(files) : [...parent, name];
        if (this.#model.at(target) === this.#model.at(from)) return;
        const [at, to] = [
          await this.#resolve(from.slice(0, -1)),
          await this.#resolve(target.slice(0, -1)),
        ];
        await this.#mount.run((context) =>
          fs.rename(context, at, utf8(last(from)), to, utf8(last(target)), 0)
        );
        const moved = this.#model.at(from)!;
        directoryOf(from.slice(0, -1)).delete(last(from));
        directoryOf(target.slice(0, -1)).set(last(target), moved);
        break;
      }
      case 8: {
        const inode = await this.#resolve(file!);
        const to = await this.#resolve(parent);
        await this.#mount.run((context) => {
          fs.link(context, inode, to, utf8(name));
        });
        directoryOf(parent).set(name, this.#model.at(file!)!);
        break;
      }
      default: {
        const empty = directories.slice(1).filter((path) => directoryOf(path).size === 0);
        if (empty.length === 0) return;
        const path = random.pick(empty);
        const at = await this.#resolve(path.slice(0, -1));
        await this.#mount.run((context) => fs.rmdir(context, at, utf8(last(path))));
        directoryOf(path.slice(0, -1)).delete(last(path));
        break;
      }
    }
    this.#count("operation");
    this.#states.push(this.#model.clone());
  }

  /** The inode of a path, looked up name by name; the kernel forgets what it need not know. */
  async #resolve(path: readonly string[]): Promise<number> {
    const { fs } = this.#mount;
    let inode = ROOT_INODE;
    for (const name of path) {
      const parent = inode;
      inode = (await this.#mount.run((context) => fs.lookup(context, parent, utf8(name)))).inode;
      if (this.#random.chance(0.9)) fs.forget(inode, 1);
    }
    return inode;
  }
}
