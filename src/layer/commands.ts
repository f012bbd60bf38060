import { fromLatin1, text } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import type { LayerRow, WorkspaceRow } from "../store/rows.ts";
import type { Limits, Usage } from "../store/quotas.ts";
import type { Store } from "../store/store.ts";
import {
  autoCheckpoint,
  checkpoint,
  fork,
  mergeInto,
  restore,
  switchTo,
  undo,
  unsealed,
} from "./checkpoint.ts";

/** A layer as every JSON answer shows it. */
export interface LayerFacts {
  readonly name: string;
  readonly id: string;
  readonly createdAt: string;
  readonly message: string;
}

/** The facts of a layer. */
export function layerFacts(layer: LayerRow): LayerFacts {
  return {
    name: layer.name,
    id: layer.uid,
    createdAt: layer.createdAt.toISOString(),
    message: layer.message,
  };
}

/** What a workspace may hold, and its head holds. */
export interface QuotaFacts {
  readonly limits: Limits;
  readonly usage: Usage;
}

/** A command on a workspace: arguments and result are JSON. */
export type LayerCommand = (
  store: Store,
  workspace: WorkspaceRow,
  epoch: number | null,
  argument: unknown,
) => Promise<unknown>;

/**
 * Commands that need the workspace's holder. The holder flushes, calls one of these under its epoch,
 * and then reads the workspace's head again; without a holder the command line calls them itself.
 *
 * - `flush {}`: nothing beyond the flush. → `null`
 * - `checkpoint {name?, message?}` → {@link LayerFacts}
 * - `seal {message?}`: as `checkpoint`, named `auto-…`, only when something is unsealed
 *   → {@link LayerFacts} or null
 * - `switch {ref, discard?}`, `undo {}` → `{layer, saved}`
 * - `restore {ref, paths}` → `{from, changes, saved}`
 * - `merge {ref, dryRun?}` → `{from, actions, conflicts, saved}`, paths as `text` gives them
 * - `fork {name, from?}` → `{name}`
 * - `quota {}`, `quota {bytes, inodes}` (null: no bound): → {@link QuotaFacts}
 */
export const layerCommands: Readonly<Record<string, LayerCommand>> = {
  flush: () => Promise.resolve(null),
  async checkpoint(store, workspace, epoch, argument) {
    const { name, message } = fields(argument);
    return layerFacts(
      await checkpoint(store, workspace, epoch, {
        name: optionalText("name", name),
        message: optionalText("message", message),
      }),
    );
  },
  async seal(store, workspace, epoch, argument) {
    if (!await unsealed(store, workspace)) return null;
    const message = optionalText("message", fields(argument).message) ?? "";
    return layerFacts(await autoCheckpoint(store, workspace, epoch, message));
  },
  async switch(store, workspace, epoch, argument) {
    const { ref, discard } = fields(argument);
    const switched = await switchTo(store, workspace, epoch, requiredText("ref", ref), {
      discard: discard === true,
    });
    return {
      layer: layerFacts(switched.layer),
      saved: switched.saved === null ? null : layerFacts(switched.saved),
    };
  },
  async undo(store, workspace, epoch) {
    const { layer, saved } = await undo(store, workspace, epoch);
    return { layer: layerFacts(layer), saved: saved === null ? null : layerFacts(saved) };
  },
  async restore(store, workspace, epoch, argument) {
    const { ref, paths } = fields(argument);
    const wanted = Array.isArray(paths) ? paths : [paths];
    const { from, changes, saved } = await restore(
      store,
      workspace,
      epoch,
      requiredText("ref", ref),
      wanted.map((path) => requiredText("path", path)),
    );
    return { from, changes, saved: saved === null ? null : layerFacts(saved) };
  },
  async merge(store, workspace, epoch, argument) {
    const { ref, dryRun } = fields(argument);
    const { from, actions, conflicts, saved } = await mergeInto(
      store,
      workspace,
      epoch,
      requiredText("ref", ref),
      { dryRun: dryRun === true },
    );
    const shown = (path: string) => text(fromLatin1(path));
    return {
      from,
      actions: actions.map(({ kind, path }) => ({ kind, path: shown(path) })),
      conflicts: conflicts.map(({ path, why, file }) => ({
        path: shown(path),
        why,
        file: file === null ? null : shown(file),
      })),
      saved: saved === null ? null : layerFacts(saved),
    };
  },
  async quota(store, workspace, _epoch, argument): Promise<QuotaFacts> {
    const { bytes, inodes } = fields(argument);
    if (bytes !== undefined || inodes !== undefined) {
      await store.setLimits(workspace.id, {
        bytes: optionalCount("bytes", bytes),
        inodes: optionalCount("inodes", inodes),
      });
    }
    const limits = await store.limits(workspace.id);
    return { limits, usage: await store.usage(await store.chain(workspace.head)) };
  },
  async fork(store, workspace, epoch, argument) {
    const { name, from } = fields(argument);
    const made = await fork(store, workspace, epoch, {
      name: requiredText("name", name),
      from: optionalText("from", from),
    });
    return { name: made.name };
  },
};

/** Runs one of {@link layerCommands}. @throws {TarboxError} for a name that is none. */
export async function runLayerCommand(
  store: Store,
  workspace: WorkspaceRow,
  epoch: number | null,
  command: string,
  argument: unknown,
): Promise<unknown> {
  if (!Object.hasOwn(layerCommands, command)) {
    throw new TarboxError(`request ${command}: unknown to this version of tarbox`);
  }
  return await layerCommands[command]!(store, workspace, epoch, argument);
}

function fields(argument: unknown): Record<string, unknown> {
  return typeof argument === "object" && argument !== null
    ? argument as Record<string, unknown>
    : {};
}

function optionalText(field: string, value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "string") return value;
  throw new TarboxError(`${field}: a text is needed, not ${JSON.stringify(value)}`, undefined, 2);
}

function optionalCount(field: string, value: unknown): number | null {
  if (value === undefined || value === null) return null;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new TarboxError(`${field}: a number is needed, not ${JSON.stringify(value)}`, undefined, 2);
}

function requiredText(field: string, value: unknown): string {
  const given = optionalText(field, value);
  if (given === undefined) throw new TarboxError(`${field}: missing`, undefined, 2);
  return given;
}
