import { EEXIST, ENOENT } from "../base/errno.ts";
import { TarboxError } from "../base/errors.ts";
import { hex } from "../base/bytes.ts";
import { nowNanoseconds } from "../base/clock.ts";
import { type LayerRow, type Point, ROOT_INODE, type WorkspaceRow } from "../store/rows.ts";
import type { Store } from "../store/store.ts";
import { ancestry } from "./chains.ts";
import { merge, type MergeAction, mergeBase, type MergeConflict } from "./merge.ts";
import { absolutePath } from "./paths.ts";
import { requireWorkspace, resolve } from "./references.ts";
import { restoration } from "./restore.ts";

/** Tries to find a name that nobody took in between. */
const NAME_ATTEMPTS = 5;

/** What a change of the head did. */
export interface Switched {
  /** The layer that the head stands on now. */
  readonly layer: LayerRow;
  /** The layer that took what was unsealed; null when nothing was, or it was discarded. */
  readonly saved: LayerRow | null;
}

/** 32 random hexadecimal digits: the id of a new layer. */
export function newUid(): string {
  return hex(crypto.getRandomValues(new Uint8Array(16)));
}

/**
 * Seals the head of a workspace. Without a name: `ckpt-N`, N one above the highest there.
 * What a mount holds unwritten must be flushed before by its holder. O(1) in the size of the tree.
 * @throws {TarboxError} when the name is taken or invalid. @throws {FencedError}
 */
export async function checkpoint(
  store: Store,
  workspace: WorkspaceRow,
  epoch: number | null,
  { name, message = "" }: { readonly name?: string; readonly message?: string } = {},
): Promise<LayerRow> {
  if (name !== undefined) {
    return (await store.seal(workspace.id, epoch, { uid: newUid(), name, message })).layer;
  }
  return await sealUnder(
    store,
    workspace,
    epoch,
    message,
    async () => `ckpt-${await store.highestNumber(workspace.id, "ckpt") + 1}`,
  );
}

/** Seals under a chosen name; chooses again when another took it meanwhile. */
async function sealUnder(
  store: Store,
  workspace: WorkspaceRow,
  epoch: number | null,
  message: string,
  choose: () => Promise<string>,
): Promise<LayerRow> {
  let last = "";
  for (let attempt = 1;; attempt++) {
    const name = await choose();
    try {
      return (await store.seal(workspace.id, epoch, { uid: newUid(), name, message })).layer;
    } catch (error) {
      const raced = error instanceof TarboxError && error.systemErrno === EEXIST && name !== last &&
        attempt < NAME_ATTEMPTS;
      if (!raced) throw error;
      last = name;
    }
  }
}

/** Seals the head as `auto-YYYYMMDD-HHMMSS` (UTC). */
export async function autoCheckpoint(
  store: Store,
  workspace: WorkspaceRow,
  epoch: number | null,
  message: string,
): Promise<LayerRow> {
  const now = new Date(Number(nowNanoseconds() / 1_000_000n)).toISOString();
  const stem = `auto-${now.slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "-")}`;
  return await sealUnder(store, workspace, epoch, message, async () => {
    const [same, highest] = await Promise.all([
      store.layerNamed(workspace.id, stem),
      store.highestNumber(workspace.id, stem),
    ]);
    if (same?.workspace !== workspace.id && highest === 0) return stem;
    return `${stem}-${Math.max(highest, 1) + 1}`;
  });
}

/**
 * Whether the head differs from the layer below it. More than `headChanged`: when the newest layer
 * was dropped its changes belong to the head, though they were not made since it was opened.
 */
export async function unsealed(store: Store, workspace: WorkspaceRow): Promise<boolean> {
  const [changed, row] = await Promise.all([
    store.headChanged(workspace.id),
    requireWorkspace(store, workspace.name),
  ]);
  const { head } = row;
  const base = row.base === null ? null : (await store.layer(row.base))?.point ?? null;
  if (base === null) return !await isFresh(store, head);
  if (changed) return true;
  const after = base.lineage === head.lineage ? base.ordinal : -1;
  if (after >= head.ordinal - 1) return false;
  const keys = await store.changedKeys(head.lineage, after, head.ordinal);
  return keys.inodes.length + keys.dentries.length > 0;
}

