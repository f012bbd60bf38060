import { copied } from "../base/copied.ts";
import { EAGAIN, EINTR, EINVAL, EIO, ENOSYS } from "../base/errno.ts";
import { FsError, InvariantError } from "../base/errors.ts";
import { nowNanoseconds } from "../base/clock.ts";
import type { Context, FileSystem } from "../vfs/operations.ts";
import { Suspension, type Wait } from "../vfs/suspension.ts";
import { callerCapable, callerDying, callerGroups } from "./caller.ts";
import { agree, type Agreement, initOut } from "./negotiate.ts";
import type { Call, Control, InitOffer, Operation } from "./operation.ts";
import { FUSE_INT_REQ_BIT, initFlag, opcode } from "./protocol.ts";
import { type Body, outHeader } from "./reply.ts";
import { decodeHeader, RequestCursor, type RequestHeader } from "./request.ts";
import { expectsReply, OPERATIONS } from "./table.ts";

/** Where replies go: the device, or a list in tests. */
export interface ReplySink {
  /**
   * Sends header and body parts as one reply.
   * @returns 0, or the errno of the write
   */
  send(parts: readonly Uint8Array[]): number;
}

/** Who brings about what suspended operations wait for. */
export interface Waiter {
  /**
   * Begins to wait. `resume` runs the operation again or, when `context.failure` was set, answers its
   * caller with that. It may be called at any later time, also during `start`, also after the request
   * was interrupted: every call but the first does nothing.
   */
  start(wait: Wait, context: Context, resume: () => void): void;
}

/** Settings of a session. */
export interface SessionOptions {
  /**
   * Seconds for which the kernel may remember that a name does not exist; default 0. More only while
   * this mount is the only writer, and when names that appear by themselves (another layer) are
   * told to the kernel (`forgetAllEntries`, or `invalidateEntry` for each).
   */
  readonly negativeSeconds?: number;
  /** Asked before each run of an operation; what it must wait for first, or null. */
  readonly before?: (operation: Operation, inode: number, context: Context) => Wait | null;
  /** An operation broke an invariant; its caller got EIO. The owner stops the mount. */
  readonly onBroken: (error: unknown) => void;
  /** Requests that arrived are counted here, by opcode; what is past its end is not. */
  readonly counts?: Float64Array;
  /** An operation was answered: its name, errno or 0, and time since it arrived. */
  readonly onAnswered?: (operation: string, errno: number, nanoseconds: bigint) => void;
}

/** Milliseconds between two looks at whether an interrupted caller is being killed. */
const LOOK_MS = 100;

/** A request from its arrival to its answer. */
interface Request {
  readonly header: RequestHeader;
  readonly operation: Operation;
  readonly call: Call;
  /** Its bytes: in the buffer of the device until parked, then a copy. */
  bytes: Uint8Array;
  parked: boolean;
  /** What it waits for; null while it runs. */
  wait: Wait | null;
  interrupted: boolean;
  readonly arrived: bigint;
}

/**
 * One mount's conversation with the kernel: takes requests, runs them on the file system, answers.
 * Single-threaded. A request that must wait is parked and does not hold up those after it.
 */
export class Session {
  readonly #sink: ReplySink;
  readonly #fileSystem: FileSystem;
  readonly #waiter: Waiter;
  readonly #options: SessionOptions;
  readonly #control: Control;
  readonly #parked = new Map<bigint, Request>();
  #agreement: Agreement | null = null;
  #nextLook = 0;
  #destroyed = false;

