import { EINVAL, EIO } from "../base/errno.ts";
import { InvariantError, TarboxError } from "../base/errors.ts";
import { invalidateEntry, invalidateInode } from "../fuse/notify.ts";
import { Committer, type Term } from "../journal/committer.ts";
import { ChainCache } from "../layer/chains.ts";
import { layerCommands, runLayerCommand } from "../layer/commands.ts";
import { keepShallow } from "../layer/shallow.ts";
import { FencedError, UnavailableError } from "../store/errors.ts";
import { answerLoad, type Load } from "../store/loads.ts";
import {
  type Chain,
  type ChangedKeys,
  type Point,
  samePoint,
  type WorkspaceRow,
} from "../store/rows.ts";
import type { Reply, Request, Store } from "../store/store.ts";
import { Control } from "./control.ts";
import type { Leasing } from "./leasing.ts";
import type { Trouble } from "./record.ts";
import type { Forget, KnownInode, Rebase } from "../vfs/rebase.ts";
import type { ToMain } from "./messages.ts";
import { rebaseBetween } from "./rebasing.ts";
import type { RequestThread } from "./request_thread.ts";

/** Milliseconds after which what other mounts changed is counted against the quota. */
const MEASURE_MS = 5_000;

/** How a {@link Holding} waits, and whom it tells what is wrong. */
export interface HoldingOptions {
  /** Where it is mounted. */
  readonly directory: string;
  /** Seconds between automatic checkpoints of what changed; null: none are made. */
  readonly checkpointSeconds: number | null;
  /** For which operations wait for a database that is away. */
  readonly retryTimeoutMs: number;
  /** Called when commits wait, failed for good, or (null) go on. */
  readonly onTrouble: (trouble: Trouble | null) => void;
}

/**
 * The main thread's side of a mount: answers the request thread's loads, commits its batches, keeps
 * the lease alive, and carries out commands on the layers while the tree stands still.
 */
export class Holding {
  readonly #store: Store;
  readonly #thread: RequestThread;
  /** Null: the mount shows one sealed state and never changes. */
  readonly #leasing: Leasing | null;
  readonly #device: number;
  readonly #options: HoldingOptions;
  #trouble: Trouble | null = null;
  #workspace: WorkspaceRow;
  #chain: Chain;
  #committer: Committer | null = null;
  #checkpoints: ReturnType<typeof setInterval> | undefined;
  #unserve: (() => Promise<void>) | null = null;
  #nextId = 1;
  /** Flushes and pauses on their way, by id. */
  readonly #flushes = new Map<number, (error: string | null) => void>();
  #inspected: ((known: readonly KnownInode[]) => void) | null = null;
  #rebased: ((forget: Forget) => void) | null = null;
  /** The workspace has a quota. */
  #limited = false;
  #measuring: ReturnType<typeof setTimeout> | undefined;
  /** Node ids of inodes that were open when this mount went to shared mode. */
  readonly #keptPages = new Map<number, number>();
  #shared: ((told: Extract<ToMain, { type: "shared" }>) => void) | null = null;
  /** Commands run one after the other: each pauses the tree. */
  #commands: Promise<unknown> = Promise.resolve();
  readonly #controls: Control;
  readonly #views: ChainCache;
  readonly #serving = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();

