import type { Load } from "../store/loads.ts";
import type { Point } from "../store/rows.ts";

/** What an operation that cannot go on yet waits for. */
export type Wait =
  /** Rows or contents of the store; answered by `FileSystem.absorb`. */
  | {
    readonly kind: "load";
    readonly load: Load;
    /** Of another state of the tree than the head. */
    readonly point?: Point;
  }
  /** Everything up to and with this batch sequence being committed. */
  | { readonly kind: "commit"; readonly sequence: number }
  /** Fewer dirty bytes than the bound: back-pressure. */
  | { readonly kind: "pressure" }
  /** A lock that another owner holds; asked again when any lock of that inode is released. */
  | {
    readonly kind: "lock";
    readonly inode: number;
    /** The operation ends without another run: its owner waits no more. */
    readonly abandoned?: () => void;
  }
  /** This mount's turn: to look at the state that mounts share, or to change it. */
  | { readonly kind: "turn"; readonly write: boolean }
  /** A command of the control directory, carried out by the main thread; its answer is absorbed. */
  | { readonly kind: "command"; readonly command: string; readonly argument: string };

/**
 * Thrown by an operation that needs something first. The operation has changed nothing; its caller
 * waits for `wait` and runs it again from the start, with the same `Context`.
 */
export class Suspension {
  constructor(readonly wait: Wait) {}
}