  constructor(
    sink: ReplySink,
    fileSystem: FileSystem,
    waiter: Waiter,
    options: SessionOptions,
  ) {
    this.#sink = sink;
    this.#fileSystem = fileSystem;
    this.#waiter = waiter;
    this.#options = options;
    const agreed = (flag: number) => ((this.#agreement?.flags ?? 0) & flag) !== 0;
    this.#control = {
      initialize: (offer) => this.#initialize(offer),
      interrupt: (unique) => this.#interrupt(unique),
      destroy: () => {
        this.#destroyed = true;
      },
      negativeSeconds: options.negativeSeconds ?? 0,
      get longSetxattr() {
        return agreed(initFlag.SETXATTR_EXT);
      },
    };
  }

  /** What was agreed on with the kernel; null before INIT. */
  get agreement(): Agreement | null {
    return this.#agreement;
  }

  /** Whether the kernel said DESTROY: the mount is over. */
  get destroyed(): boolean {
    return this.#destroyed;
  }

  /** Requests that wait. */
  get parked(): number {
    return this.#parked.size;
  }

  /**
   * Carries out one request, answering it now or, when it must wait, later. Never throws.
   * @param request the bytes as the device gave them; may be overwritten once this returns
   */
  handle(request: Uint8Array): void {
    const header = decodeHeader(request);
    if (header === null) {
      this.#options.onBroken(new InvariantError("the kernel sent less than a request header"));
      return;
    }
    const { counts } = this.#options;
    if (counts !== undefined && header.opcode < counts.length) counts[header.opcode]!++;
    const arrived = this.#options.onAnswered === undefined ? 0n : nowNanoseconds();
    const operation = OPERATIONS.get(header.opcode);
    if (operation === undefined) {
      this.#send(header, ENOSYS, []);
      return;
    }
    const call: Call = {
      fileSystem: this.#fileSystem,
      control: this.#control,
      context: contextOf(header),
      inode: header.inode,
    };
    const parked = false;
    const wait = null;
    const interrupted = false;
    this.#run({ header, operation, call, bytes: request, parked, wait, interrupted, arrived });
  }

  /**
   * Ends what waits for callers that are being killed. The kernel sends one INTERRUPT for a request:
   * the signal that was not deadly may have had it, and while the owner reads no requests
   * (`unheard`) none comes at all. So callers are looked at again from time to time.
   * @param now a clock in milliseconds
   * @returns milliseconds until it must be called again; null: not before the next request
   */
  endDying(now: number, unheard = false): number | null {
    const suspects = [...this.#parked.values()]
      .filter((request) => request.operation.killable && (unheard || request.interrupted));
    if (suspects.length === 0) return null;
    if (now < this.#nextLook) return this.#nextLook - now;
    this.#nextLook = now + LOOK_MS;
    for (const request of suspects) {
      if (callerDying(request.header.pid)) this.#giveUp(request);
    }
    return LOOK_MS;
  }

  /** Answers every request that waits with `errno`: the mount is ending, nothing will come. */
  abandon(errno: number): void {
    for (const request of [...this.#parked.values()]) {
      this.#parked.delete(request.header.unique);
      this.#answer(request, errno, []);
    }
  }

  #run(request: Request): void {
    request.wait = null;
    const { header, operation, call } = request;
    try {
      if (!header.complete) throw new FsError(EINVAL, "length in the header");
      if (this.#agreement === null && header.opcode !== opcode.INIT) {
        throw new FsError(EIO, "request before INIT");
      }
      const cursor = new RequestCursor(request.bytes);
      const run = operation.prepare(cursor, this.#control);
      if (cursor.truncated) throw new FsError(EINVAL, "truncated request");
      const wait = this.#options.before?.(operation, header.inode, call.context) ?? null;
      if (wait !== null) throw new Suspension(wait);
      const body = run(call);
      if (body !== null) this.#answer(request, 0, body);
    } catch (thrown) {
      if (thrown instanceof Suspension) {
        this.#park(request, thrown.wait);
      } else if (thrown instanceof FsError) {
        this.#answer(request, thrown.errno, []);
      } else {
        this.#answer(request, EIO, []);
        this.#options.onBroken(thrown);
      }
    }
  }

  #park(request: Request, wait: Wait): void {
    request.wait = wait;
    if (request.interrupted && mayInterrupt(request)) return this.#giveUp(request);
    if (!request.parked) {
      // The device reads its next request into the same buffer.
      request.bytes = request.bytes.slice();
      copied.bytes += request.bytes.length;
      request.parked = true;
    }
    this.#parked.set(request.header.unique, request);
    let resumed = false;
    const resume = () => {
      if (resumed || this.#parked.get(request.header.unique) !== request) return;
      resumed = true;
      this.#parked.delete(request.header.unique);
      const { failure } = request.call.context;
      if (failure === undefined) this.#run(request);
      else this.#answer(request, failure, []);
    };
    try {
      this.#waiter.start(wait, request.call.context, resume);
    } catch (error) {
      request.call.context.failure = EIO;
      resume();
      this.#options.onBroken(error);
    }
  }

  #initialize(offer: InitOffer): Body {
    this.#agreement = agree(offer);
    return [initOut(this.#agreement)];
  }

  /**
   * One thread reads all requests, so a request that is not parked has been answered, or the kernel
   * has not got it to us yet: EAGAIN makes the kernel ask again if it still wants it. A parked one
   * that may not end now remembers the interrupt, and needs no answer to INTERRUPT itself.
   */
  #interrupt(unique: bigint): Body | null {
    const request = this.#parked.get(unique);
    if (request === undefined) throw new FsError(EAGAIN);
    request.interrupted = true;
    if (mayInterrupt(request)) this.#giveUp(request);
    return null;
  }

  /** Ends a request that waits, for its caller's sake. */
  #giveUp(request: Request): void {
    this.#parked.delete(request.header.unique);
    if (request.wait?.kind === "lock") request.wait.abandoned?.();
    this.#answer(request, EINTR, []);
  }

  #answer(request: Request, errno: number, body: Body): void {
    this.#send(request.header, errno, body);
    const { onAnswered } = this.#options;
    if (onAnswered !== undefined) {
      onAnswered(request.operation.name, errno, nowNanoseconds() - request.arrived);
    }
  }

  #send(header: RequestHeader, errno: number, body: Body): void {
    if (!expectsReply(header.opcode)) return;
    const length = body.reduce((sum, part) => sum + part.length, 0);
    const failed = this.#sink.send([outHeader(header.unique, errno, length), ...body]);
    // Other errors mean that nobody waits any more: the request was aborted, or the mount is over.
    const interrupt = (header.unique & FUSE_INT_REQ_BIT) !== 0n;
    if (failed === EINVAL && !interrupt) {
      const name = OPERATIONS.get(header.opcode)?.name ?? `opcode ${header.opcode}`;
      this.#options.onBroken(new InvariantError(`the kernel refused the reply to ${name}`));
    }
  }
}

/**
 * Whether a waiting request may be answered EINTR. Waiting for a lock ends with any signal, as
 * fcntl(2) and flock(2) say. Other waits end only for a caller that is being killed: programs do not
 * expect EINTR of stat(2) or fsync(2) on a disk, and get signals all the time (timers, SIGCHLD, the
 * SIGURG with which the Go runtime preempts).
 */
function mayInterrupt({ wait, operation, header }: Request): boolean {
  if (!operation.killable) return false;
  return wait?.kind === "lock" || callerDying(header.pid);
}

function contextOf(header: RequestHeader): Context {
  const { uid, gid, pid } = header;
  let groups: readonly number[] | null = null;
  return {
    uid,
    gid,
    pid,
    groups: () => groups ??= callerGroups(pid),
    capable: (capability) => callerCapable(pid, uid, capability),
  };
}
