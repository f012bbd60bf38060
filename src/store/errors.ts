import { TarboxError } from "../base/errors.ts";

/** The lease is somebody else's by now: this holder can never write again. */
export class FencedError extends TarboxError {
  override readonly name = "FencedError";

  constructor(workspace: string) {
    super(
      `workspace ${workspace} is held by another mount now; nothing more can be written from here`,
      "unmount, and mount again to go on",
    );
  }
}

/**
 * The database lacks batches that it had committed: it was set back to an older state, by a restore
 * or a failover to a standby that lagged. Going on would leave a hole.
 */
export class RewoundError extends TarboxError {
  override readonly name = "RewoundError";

  constructor(workspace: string) {
    super(
      `workspace ${workspace}: the database has lost commits that it had confirmed; ` +
        "nothing more can be written from here",
      "unmount, and mount again to go on from what it has; see synchronous_standby_names",
    );
  }
}

/** Somebody holds the workspace. */
export class HeldError extends TarboxError {
  override readonly name = "HeldError";
}

/** The database cannot be reached or broke the connection; the same call may succeed later. */
export class UnavailableError extends TarboxError {
  override readonly name = "UnavailableError";
}

/** The server is there and the database is not. */
export class DatabaseMissingError extends TarboxError {
  override readonly name = "DatabaseMissingError";
}
