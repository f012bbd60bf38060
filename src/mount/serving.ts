import { receiveMessageOnPort } from "node:worker_threads";
import { copied } from "../base/copied.ts";
import { FsError } from "../base/errors.ts";
import { EIO } from "../base/errno.ts";
import { Eventfd } from "../fuse/eventfd.ts";
import { Device } from "../fuse/device.ts";
import { serveLoop } from "../fuse/loop.ts";
import { Session, type Waiter } from "../fuse/session.ts";
import { Journal } from "../journal/journal.ts";
import type { Load } from "../store/loads.ts";
import type { Point } from "../store/rows.ts";
import { FrontFileSystem } from "../vfs/front.ts";
import type { Context } from "../vfs/operations.ts";
import type { Wait } from "../vfs/suspension.ts";
import { RequestCounts } from "./counts.ts";
import {
  type Catching,
  type ToMain,
  type ToWorker,
  unwrap,
  type WorkerStart,
  wrap,
} from "./messages.ts";
import { Turns } from "./turns.ts";

/** Milliseconds between questions for a lock that another mount has. */
const LOCK_POLL_MS = 30;

/** An operation that waits for the main thread. */
interface Parked {
  readonly context: Context;
  readonly resume: () => void;
  readonly load: Load | null;
  /** The state that the load is of; null: the head. */
  readonly point: Point | null;
  /** How often the tree had been rebased when it was asked. */
  readonly rebases: number;
}

/**
 * The request thread: answers the kernel from the tree in memory until the mount is gone, then has
 * the rest committed. Blocks; the event loop of this thread never runs.
 */
export function startRequests(start: WorkerStart, port: MessagePort): void {
  const thread = new Requests(start, port);
  try {
    thread.run();
  } catch (error) {
    const text = error instanceof Error ? error.stack ?? error.message : String(error);
    port.postMessage(wrap<ToMain>({ type: "broken", message: text }));
  }
}

class Requests implements Waiter {
  readonly #port: MessagePort;
  readonly #wake: Eventfd;
  readonly #counts: RequestCounts;
  readonly #device: Device;
  readonly #fileSystem: FrontFileSystem;
  readonly #journal: Journal;
  readonly #session: Session;
  readonly #parked = new Map<number, Parked>();
  /** Waiters for a batch, for less dirty data, for a lock of an inode. */
  #commits: { readonly sequence: number; readonly resume: () => void }[] = [];
  #pressed: (() => void)[] = [];
  #locks: { readonly inode: number; readonly resume: () => void }[] = [];
  #flushes: { readonly id: number; readonly sequence: number }[] = [];
  #nextId = 1;
  /** No operation runs: the layers below are being changed. */
  #paused = false;
  /** What arrived for operations while paused. */
  #held: ToWorker[] = [];
  #rebases = 0;
  readonly #turns: Turns;
  /** When locks of other mounts were last asked for. */
  #locksAskedMs = 0;
  #broken: string | null = null;