  constructor(
    store: Store,
    thread: RequestThread,
    workspace: WorkspaceRow,
    leasing: Leasing | null,
    chain: Chain,
    device: number,
    options: HoldingOptions,
  ) {
    this.#store = store;
    this.#thread = thread;
    this.#workspace = workspace;
    this.#leasing = leasing;
    this.#chain = chain;
    this.#device = device;
    this.#options = options;
    this.#views = new ChainCache(store);
    this.#controls = new Control({
      store,
      workspace: workspace.name,
      directory: options.directory,
      counts: () => thread.counts(),
      execute: (command, argument) => this.#execute(command, argument),
    });
    this.#ended.promise.catch(() => {});
    thread.onMessage = (message) => this.#receive(message);
    thread.onError = (message) => this.#broken(message);
  }

  /** Returns once the kernel's requests are answered. */
  async start(): Promise<void> {
    const leasing = this.#leasing;
    if (leasing !== null) {
      this.#committer = new Committer(this.#store, this.#workspace.id, () => this.#term(), {
        retryTimeoutMs: this.#options.retryTimeoutMs,
        onCommitted: (sequence) => {
          this.#answered();
          this.#thread.send({ type: "committed", sequence });
        },
        onWaiting: (error) => this.#waiting(error),
        onFailed: (error) => this.#failed(error),
      });
      const pages = this.#keptPages;
      await leasing.start({
        send: (message) => this.#thread.send(message),
        headIs: (workspace) => this.#headIs(workspace),
        changed: (keys) => this.#dropPages(keys),
        get keepsPages() {
          return pages.size > 0;
        },
        wantsShare: () => void this.#execute("share", {}).catch(console.error),
        beat: (error) => this.#beat(error),
        retryTimeoutMs: this.#options.retryTimeoutMs,
      });
      const { checkpointSeconds } = this.#options;
      if (checkpointSeconds !== null) {
        this.#checkpoints = setInterval(() => void this.#checkpoint(), checkpointSeconds * 1000);
      }
      this.#unserve = await this.#store.serve(
        this.#workspace.id,
        null,
        (request) => this.#serve(request),
      );
    }
    await Promise.race([this.#serving.promise, this.#ended.promise]);
    if (leasing !== null) {
      void this.#keepShallow();
      const { bytes, inodes } = await this.#store.limits(this.#workspace.id);
      if (bytes !== null || inodes !== null) await this.#execute("quota", {});
    }
  }

  /** Returns when the mount is gone and all is committed. @throws {TarboxError} what was lost. */
  async ended(): Promise<void> {
    await this.#ended.promise;
  }

  /** Stops the service of requests, and gives the lease back. */
  async stop(): Promise<void> {
    clearInterval(this.#checkpoints);
    clearTimeout(this.#measuring);
    await this.#unserve?.();
    // A lease that cannot be given back goes stale by itself.
    await this.#leasing?.stop().catch(console.error);
  }

  /** Seals what changed since the last layer; nothing happens when nothing did. */
  async #checkpoint(): Promise<void> {
    try {
      await this.#execute("seal", { message: "automatic" });
    } catch (error) {
      console.error("an automatic checkpoint failed:", error);
    }
  }

  #head(): Point {
    return this.#chain[0]!;
  }

  /** Under which lease, and to which head, batches are committed now. */
  #term(): Term {
    const { epoch, shared } = this.#leasing!;
    if (epoch === null) throw new FencedError(this.#workspace.name);
    return { epoch, head: this.#head(), publish: shared };
  }

  /** Follows the head when others moved it. @returns what the tree must learn of another lineage */
  async #headIs(workspace: WorkspaceRow): Promise<Rebase | null> {
    const before = this.#chain;
    this.#workspace = workspace;
    if (samePoint(before[0]!, workspace.head)) return null;
    this.#chain = await this.#store.chain(workspace.head);
    if (before[0]!.lineage === workspace.head.lineage) return null;
    return await this.#rebaseFrom(before);
  }

  #rebaseFrom(before: Chain): Promise<Rebase | null> {
    return rebaseBetween(this.#store, before, this.#chain, (inodes) => {
      const inspected = Promise.withResolvers<readonly KnownInode[]>();
      this.#inspected = inspected.resolve;
      this.#thread.send({ type: "inspect", inodes });
      return inspected.promise;
    });
  }

  /** A heartbeat was answered, or why not. */
  #beat(error: Error | null): void {
    if (error === null) this.#answered();
    else if (error instanceof FencedError) this.#failed(error);
    else if (error instanceof UnavailableError) this.#waiting(error);
    else console.error(error);
  }

  /** The database is away, and is tried again. */
  #waiting(error: Error): void {
    if (this.#trouble === null) this.#tell("waiting", error.message);
  }

  /** The database answered. */
  #answered(): void {
    if (this.#trouble?.kind !== "waiting") return;
    this.#trouble = null;
    console.error(`${new Date().toISOString()} the database answers again`);
    this.#options.onTrouble(null);
  }

  /** Nothing will be committed any more. */
  #failed(error: Error): void {
    if (this.#trouble !== null && this.#trouble.kind !== "waiting") return;
    const fenced = error instanceof FencedError;
    this.#tell(fenced ? "lost lease" : "failed", error.message);
    this.#thread.send({ type: "commit-failed", message: error.message, fenced });
  }

  #tell(kind: Trouble["kind"], why: string): void {
    this.#trouble = { kind, why, since: new Date().toISOString() };
    console.error(`${this.#trouble.since} ${kind}: ${why}`);
    this.#options.onTrouble(this.#trouble);
  }

  #receive(message: ToMain): void {
    switch (message.type) {
      case "serving":
        return this.#serving.resolve();
      case "load":
        return void this.#load(message.id, message.load, message.point);
      case "batch":
        return this.#committer!.submit(message.batch);
      case "command":
        return void this.#control(message.id, message.command, message.argument);
      case "flushed":
        this.#flushes.get(message.id)?.(message.error);
        this.#flushes.delete(message.id);
        return;
      case "inspected":
        this.#inspected?.(message.known);
        this.#inspected = null;
        return;
      case "ask":
        return this.#leasing!.ask(message.question, message.write);
      case "over":
        return void this.#leasing!.over(message.locks);
      case "locks":
        return void this.#leasing!.putLocks(message.locks);
      case "shared":
        return this.#shared!(message);
      case "fenced":
        return void this.#invalidate(message.forget);
      case "rebased":
        this.#rebased?.(message.forget);
        this.#rebased = null;
        return;
      case "ended":
        return message.error === null
          ? this.#ended.resolve()
          : this.#ended.reject(new TarboxError(message.error));
      case "broken":
        return this.#broken(message.message);
    }
  }

  #broken(message: string): void {
    console.error(`the mount stops: ${message}`);
    this.#serving.resolve();
    this.#ended.reject(new InvariantError(message));
  }

  async #load(id: number, load: Load, point: Point | null): Promise<void> {
    const deadline = performance.now() + this.#options.retryTimeoutMs;
    const give = (errno: number) => this.#thread.send({ type: "load-failed", id, errno });
    for (let pause = 50;; pause = Math.min(pause * 2, 1000)) {
      // What is stored now is another holder's: with what memory has of ours it makes no tree.
      if (this.#trouble?.kind === "lost lease") return give(EIO);
      try {
        const loaded = await answerLoad(this.#store, await this.#chainOf(point), load);
        this.#answered();
        return this.#thread.send({ type: "loaded", id, loaded });
      } catch (error) {
        if (!(error instanceof UnavailableError)) {
          console.error(error);
          return give(EIO);
        }
        this.#waiting(error);
        if (performance.now() + pause > deadline) {
          console.error(`reading failed: no answer for ${this.#options.retryTimeoutMs / 1000} s`);
          return give(EIO);
        }
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
  }

  /** The chain of a state, kept for lineages that were asked about. */
  async #chainOf(point: Point | null): Promise<Chain> {
    return point === null ? this.#chain : await this.#views.of(point);
  }

  /** Everything done before is committed; with `pause` the tree stands still until resumed. */
  #flush(pause: boolean): Promise<void> {
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#flushes.set(id, (error) => {
      if (error === null) resolve();
      else reject(new TarboxError(error));
    });
    this.#thread.send({ type: pause ? "pause" : "flush", id });
    return Promise.race([promise, this.#ended.promise]);
  }

  async #serve(request: Request): Promise<Reply> {
    try {
      return { result: await this.#execute(request.command, request.argument) };
    } catch (error) {
      if (error instanceof TarboxError) return { error: error.message, hint: error.hint };
      console.error(error);
      return { error: error instanceof Error ? error.message : String(error) };
    }
  }

  /** One command of the layers, after all that were asked before it. */
  #execute(command: string, argument: unknown): Promise<unknown> {
    const result = this.#commands.then(() => this.#executeNow(command, argument));
    this.#commands = result.catch(() => {});
    return result;
  }

  async #executeNow(command: string, argument: unknown): Promise<unknown> {
    const leasing = this.#leasing!;
    if (command === "share") return await this.#share(leasing);
    if (command !== "flush" && !Object.hasOwn(layerCommands, command)) {
      throw new TarboxError(
        `a mount holds workspace ${this.#workspace.name}, and cannot do ${command} while mounted`,
        "unmount it first",
      );
    }
    const epoch = await leasing.pin();
    try {
      if (command === "flush") return await this.#flush(false);
      return await this.#onLayers(epoch, command, argument);
    } finally {
      leasing.unpin();
    }
  }

  async #onLayers(epoch: number, command: string, argument: unknown): Promise<unknown> {
    await this.#flush(true);
    let rebase: Rebase | null = null;
    try {
      const workspace = this.#workspace;
      const result = await runLayerCommand(this.#store, workspace, epoch, command, argument);
      this.#workspace = (await this.#store.workspace(workspace.name))!;
      const before = this.#chain;
      this.#chain = await this.#store.chain(this.#workspace.head);
      rebase = await this.#rebaseFrom(before);
      if (command === "quota" || this.#limited) await this.#measure();
      return result;
    } finally {
      const rebased = rebase === null ? null : Promise.withResolvers<Forget>();
      if (rebased !== null) this.#rebased = rebased.resolve;
      this.#thread.send({ type: "resume", rebase });
      if (rebased !== null) await this.#invalidate(await rebased.promise);
      void this.#keepShallow();
    }
  }

  /** Beside the work: the chain is as good as it is, only slower. */
  async #keepShallow(): Promise<void> {
    try {
      await keepShallow(this.#store, this.#chain);
    } catch (error) {
      console.error("the chain of layers could not be summed up:", error);
    }
  }

  /**
   * Another mount is there: everything is committed, the lease is given back, and the kernel keeps
   * nothing any more. Returns when it has forgotten what it kept.
   */
  async #share(leasing: Leasing): Promise<null> {
    if (leasing.shared) return null;
    await this.#flush(true);
    let forget: Forget | null = null;
    try {
      await leasing.share(async () => {
        const told = Promise.withResolvers<Extract<ToMain, { type: "shared" }>>();
        this.#shared = told.resolve;
        this.#thread.send({ type: "share" });
        const { locks, open, ...rest } = await told.promise;
        forget = rest.forget;
        for (const [inode, id] of open) this.#keptPages.set(inode, id);
        return locks;
      });
    } finally {
      this.#thread.send({ type: "resume", rebase: null });
    }
    if (forget !== null) await this.#invalidate(forget);
    return null;
  }

  /** Tells the tree, which stands still and is committed, what it may hold and holds. */
  async #measure(): Promise<void> {
    const limits = await this.#store.limits(this.#workspace.id);
    this.#limited = limits.bytes !== null || limits.inodes !== null;
    const usage = this.#limited ? await this.#store.usage(this.#chain) : null;
    this.#thread.send({ type: "quota", limits, usage });
  }

  /** Other mounts changed something: what the head holds is counted again, after a while. */
  #measureSoon(): void {
    if (!this.#limited || this.#measuring !== undefined) return;
    this.#measuring = setTimeout(() => {
      this.#measuring = undefined;
      void this.#execute("quota", {}).catch(console.error);
    }, MEASURE_MS);
  }

  /** Another mount changed files that were open here when it came: their pages are stale. */
  #dropPages(keys: ChangedKeys | null): void {
    if (keys === null || keys.inodes.length > 0) this.#measureSoon();
    for (const inode of keys?.inodes ?? this.#keptPages.keys()) {
      const id = this.#keptPages.get(inode);
      if (id !== undefined) void invalidateInode(this.#device, id);
    }
  }

  /** Has the kernel forget what it cached of the tree before the switch. */
  async #invalidate(forget: Forget): Promise<void> {
    for (const inode of forget.inodes) await invalidateInode(this.#device, inode);
    for (const { parent, name } of forget.entries) {
      await invalidateEntry(this.#device, parent, name);
    }
  }

  /** A command that came through the control directory. */
  async #control(id: number, command: string, argument: string): Promise<void> {
    try {
      const result = await this.#controls.perform(command, argument);
      this.#thread.send({ type: "answer", id, answer: { result } });
    } catch (error) {
      const errno = error instanceof TarboxError ? error.systemErrno ?? EINVAL : EIO;
      if (!(error instanceof TarboxError)) console.error(error);
      this.#thread.send({ type: "answer", id, answer: { errno } });
    }
  }
}
