import { EBUSY, EEXIST } from "../base/errno.ts";
import { TarboxError } from "../base/errors.ts";
import { HeldError } from "./errors.ts";

/**
 * Holds the rule for names of workspaces, layers and tenants: 1 to 128 letters, digits, `.`, `_`,
 * `+` and `-`, the first a letter or digit, and not `head`. So no reference is ever ambiguous, and
 * a name is fit for a file name and an image reference.
 * @throws {TarboxError} for any other
 */
export function checkName(kind: "workspace" | "layer" | "tenant", name: string): void {
  if (/^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$/.test(name) && name !== "head") return;
  throw new TarboxError(
    `${kind} ${JSON.stringify(name)}: not a name`,
    "use 1 to 128 letters, digits, `.`, `_`, `+` and `-`, the first a letter or a digit; not `head`",
  );
}

/** The error for a name that is taken. */
export function nameTaken(kind: "workspace" | "layer", name: string): TarboxError {
  return new TarboxError(`${kind} ${name}: the name is taken`, "choose another name", 1, {
    errno: EEXIST,
  });
}

/** The error for a workspace that somebody holds. */
export function leaseHeld(
  workspace: string,
  holder: { readonly host: string; readonly pid: number; readonly mountPoint: string | null },
): HeldError {
  const where = holder.mountPoint === null ? "" : ` at ${holder.mountPoint}`;
  return new HeldError(
    `workspace ${workspace}: it is held by process ${holder.pid} on ${holder.host}${where}`,
    "unmount it there, or fork the workspace to work beside it",
    1,
    { errno: EBUSY },
  );
}