  constructor(start: WorkerStart, port: MessagePort) {
    this.#port = port;
    this.#wake = Eventfd.of(start.wakeDescriptor);
    this.#counts = new RequestCounts(start.counts);
    this.#device = new Device(start.device);
    this.#fileSystem = new FrontFileSystem({
      nextInode: start.nextInode,
      nextCookie: start.nextCookie,
      readOnly: start.readOnly,
      atime: start.noatime ? "noatime" : "relatime",
      maxFileSize: start.maxFileSize,
      metadataCacheBytes: start.metadataCacheBytes,
      blockCacheBytes: start.blockCacheBytes,
      controlDirectory: start.controlDirectory,
      uid: start.uid,
      gid: start.gid,
    });
    this.#journal = new Journal(
      this.#fileSystem.head.tree,
      (batch) => {
        for (const { data } of batch.batch.contents) copied.bytes += data.length;
        this.#send({ type: "batch", batch });
      },
      {
        commitIntervalMs: start.commitIntervalMs,
        softBytes: Math.floor(start.dirtyBytesMax / 4),
        hardBytes: start.dirtyBytesMax,
      },
    );
    this.#fileSystem.head.useJournal(this.#journal);
    this.#fileSystem.onUnlock = (inode) => this.unlocked(inode);
    this.#fileSystem.head.shared = start.shared;
    this.#turns = new Turns(start.shared, {
      ask: (question, write) => this.#send({ type: "ask", question, write }),
      barrier: () => this.#journal.barrier(),
      reached: (sequence) => this.#journal.failure !== null || this.#journal.reached(sequence),
      mayChange: (may) => this.#fileSystem.head.mayChange = may,
      over: () => this.#send({ type: "over", locks: this.#fileSystem.head.takeLockChanges() }),
    });
    this.#session = new Session(this.#device, this.#fileSystem, this, {
      counts: this.#counts.requests,
      before: ({ name }, inode, context) => this.#turns.before(name, inode, context),
      onBroken: (error: unknown) => {
        this.#broken = error instanceof Error ? error.stack ?? error.message : String(error);
      },
    });
  }

  run(): void {
    this.#send({ type: "serving" });
    serveLoop(this.#device, this.#session, {
      wakeDescriptor: this.#wake.descriptor,
      timeout: () => this.#tick(),
      onWake: () => this.#drain(),
      stop: () => this.#broken !== null,
    });
    if (this.#broken !== null) throw new Error(this.#broken);
    this.#finish();
  }

  /** The mount is gone: commits what is left. */
  #finish(): void {
    this.#fileSystem.close();
    const sequence = this.#journal.barrier();
    while (!this.#journal.reached(sequence) && this.#journal.failure === null) this.#sleep();
    this.#send({ type: "ended", error: this.#journal.failure?.message ?? null });
  }

  /** Does what is due by time. @returns milliseconds until the next is; null: nothing is */
  #tick(): number | null {
    const now = performance.now();
    this.#counts.publish();
    if (this.#turns.idle) this.#tellLocks();
    const due = [this.#journal.tick(now), this.#turns.tick(now), this.#askForLocks(now)]
      .filter((time) => time !== null);
    return due.length === 0 ? null : Math.min(...due);
  }

  /**
   * A lock that another mount has is given up in a turn of that mount, of which nobody tells: who
   * waits for it asks for turns until it is free.
   */
  #askForLocks(now: number): number | null {
    if (!this.#turns.shared || this.#locks.length === 0) return null;
    const left = this.#locksAskedMs + LOCK_POLL_MS - now;
    if (left > 0) return left;
    this.#locksAskedMs = now;
    const waiting = this.#locks;
    this.#locks = [];
    for (const { resume } of waiting) resume();
    return LOCK_POLL_MS;
  }

  /** A file that is closed out of a turn gives its locks up. */
  #tellLocks(): void {
    const locks = this.#fileSystem.head.takeLockChanges();
    if (locks.inodes.length > 0) this.#send({ type: "locks", locks });
  }

  #catchUp({ rebase, changed, counters, locks }: Catching): void {
    const { head } = this.#fileSystem;
    if (rebase !== null) {
      this.#rebases++;
      head.tree.rebase(rebase);
    }
    if (changed === null) head.tree.forgetAll();
    else head.tree.invalidate(changed);
    head.tree.counters = counters;
    if (locks !== null) head.foreignLocks = locks;
  }

  /** Waits for the main thread, without answering the kernel. */
  #sleep(): void {
    const timeout = this.#journal.tick(performance.now());
    this.#wake.wait(timeout ?? 1000);
    this.#drain();
  }

  #send(message: ToMain): void {
    this.#port.postMessage(wrap(message));
  }

  start(wait: Wait, context: Context, resume: () => void): void {
    switch (wait.kind) {
      case "load": {
        const id = this.#nextId++;
        const { load, point = null } = wait;
        this.#fileSystem.asking(point, load);
        this.#turns.loading(context, 1);
        this.#parked.set(id, { context, resume, load, point, rebases: this.#rebases });
        return this.#send({ type: "load", id, load, point });
      }
      case "command": {
        const id = this.#nextId++;
        this.#parked.set(id, { context, resume, load: null, point: null, rebases: this.#rebases });
        const { command, argument } = wait;
        return this.#send({ type: "command", id, command, argument });
      }
      case "commit":
        this.#commits.push({ sequence: wait.sequence, resume });
        return this.#wakeCommitted();
      case "pressure":
        this.#pressed.push(resume);
        return;
      case "lock":
        this.#locks.push({ inode: wait.inode, resume });
        return;
      case "turn":
        return this.#turns.wait(context, wait.write, resume);
    }
  }

  /** Runs again what waited for a lock of this inode. */
  unlocked(inode: number): void {
    const ready = this.#locks.filter((waiting) => waiting.inode === inode);
    this.#locks = this.#locks.filter((waiting) => waiting.inode !== inode);
    for (const { resume } of ready) resume();
  }

  #drain(): void {
    this.#wake.clear();
    for (;;) {
      for (;;) {
        const received = receiveMessageOnPort(this.#port as never);
        if (received === undefined) break;
        this.#receive(unwrap<ToWorker>(received.message));
      }
      if (!this.#paused) return;
      const now = performance.now();
      const due = [this.#journal.tick(now), this.#session.endDying(now, true)];
      this.#wake.wait(Math.min(...due.map((ms) => ms ?? 1000)));
      this.#wake.clear();
    }
  }

  #receive(message: ToWorker): void {
    switch (message.type) {
      case "loaded":
      case "load-failed":
      case "answer":
        if (this.#paused) this.#held.push(message);
        else this.#answer(message);
        return;
      case "committed":
        this.#journal.committed(message.sequence);
        return this.#wakeCommitted();
      case "commit-failed":
        this.#journal.failed(new FsError(EIO, message.message));
        if (message.fenced) {
          this.#turns.fenced();
          this.#send({ type: "fenced", forget: this.#fileSystem.head.tree.cached });
        }
        return this.#wakeCommitted();
      case "begin":
        if (this.#paused) return void this.#held.push(message);
        this.#catchUp(message.catching);
        if (message.alone) {
          this.#fileSystem.head.shared = false;
          this.#turns.unshare();
        }
        return this.#turns.begin(performance.now());
      case "seen":
        if (this.#paused) return void this.#held.push(message);
        this.#catchUp(message.catching);
        return this.#turns.seen(message.question);
      case "turn-failed":
        return this.#turns.failed(message.question, message.errno);
      case "quota":
        return this.#fileSystem.head.tree.quota.set(message.limits, message.usage);
      case "end":
        this.#turns.end(performance.now());
        return void this.#tick();
      case "share": {
        const forget = this.#fileSystem.head.tree.cached;
        this.#fileSystem.head.shared = true;
        this.#turns.share();
        const locks = this.#fileSystem.head.takeLockChanges();
        const open = this.#fileSystem.head.openInodes;
        return this.#send({ type: "shared", forget, locks, open });
      }
      case "flush":
      case "pause":
        if (message.type === "pause") this.#paused = true;
        this.#flushes.push({ id: message.id, sequence: this.#journal.barrier() });
        return this.#wakeCommitted();
      case "inspect": {
        const known = this.#fileSystem.head.tree.inspect(message.inodes);
        return this.#send({ type: "inspected", known });
      }
      case "resume": {
        this.#paused = false;
        if (message.rebase !== null) {
          this.#rebases++;
          this.#send({
            type: "rebased",
            forget: this.#fileSystem.head.tree.rebase(message.rebase),
          });
        }
        const held = this.#held;
        this.#held = [];
        for (const answer of held) this.#receive(answer);
        return this.#wakeCommitted();
      }
    }
  }

  #answer(message: Extract<ToWorker, { type: "loaded" | "load-failed" | "answer" }>): void {
    const { context, resume, load, point, rebases } = this.#parked.get(message.id)!;
    this.#parked.delete(message.id);
    if (load !== null) this.#turns.loading(context, -1);
    if (message.type === "answer") {
      context.answer = message.answer;
    } else if (message.type === "load-failed") {
      context.failure = message.errno;
    } else if (point !== null || rebases === this.#rebases) {
      // An answer about the head before a switch says nothing about the one after it.
      this.#fileSystem.absorb(point, load!, message.loaded);
    }
    resume();
  }

  /** Goes on with everything that waited for what is committed by now, or has failed. */
  #wakeCommitted(): void {
    const { failure } = this.#journal;
    const done = (sequence: number) => failure !== null || this.#journal.reached(sequence);
    const flushes = this.#flushes.filter((flush) => done(flush.sequence));
    this.#flushes = this.#flushes.filter((flush) => !done(flush.sequence));
    for (const { id } of flushes) {
      this.#send({ type: "flushed", id, error: failure?.message ?? null });
    }
    if (this.#paused) return;
    const commits = this.#commits.filter(({ sequence }) => done(sequence));
    this.#commits = this.#commits.filter(({ sequence }) => !done(sequence));
    const pressed = this.#pressed;
    this.#pressed = [];
    for (const { resume } of commits) resume();
    for (const resume of pressed) resume();
    this.#turns.tick(performance.now());
  }
}
