import type { Batch } from "../store/rows.ts";

/** A batch on its way to the store, and its place in the order. */
export interface SequencedBatch {
  /** 1, 2, 3… of this mount. */
  readonly sequence: number;
  readonly batch: Batch;
}

/** What the tree in memory tells the journal; the journal asks it for rows when it cuts a batch. */
export interface DirtySource {
  /** The rows of everything that is dirty; from then on it counts as in flight, not as dirty. */
  collect(): Batch;
  /** The batch of the last `collect` is committed: what is not dirty again is clean. */
  settled(): void;
  /** Bytes of file data that are dirty. */
  readonly dirtyBytes: number;
  /** Whether anything at all is dirty. */
  readonly dirty: boolean;
}
