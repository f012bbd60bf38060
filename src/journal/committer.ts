import { nowNanoseconds } from "../base/clock.ts";
import { TarboxError } from "../base/errors.ts";
import { UnavailableError } from "../store/errors.ts";
import type { Point } from "../store/rows.ts";
import type { Catalog } from "../store/store.ts";
import type { SequencedBatch } from "./port.ts";

const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 2000;

/** Under which lease, and to which head, batches are committed for the time being. */
export interface Term {
  readonly epoch: number;
  readonly head: Point;
  /** Other mounts are told which keys changed. */
  readonly publish: boolean;
}

/** How a {@link Committer} waits, and whom it tells. */
export interface CommitterOptions {
  /** How long a batch may wait for a store that is away, from the first try that failed. */
  readonly retryTimeoutMs: number;
  /** The batch is durable. In the order of the sequences. */
  readonly onCommitted: (sequence: number) => void;
  /** Nothing will ever be committed from here again. Called once. */
  readonly onFailed: (error: Error) => void;
  /** The store is away; the batch is tried again. */
  readonly onWaiting: (error: Error) => void;
  /** Milliseconds of any origin. */
  readonly now: () => number;
  /** Calls back after a time; returns what cancels it. */
  readonly after: (ms: number, callback: () => void) => () => void;
}

/**
 * Brings batches to the store, one after the other. A batch whose outcome is not known (the connection
 * broke) is sent again under the same sequence, which the store applies once at most.
 */
export class Committer {
  readonly #store: Pick<Catalog, "commit">;
  readonly #workspace: number;
  readonly #term: () => Term;
  /** The epoch of the last commit, and how many were made under it. */
  #epoch: number | null = null;
  #commits = 0;
  readonly #options: CommitterOptions;
  readonly #queue: SequencedBatch[] = [];
  #running: Promise<void> = Promise.resolve();
  #busy = false;
  #error: Error | null = null;

  /** @param term asked for each batch when its turn comes; `retryTimeoutMs` defaults to 60 s */
  constructor(
    store: Pick<Catalog, "commit">,
    workspace: number,
    term: () => Term,
    options: Partial<CommitterOptions> = {},
  ) {
    this.#store = store;
    this.#workspace = workspace;
    this.#term = term;
    this.#options = {
      retryTimeoutMs: 60_000,
      onCommitted: () => {},
      onFailed: () => {},
      onWaiting: () => {},
      now: () => Number(nowNanoseconds() / 1000n) / 1000,
      after: (ms, callback) => {
        const timer = setTimeout(callback, ms);
        return () => clearTimeout(timer);
      },
      ...options,
    };
  }

  /** Why nothing is committed any more, or null. */
  get error(): Error | null {
    return this.#error;
  }

  /** Takes a batch for commit; its end is told by `onCommitted` or `onFailed`. */
  submit(batch: SequencedBatch): void {
    if (this.#error !== null) return;
    this.#queue.push(batch);
    if (this.#busy) return;
    this.#busy = true;
    this.#running = this.#drain();
  }

  /**
   * Resolves when everything submitted is committed.
   * @throws {Error} what made commits fail for good.
   */
  async idle(): Promise<void> {
    while (this.#busy) await this.#running;
    if (this.#error !== null) throw this.#error;
  }

  async #drain(): Promise<void> {
    while (this.#error === null) {
      const batch = this.#queue[0];
      if (batch === undefined) break;
      try {
        await this.#commit(batch);
        this.#queue.shift();
        this.#options.onCommitted(batch.sequence);
      } catch (error) {
        this.#error = error instanceof Error ? error : new Error(String(error));
        this.#queue.length = 0;
        this.#options.onFailed(this.#error);
      }
    }
    this.#busy = false;
  }

  async #commit({ batch }: SequencedBatch): Promise<void> {
    const { epoch, head, publish } = this.#term();
    if (epoch !== this.#epoch) this.#commits = 0;
    this.#epoch = epoch;
    const sequence = this.#commits + 1;
    let delay = FIRST_RETRY_MS;
    let deadline: number | null = null;
    for (;;) {
      const started = this.#options.now();
      try {
        const left = deadline === null ? this.#options.retryTimeoutMs : deadline - started;
        await this.#within(
          left,
          this.#store.commit(this.#workspace, epoch, head, sequence, batch, publish),
        );
        this.#commits = sequence;
        return;
      } catch (error) {
        if (!(error instanceof UnavailableError)) throw error;
        deadline ??= started + this.#options.retryTimeoutMs;
        if (this.#options.now() + delay > deadline) throw this.#gaveUp(error);
        this.#options.onWaiting(error);
        await new Promise<void>((resolve) => this.#options.after(delay, resolve));
        delay = Math.min(delay * 2, LONGEST_RETRY_MS);
      }
    }
  }

  /** A store that never answers must not make the callers of fsync wait for ever. */
  async #within(ms: number, commit: Promise<void>): Promise<void> {
    let cancel = () => {};
    const late = new Promise<never>((_, reject) => {
      cancel = this.#options.after(ms, () => reject(this.#gaveUp()));
    });
    try {
      await Promise.race([commit, late]);
    } finally {
      cancel();
    }
  }

  #gaveUp(cause?: Error): TarboxError {
    const seconds = Math.round(this.#options.retryTimeoutMs / 100) / 10;
    return new TarboxError(
      `committing failed: the database was away for more than ${seconds} s` +
        (cause === undefined ? "" : ` (${cause.message})`),
      "unmount, see that the database answers, and mount again; what was not fsynced may be lost",
      1,
      { cause },
    );
  }
}