/** Whether a head on nothing is the empty tree that a new workspace has. */
async function isFresh(store: Store, head: Point): Promise<boolean> {
  const chain = await store.chain(head);
  if ((await store.list(chain, ROOT_INODE, 0, 1)).length > 0) return false;
  const keys = await store.changedKeys(head.lineage, -1, head.ordinal);
  if (keys.dentries.length > 0 || keys.inodes.some((inode) => inode !== ROOT_INODE)) return false;
  const [root] = await store.inodes(chain, [ROOT_INODE]);
  return root !== undefined && root.ctime === root.btime;
}

/**
 * Puts a fresh head on a layer. What is unsealed is sealed before as `auto-…`, unless `discard`.
 * @throws {TarboxError} when the reference names no sealed layer. @throws {FencedError}
 */
export async function switchTo(
  store: Store,
  workspace: WorkspaceRow,
  epoch: number | null,
  ref: string,
  { discard = false }: { readonly discard?: boolean } = {},
): Promise<Switched> {
  // Resolved first: `head~1` is meant as it is now, not below the automatic layer.
  const { layer } = await resolve(store, workspace.name, ref);
  if (layer === null) {
    throw new TarboxError(
      `switch to ${ref}: the head is no sealed layer`,
      "`tarbox checkpoint` seals it",
    );
  }
  return await standOn(store, workspace, epoch, layer, discard);
}

async function standOn(
  store: Store,
  workspace: WorkspaceRow,
  epoch: number | null,
  layer: LayerRow,
  discard: boolean,
): Promise<Switched> {
  const saved = !discard && await unsealed(store, workspace)
    ? await autoCheckpoint(store, workspace, epoch, `before switching to ${layer.name}`)
    : null;
  await store.setHead(workspace.id, epoch, layer);
  return { layer, saved };
}

/**
 * Takes back what was done since the last layer; when nothing was, the last layer itself: the head
 * then stands on the layer below it. What is taken back stays as a layer, so nothing is lost.
 * @throws {TarboxError} when there is nothing below.
 */
export async function undo(
  store: Store,
  workspace: WorkspaceRow,
  epoch: number | null,
): Promise<Switched> {
  const row = await requireWorkspace(store, workspace.name);
  const steps = await unsealed(store, row) ? 0 : 1;
  const target = row.base === null ? null : await store.layerBelow(row.base, steps);
  if (target === null) {
    throw new TarboxError("undo: there is no layer below", "`tarbox layers` shows the chain", 1, {
      errno: ENOENT,
    });
  }
  return await standOn(store, row, epoch, target, false);
}

/**
 * Makes paths of the head what they are in the state that a reference names, with everything below
 * them. What is unsealed is sealed before as `auto-…`, so that `undo` brings it back.
 * @throws {TarboxError} when that state has no such path. @throws {FencedError}
 */
export async function restore(
  store: Store,
  workspace: WorkspaceRow,
  epoch: number | null,
  ref: string,
  paths: readonly string[],
): Promise<{ readonly from: string; readonly changes: number; readonly saved: LayerRow | null }> {
  if (paths.length === 0) throw new TarboxError("restore: no path given", undefined, 2);
  const { point, label } = await resolve(store, workspace.name, ref);
  const { head } = await requireWorkspace(store, workspace.name);
  const [from, to] = await Promise.all([store.chain(point), store.chain(head)]);
  const { batch, changes } = await restoration(
    store,
    { chain: from, label },
    { chain: to },
    paths.map(absolutePath),
  );
  if (batch === null) return { from: label, changes: 0, saved: null };
  const saved = await unsealed(store, workspace)
    ? await autoCheckpoint(store, workspace, epoch, `before restoring from ${label}`)
    : null;
  const sealed = (await requireWorkspace(store, workspace.name)).head;
  await store.amend(workspace.id, epoch, sealed, batch);
  return { from: label, changes: changes.length, saved };
}

/** What {@link mergeInto} did, or would do. */
export interface Merged {
  readonly from: string;
  readonly actions: readonly MergeAction[];
  readonly conflicts: readonly MergeConflict[];
  readonly saved: LayerRow | null;
}

/**
 * Merges the state that a reference names into the head ({@link merge}). What is unsealed is sealed
 * before as `auto-…`, so that `undo` brings it back. `dryRun`: only tells.
 * @throws {FencedError}
 */
