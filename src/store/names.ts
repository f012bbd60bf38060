import { EBUSY, EEXIST } from "../base/errno.ts";
import { TarboxError } from "../base/errors.ts";
import type { LayerRow } from "./rows.ts";
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

/** Why layers cannot be published in a workspace beside those that are there; null: they can. */
export function publishRefusal(
  there: Iterable<LayerRow>,
  workspace: number,
  layers: readonly {
    readonly name: string;
    readonly uid: string;
    readonly parent: string | null;
  }[],
): TarboxError | null {
  const names = new Set<string>();
  const uids = new Set<string>();
  for (const layer of there) {
    uids.add(layer.uid);
    if (layer.workspace === workspace) names.add(layer.name);
  }
  for (const { name, uid, parent } of layers) {
    if (names.has(name)) return nameTaken("layer", name);
    if (uids.has(uid)) {
      return new TarboxError(
        `layer ${name}: its id is there already`,
        "`tarbox layers --tree` shows it",
      );
    }
    if (parent !== null && !uids.has(parent)) {
      return new TarboxError(`layer ${name}: the layer below it is not there`);
    }
    names.add(name);
    uids.add(uid);
  }
  return null;
}

/** The error for a workspace that was deleted. */
export function workspaceGone(): TarboxError {
  return new TarboxError("the workspace does not exist any more");
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
