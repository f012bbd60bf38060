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

/** The database cannot be reached or broke the connection; the same call may succeed later. */
export class UnavailableError extends TarboxError {
  override readonly name = "UnavailableError";
}