export async function mergeInto(
  store: Store,
  workspace: WorkspaceRow,
  epoch: number | null,
  ref: string,
  { dryRun = false }: { readonly dryRun?: boolean } = {},
): Promise<Merged> {
  const { point, label, workspace: other } = await resolve(store, workspace.name, ref);
  const from = other.id === workspace.id ? label : `${other.name}/${label}`;
  const { head } = await requireWorkspace(store, workspace.name);
  const [ours, theirs] = await Promise.all([store.chain(head), store.chain(point)]);
  const base = await mergeBase(store, ours, theirs);
  const result = await merge(store, { base, ours, theirs, label: from });
  const { actions, conflicts, batch } = result;
  if (dryRun || batch === null) return { from, actions, conflicts, saved: null };
  const saved = await unsealed(store, workspace)
    ? await autoCheckpoint(store, workspace, epoch, `before merging ${from}`)
    : null;
  const sealed = (await requireWorkspace(store, workspace.name)).head;
  await store.amend(workspace.id, epoch, sealed, batch);
  return { from, actions, conflicts, saved };
}

/**
 * A new workspace on what a reference names, O(1). `head` with something unsealed is sealed first as
 * `auto-…`, which needs the workspace's epoch (or that nobody holds it).
 * @throws {TarboxError} when the name is taken, or for another workspace's unsealed head.
 */
export async function fork(
  store: Store,
  workspace: WorkspaceRow,
  epoch: number | null,
  { name, from = "head" }: { readonly name: string; readonly from?: string },
): Promise<WorkspaceRow> {
  const resolved = await resolve(store, workspace.name, from);
  let layer = resolved.layer;
  if (layer === null) {
    const source = resolved.workspace;
    if (await store.workspace(name) !== null) {
      throw new TarboxError(`workspace ${name}: the name is taken`, "choose another");
    }
    const dirty = await unsealed(store, source);
    if (!dirty) {
      layer = source.base === null ? null : await store.layer(source.base);
    } else if (source.id === workspace.id) {
      layer = await autoCheckpoint(store, source, epoch, `for the fork ${name}`);
    } else {
      throw new TarboxError(
        `fork from ${from}: that head is not sealed`,
        `\`tarbox --workspace ${source.name} checkpoint\` seals it`,
      );
    }
  }
  // The root of a workspace on a layer is that layer's; these values serve an empty tree only.
  return await store.createWorkspace(name, layer, { uid: 0, gid: 0, time: nowNanoseconds() });
}

/** Gives a layer another name. @throws {TarboxError} when it is taken or invalid. */
export async function rename(
  store: Store,
  workspace: string,
  ref: string,
  name: string,
): Promise<LayerRow> {
  const layer = await requireLayer(store, workspace, ref);
  await store.renameLayer(layer.id, name);
  return { ...layer, name };
}

/** Forgets a layer; what stands on it keeps its state. @throws {TarboxError} for the head. */
export async function drop(store: Store, workspace: string, ref: string): Promise<LayerRow> {
  const layer = await requireLayer(store, workspace, ref);
  await store.dropLayers([layer.id]);
  return layer;
}

/**
 * Joins the layers after A up to and with B into one, which keeps B's name and state.
 * @returns how many layers were forgotten. @throws {TarboxError} unless A is below B.
 */
export async function squash(
  store: Store,
  workspace: string,
  range: string,
): Promise<{ readonly layer: LayerRow; readonly squashed: number }> {
  const match = /^(.+?)\.\.(.+)$/s.exec(range);
  if (match === null) {
    throw new TarboxError(`squash ${range}: no range`, "write it as A..B", 2);
  }
  const from = await requireLayer(store, workspace, match[1]!);
  const to = await requireLayer(store, workspace, match[2]!);
  const chain = ancestry(await store.layers(), to.id);
  const end = chain.findIndex((layer) => layer.id === from.id);
  if (end < 0) {
    throw new TarboxError(
      `squash ${range}: ${from.name} is not below ${to.name}`,
      "the older layer comes first",
    );
  }
  const between = chain.slice(1, Math.max(1, end)).map((layer) => layer.id);
  if (between.length > 0) await store.dropLayers(between);
  return { layer: to, squashed: between.length };
}

/** The sealed layer that a reference names. @throws {TarboxError} for an unsealed head. */
export async function requireLayer(
  store: Store,
  workspace: string,
  ref: string,
): Promise<LayerRow> {
  const { layer } = await resolve(store, workspace, ref);
  if (layer !== null) return layer;
  throw new TarboxError(
    `reference ${ref}: the head is no sealed layer`,
    "`tarbox checkpoint` seals it",
  );
}
