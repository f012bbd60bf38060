import type { SequencedBatch } from "../journal/port.ts";
import type { ChangedKeys } from "../store/rows.ts";
import type { ForeignLock } from "../vfs/locks.ts";
import type { Counters } from "../vfs/tree.ts";
import type { Load, Loaded } from "../store/loads.ts";
import type { Limits, Usage } from "../store/quotas.ts";
import type { Point } from "../store/rows.ts";
import type { Forget, KnownInode, Rebase } from "../vfs/rebase.ts";

/** All locks of some inodes. */
export interface LockChanges {
  readonly inodes: readonly number[];
  readonly locks: readonly ForeignLock[];
}

/** What is to be known of the shared state before operations run on it. */
export interface Catching {
  /** The head stands on another lineage. */
  readonly rebase: Rebase | null;
  /** Keys that other mounts changed; null: not known, anything may have. */
  readonly changed: ChangedKeys | null;
  readonly counters: Counters;
  /** Locks of other mounts; null: as before. */
  readonly locks: readonly ForeignLock[] | null;
}

/** From the request thread to the main thread. */
export type ToMain =
  | { readonly type: "serving" }
  | {
    readonly type: "load";
    readonly id: number;
    readonly load: Load;
    /** The state that is asked about; null: the head. */
    readonly point: Point | null;
  }
  | { readonly type: "batch"; readonly batch: SequencedBatch }
  | {
    readonly type: "command";
    readonly id: number;
    readonly command: string;
    readonly argument: string;
  }
  /** Everything done before the `flush` or `pause` of this id is committed (or `error`). */
  | { readonly type: "flushed"; readonly id: number; readonly error: string | null }
  | { readonly type: "inspected"; readonly known: readonly KnownInode[] }
  | { readonly type: "rebased"; readonly forget: Forget }
  /** What the kernel may have cached when the lease was lost. */
  | { readonly type: "fenced"; readonly forget: Forget }
  /** Operations wait for a turn (`write`), or for a look at the shared state. */
  | { readonly type: "ask"; readonly question: number; readonly write: boolean }
  /** The turn is over; these are all locks of the inodes on which some changed in it. */
  | { readonly type: "over"; readonly locks: LockChanges }
  /** Locks were given up out of a turn. */
  | { readonly type: "locks"; readonly locks: LockChanges }
  /** What the kernel may have cached when the mount went to shared mode. */
  | {
    readonly type: "shared";
    readonly forget: Forget;
    readonly locks: LockChanges;
    /** Inodes that are open, with their node ids: the kernel keeps on caching their pages. */
    readonly open: readonly (readonly [inode: number, id: number])[];
  }
  /** The mount is gone and everything is committed, unless `error` says what is lost. */
  | { readonly type: "ended"; readonly error: string | null }
  /** An invariant is broken: nothing may be trusted, the mount stops. */
  | { readonly type: "broken"; readonly message: string };

/** From the main thread to the request thread. */
export type ToWorker =
  | { readonly type: "loaded"; readonly id: number; readonly loaded: Loaded }
  | { readonly type: "load-failed"; readonly id: number; readonly errno: number }
  | { readonly type: "committed"; readonly sequence: number }
  /** Nothing is committed any more; `fenced`: what memory knows may be older than the store, too. */
  | { readonly type: "commit-failed"; readonly message: string; readonly fenced: boolean }
  | {
    readonly type: "answer";
    readonly id: number;
    readonly answer: { readonly result: string } | { readonly errno: number };
  }
  | { readonly type: "flush"; readonly id: number }
  /** What the head may hold, and holds; while paused. */
  | { readonly type: "quota"; readonly limits: Limits; readonly usage: Usage | null }
  /** This mount has its turn; `alone`: for good, no other is there. */
  | { readonly type: "begin"; readonly catching: Catching; readonly alone: boolean }
  /** The shared state was looked at for all questions up to this one. */
  | { readonly type: "seen"; readonly question: number; readonly catching: Catching }
  | { readonly type: "turn-failed"; readonly question: number; readonly errno: number }
  /** Another mount wants its turn. */
  | { readonly type: "end" }
  /** While paused and flushed: several mounts share the workspace from now on. */
  | { readonly type: "share" }
  /** Flush, and answer no request until `resume`: the tree stands still in between. */
  | { readonly type: "pause"; readonly id: number }
  /** While paused: which of these inodes does the kernel know? Answered by `inspected`. */
  | { readonly type: "inspect"; readonly inodes: readonly number[] }
  | {
    readonly type: "resume";
    /** The head shows another state now. Null: nothing changed. Answered by `rebased`. */
    readonly rebase: Rebase | null;
  };

/** What the request thread starts with. */
export interface WorkerStart {
  /** Other mounts are there: see spec/coherence.md. */
  readonly shared: boolean;
  readonly device: number;
  readonly wakeDescriptor: number;
  /** Of {@link newCounts}. */
  readonly counts: SharedArrayBuffer;
  readonly nextInode: number;
  readonly nextCookie: number;
  readonly readOnly: boolean;
  readonly controlDirectory: boolean;
  readonly noatime: boolean;
  readonly uid: number;
  readonly gid: number;
  readonly maxFileSize: number;
  readonly metadataCacheBytes: number;
  readonly blockCacheBytes: number;
  readonly commitIntervalMs: number;
  readonly dirtyBytesMax: number;
}

/**
 * Wraps a message for a port. `receiveMessageOnPort` of Deno walks every property of an object it
 * received, each byte of a Uint8Array among them; it leaves the values of a Map alone.
 */
export function wrap<T>(message: T): Map<"message", T> {
  return new Map([["message", message]]);
}

/** The message that {@link wrap} wrapped. */
export function unwrap<T>(wrapped: unknown): T {
  return (wrapped as Map<"message", T>).get("message")!;
}
