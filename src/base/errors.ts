import { errnoName } from "./errno.ts";

/**
 * An expected failure, told to people. `message` says what failed and why in one line; `hint` says
 * what to do, where there is something to do. The command line prints both and exits with `status`.
 */
export class TarboxError extends Error {
  override readonly name: string = "TarboxError";

  constructor(
    message: string,
    readonly hint?: string,
    /** Exit status of the command: 1 failed, 2 wrong usage. */
    readonly status: number = 1,
    options: ErrorOptions & {
      /** What a system call returns that stands for the failed command (the control directory). */
      readonly errno?: number;
    } = {},
  ) {
    super(message, options);
    this.systemErrno = options.errno ?? null;
  }

  /** The errno that a control file answers with; null: nothing fits better than EINVAL. */
  readonly systemErrno: number | null;
}

/**
 * An expected failure of one file operation: what the caller's system call returns. Carries the
 * Linux error number as man page errno(3) lists it.
 */
export class FsError extends TarboxError {
  override readonly name = "FsError";

  constructor(readonly errno: number, detail = "") {
    super(detail === "" ? errnoName(errno) : `${errnoName(errno)}: ${detail}`);
  }
}

/**
 * A broken invariant: Tarbox itself is wrong, or what it stored was changed by somebody else. Never
 * answered with a guess; it stops the mount loudly.
 */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
}

/** Throws {@link InvariantError} with `message` unless `condition` holds. Stays on in releases. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InvariantError(message);
}
