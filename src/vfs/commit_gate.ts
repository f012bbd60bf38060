import { EIO } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import type { Journal } from "../journal/journal.ts";
import type { Context } from "./operations.ts";
import { Suspension } from "./suspension.ts";

/** The journal as operations meet it: what it cannot grant yet becomes a suspension. */
export class CommitGate {
  readonly #journal: Journal;
  /** Whether changes are possible: not while another of several mounts may have its turn. */
  mayChange = true;

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  /**
   * Asked before an operation changes anything; `bytes` of file data become dirty.
   * @throws {Suspension} while too much waits for the store, or it is not this mount's turn.
   * @throws {FsError} EIO once commits have failed.
   */
  admit(bytes: number): void {
    this.demandTurn();
    if (!this.#journal.admit(bytes)) throw new Suspension({ kind: "pressure" });
  }

  /** Asked before a lock changes. @throws {Suspension} while it is not this mount's turn */
  demandTurn(): void {
    if (!this.mayChange) throw new Suspension({ kind: "turn", write: true });
  }

  /** Something became dirty. */
  touched(): void {
    this.#journal.touched();
  }

  /**
   * Returns once everything that was done before its first run is committed (man 2 fsync).
   * @throws {Suspension} until then. @throws {FsError} EIO when it never will be.
   */
  sync(context: Context): void {
    if (this.#journal.failure !== null) throw new FsError(EIO, this.#journal.failure.message);
    context.sequence ??= this.#journal.barrier();
    if (!this.#journal.reached(context.sequence)) {
      throw new Suspension({ kind: "commit", sequence: context.sequence });
    }
  }
}
