import { EIO } from "../base/errno.ts";
import { FsError, invariant } from "../base/errors.ts";
import type { DirtySource, SequencedBatch } from "./port.ts";

/** When batches are cut. Absent: the defaults of {@link JOURNAL_DEFAULTS}. */
export interface JournalOptions {
  /** A change is on its way to the store after this time at the latest, if the store keeps up. */
  readonly commitIntervalMs: number;
  /** A batch is cut when this much is dirty, so that the pipe to the store stays full. */
  readonly softBytes: number;
  /** Operations that add something wait while more than this is dirty or in flight. */
  readonly hardBytes: number;
}

export const JOURNAL_DEFAULTS: JournalOptions = {
  commitIntervalMs: 1000,
  softBytes: 16 * 1024 * 1024,
  hardBytes: 64 * 1024 * 1024,
};

/** What one change of rows counts for beside its data, so that metadata alone is bounded, too. */
const CHANGE_BYTES = 512;

/**
 * Decides when the dirty state of a tree becomes a batch, and knows what is committed. At most one
 * batch is in flight; everything that becomes dirty meanwhile is in the next one, so any number of
 * fsync calls shares a commit. Synchronous; the loop that runs the operations calls `tick` after each
 * turn with its time (milliseconds, any origin), and hands in the answers of the store.
 *
 * INVARIANT: committed <= cut <= committed + 1.
 */
export class Journal {
  readonly #source: DirtySource;
  readonly #send: (batch: SequencedBatch) => void;
  readonly #options: JournalOptions;
  readonly #listeners = new Set<() => void>();
  /** Sequence of the last batch that was cut, and of the last that is committed. */
  #cut = 0;
  #committed = 0;
  /** Highest sequence that a barrier waits for. */
  #awaited = 0;
  /** When the oldest change that is in no batch was first seen by `tick`; null: none was. */
  #oldest: number | null = null;
  #changeBytes = 0;
  #inFlightBytes = 0;
  #failure: Error | null = null;

  /** @param send takes a batch on its way; its end is told by `committed` or `failed` */
  constructor(
    source: DirtySource,
    send: (batch: SequencedBatch) => void,
    options: Partial<JournalOptions> = {},
  ) {
    this.#source = source;
    this.#send = send;
    this.#options = { ...JOURNAL_DEFAULTS, ...options };
  }

  /** Why nothing can be written any more, or null. */
  get failure(): Error | null {
    return this.#failure;
  }

  /** Sequence of the last batch that the store has. */
  get committedSequence(): number {
    return this.#committed;
  }

  /** Bytes, of data and of changes to rows, that the store does not have yet. */
  get pendingBytes(): number {
    return this.#source.dirtyBytes + this.#changeBytes + this.#inFlightBytes;
  }

  /** Whether everything done so far is in the store. */
  get clean(): boolean {
    return !this.#source.dirty && !this.#inFlight;
  }

  /**
   * Whether an operation that makes this many bytes dirty may go on now; if not, it waits until
   * {@link onProgress} and asks again. One operation is admitted whatever its size when nothing is
   * pending. To be asked before anything is changed, with 0 for changes of rows alone.
   * @throws {FsError} EIO once commits have failed.
   */
  admit(bytes: number): boolean {
    this.#check();
    const pending = this.pendingBytes;
    if (pending === 0 || pending + bytes <= this.#options.hardBytes) return true;
    this.#cutNow();
    return false;
  }

  /** Something became dirty. */
  touched(): void {
    this.#changeBytes += CHANGE_BYTES;
  }

  /**
   * The sequence which, once committed, covers everything done so far: of the batch in flight when
   * nothing was changed since it was cut, else of the next, which is cut as soon as it can be.
   * 0 or a sequence that is reached already when everything is committed.
   */
  barrier(): number {
    if (!this.#source.dirty) return this.#cut;
    const sequence = this.#cut + 1;
    this.#awaited = sequence;
    this.#cutNow();
    return sequence;
  }

  /**
   * Whether the store has everything up to and with this batch.
   * @throws {FsError} EIO when it never will.
   */
  reached(sequence: number): boolean {
    if (this.#committed >= sequence) return true;
    this.#check();
    return false;
  }

  /** The store has this batch, durably. Cuts the next one if something waits for it. */
  committed(sequence: number): void {
    invariant(
      this.#inFlight && sequence === this.#cut,
      `batch ${sequence} was committed, but ${this.#cut} is the last one cut`,
    );
    this.#committed = sequence;
    this.#inFlightBytes = 0;
    this.#source.settled();
    if (this.#due) this.#cutNow();
    this.#wake();
  }

  /**
   * The batch in flight can never be committed: fenced, refused, or the store was away for too long.
   * For good: what is dirty stays unwritten, and every barrier and mutation from now on gets EIO.
   */
  failed(error: Error): void {
    this.#failure ??= error;
    this.#wake();
  }

  /**
   * Cuts a batch if it is time. To be called when the time that the last call returned has passed.
   * @returns milliseconds until the next call is due; null: not before the next change or commit
   */
  tick(now: number): number | null {
    if (this.#failure !== null || this.#inFlight || !this.#source.dirty) return null;
    this.#oldest ??= now;
    const left = this.#oldest + this.#options.commitIntervalMs - now;
    if (left > 0 && !this.#due) return left;
    this.#cutNow();
    return null;
  }

  /**
   * Calls the listener after each commit, and after the failure: whoever waits asks again then.
   * @returns a function that ends this
   */
  onProgress(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Whether there is a reason, other than time, to cut a batch. */
  get #due(): boolean {
    return this.#awaited > this.#cut ||
      this.#source.dirtyBytes + this.#changeBytes > this.#options.softBytes;
  }

  get #inFlight(): boolean {
    return this.#cut > this.#committed;
  }

  #check(): void {
    if (this.#failure !== null) {
      throw new FsError(EIO, `commits have failed: ${this.#failure.message}`);
    }
  }

  #cutNow(): void {
    if (this.#inFlight || !this.#source.dirty || this.#failure !== null) return;
    const changeBytes = this.#changeBytes;
    const batch = this.#source.collect();
    this.#cut++;
    this.#oldest = null;
    this.#changeBytes = 0;
    this.#inFlightBytes = changeBytes;
    for (const { data } of batch.contents) this.#inFlightBytes += data.length;
    this.#send({ sequence: this.#cut, batch });
  }

  #wake(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}
