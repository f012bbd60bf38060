import { EIO } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import { SYNTHETIC_INODE } from "../store/rows.ts";
import type { Context } from "../vfs/operations.ts";
import type { Wait } from "../vfs/suspension.ts";

/** Milliseconds for which a turn lasts while others wait for theirs and operations come in a row. */
const TURN_MS_MIN = 10;

/** Milliseconds without an operation after which a turn that others wait for ends before that. */
const IDLE_MS = 1;

/** Milliseconds for which the end of a turn waits for loads of operations that began in it. */
const LOADS_MS_MAX = 200;

/** Operations that depend on nothing that another mount can change. */
const FREE: ReadonlySet<string> = new Set([
  ...["init", "destroy", "interrupt", "forget", "notify_reply", "bmap", "poll", "ioctl"],
  ...["statfs", "flush", "release", "releasedir", "fsync", "fsyncdir", "syncfs"],
]);

/** Operations that change something, or take a lock: a look would not do for them. */
const CHANGING: ReadonlySet<string> = new Set([
  ...["setattr", "symlink", "mknod", "mkdir", "unlink", "rmdir", "rename", "link", "create"],
  ...["tmpfile", "write", "setxattr", "removexattr", "fallocate", "copy_file_range"],
  ...["setlk", "setlkw"],
]);

interface Waiting {
  readonly context: Context;
  readonly resume: () => void;
  readonly write: boolean;
  /** Number of the question that stands for it; 0: none was asked yet. */
  asked: number;
}

/** What {@link Turns} needs of the request thread. */
export interface TurnOwner {
  /** Asks the main thread for a turn, or for a look at the shared state; answered by its number. */
  ask(question: number, write: boolean): void;
  /** Commits everything; `reached` of the sequence that it returns tells when. */
  barrier(): number;
  reached(sequence: number): boolean;
  /** Changes are possible, or not. */
  mayChange(may: boolean): void;
  /** The turn is over, everything is committed. */
  over(): void;
}

/**
 * Which operations may run, on the request thread. Alone, all may. In shared mode (spec/coherence.md)
 * an operation waits for this mount's turn, or, when it only reads, for one look at the shared state.
 *
 * INVARIANT: nothing is dirty in shared mode out of a turn.
 */
export class Turns {
  readonly #owner: TurnOwner;
  #shared: boolean;
  #held: boolean;
  #fenced = false;
  #turn = 0;
  #startedMs = 0;
  /** When an operation was last let run. */
  #activeMs = 0;
  /** When the end of the turn was asked for; null: it was not. */
  #endingMs: number | null = null;
  /** What must be committed before the turn is over; null: that was not asked yet. */
  #sequence: number | null = null;
  /** Operations of this turn that wait for a load. */
  #loading = 0;
  #questions = 0;
  /** The question that has no answer yet. */
  #open: number | null = null;
  #waiting: Waiting[] = [];

  constructor(shared: boolean, owner: TurnOwner) {
    this.#owner = owner;
    this.#shared = shared;
    this.#held = !shared;
    owner.mayChange(this.#held);
  }

  /** Several mounts have the workspace. */
  get shared(): boolean {
    return this.#shared;
  }

  /** Several mounts have the workspace, and this one has not its turn. */
  get idle(): boolean {
    return this.#shared && !this.#held;
  }

  /** The lease was lost: what memory knows is no more what others see. For good. */
  fenced(): void {
    this.#fenced = true;
    for (const { resume } of this.#take(() => true)) resume();
  }

  /**
   * What an operation must wait for before it runs, or null.
   * @throws {FsError} EIO once the lease is lost
   */
  before(operation: string, inode: number, context: Context): Wait | null {
    if (this.#fenced && !FREE.has(operation) && inode < SYNTHETIC_INODE) throw new FsError(EIO);
    if (!this.#shared || FREE.has(operation) || inode >= SYNTHETIC_INODE) return null;
    if (this.#held && (this.#endingMs === null || context.turn === this.#turn)) {
      this.#activeMs = performance.now();
      context.turn = this.#turn;
      return null;
    }
    if (context.turn === "once") {
      context.turn = undefined;
      return null;
    }
    return { kind: "turn", write: CHANGING.has(operation) };
  }

  /** An operation waits for a turn. */
  wait(context: Context, write: boolean, resume: () => void): void {
    this.#waiting.push({ context, resume, write, asked: 0 });
    this.#ask();
  }

  /** An operation of this turn waits for a load, or (-1) got its answer. */
  loading(context: Context, change: 1 | -1): void {
    if (this.#held && this.#shared && context.turn === this.#turn) this.#loading += change;
  }

  /** The state was looked at for a question: who asked up to it may read it, once. */
  seen(question: number): void {
    this.#open = null;
    const ready = this.#take(({ asked, write }) => !write && asked > 0 && asked <= question);
    for (const { context, resume } of ready) {
      context.turn = "once";
      resume();
    }
    this.#ask();
  }

  /** This mount has its turn. @param nowMs any origin, as in {@link Turns.tick} */
  begin(nowMs: number): void {
    this.#held = true;
    this.#turn++;
    this.#startedMs = nowMs;
    this.#endingMs = null;
    this.#sequence = null;
    this.#loading = 0;
    this.#open = null;
    this.#owner.mayChange(true);
    for (const { resume } of this.#take(() => true)) resume();
  }

  /** A question has no answer: the database is away. Its operations end with this errno. */
  failed(question: number, errno: number): void {
    this.#open = null;
    for (const { context, resume } of this.#take(({ asked }) => asked > 0 && asked <= question)) {
      context.failure = errno;
      resume();
    }
    this.#ask();
  }

  /** Another mount wants its turn. */
  end(nowMs: number): void {
    if (this.#held && this.#shared) this.#endingMs ??= nowMs;
  }

  /** From now on several mounts have the workspace, and it is nobody's turn. Nothing is dirty. */
  share(): void {
    this.#shared = true;
    this.#held = false;
    this.#owner.mayChange(false);
  }

  /** From now on this mount is alone; its turn has begun. */
  unshare(): void {
    this.#shared = false;
    this.#endingMs = null;
  }

  /**
   * Does what is due by time.
   * @returns milliseconds until it is to be called again; null: not before something happens
   */
  tick(nowMs: number): number | null {
    if (this.#endingMs === null || !this.#held) return null;
    const early = Math.min(this.#startedMs + TURN_MS_MIN, this.#activeMs + IDLE_MS) - nowMs;
    if (early > 0) return Math.ceil(early);
    if (this.#sequence === null) {
      const left = this.#endingMs + LOADS_MS_MAX - nowMs;
      if (this.#loading > 0 && left > 0) return left;
      this.#owner.mayChange(false);
      this.#sequence = this.#owner.barrier();
    }
    if (!this.#owner.reached(this.#sequence)) return null;
    this.#held = false;
    this.#endingMs = null;
    this.#owner.over();
    this.#ask();
    return null;
  }

  #ask(): void {
    if (this.#held || this.#open !== null) return;
    const fresh = this.#waiting.filter(({ asked }) => asked === 0);
    if (fresh.length === 0) return;
    const question = ++this.#questions;
    for (const waiting of fresh) waiting.asked = question;
    this.#open = question;
    this.#owner.ask(question, fresh.some((waiting) => waiting.write));
  }

  #take(wanted: (waiting: Waiting) => boolean): Waiting[] {
    const taken = this.#waiting.filter(wanted);
    this.#waiting = this.#waiting.filter((waiting) => !wanted(waiting));
    return taken;
  }
}
