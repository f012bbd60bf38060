import { ENOENT } from "../base/errno.ts";
import { TarboxError } from "../base/errors.ts";
import type { LayerRow, Point, WorkspaceRow } from "../store/rows.ts";
import type { Store } from "../store/store.ts";
import { ancestry } from "./chains.ts";
import { formatTime } from "./format.ts";

/** What a reference names. */
export interface Resolved {
  readonly point: Point;
  /** Null for the unsealed head. */
  readonly layer: LayerRow | null;
  /** The workspace in which the reference was looked up. */
  readonly workspace: WorkspaceRow;
  /** What listings and diff labels call it: the layer's name, or `head`. */
  readonly label: string;
}

/** Fewest digits that count as an id prefix. */
const MIN_PREFIX = 4;

/**
 * The workspace of this name.
 * @throws {TarboxError} when there is none, with the nearest name.
 */
export async function requireWorkspace(store: Store, name: string): Promise<WorkspaceRow> {
  const row = await store.workspace(name);
  if (row !== null) return row;
  const names = (await store.workspaces()).map((workspace) => workspace.name);
  throw new TarboxError(
    `workspace ${name}: there is none of that name`,
    suggest(name, names) ?? "`tarbox workspace list` shows them",
    1,
    { errno: ENOENT },
  );
}

/**
 * What a reference names, seen from a workspace: a layer's name, a prefix of its id (4 digits or
 * more), `head`, `@{TIME}` (the last layer sealed at or before that local or ISO time), each with
 * `~N` for the Nth below it, and `WORKSPACE/REF` for another workspace (spec/layers.md).
 * A name is looked for among the workspace's own layers first, then among those its head stands on.
 * @throws {TarboxError} when nothing or more than one thing is named.
 */
export async function resolve(store: Store, workspace: string, ref: string): Promise<Resolved> {
  const row = await requireWorkspace(store, workspace);
  const layers = await store.layers();
  const own = layers.filter((layer) => layer.workspace === row.id);
  const chain = ancestry(layers, row.base);
  // A name as a whole wins over every other reading of it.
  const exact = named(own, chain, ref);
  if (exact !== null) return sealed(row, exact);

  const slash = ref.indexOf("/");
  if (slash > 0 && !ref.startsWith("@{")) {
    return await resolve(store, ref.slice(0, slash), ref.slice(slash + 1));
  }
  const match = /^(.*?)(?:~(\d*))?$/s.exec(ref)!;
  const base = match[1]!;
  const steps = match[2] === undefined ? 0 : match[2] === "" ? 1 : Number(match[2]);
  if (base === "head") {
    if (steps === 0) return { point: row.head, layer: null, workspace: row, label: "head" };
    const layer = chain[steps - 1];
    if (layer === undefined) throw tooFar(ref, chain.length);
    return sealed(row, layer);
  }
  const start = base.startsWith("@{") && base.endsWith("}")
    ? atTime(base, own, chain)
    : named(own, chain, base) ?? byPrefix(base, own, layers) ??
      missing(base, [...own, ...chain].map((layer) => layer.name));
  const layer = steps === 0 ? start : ancestry(layers, start.id)[steps];
  if (layer === undefined) throw tooFar(ref, ancestry(layers, start.id).length - 1);
  return sealed(row, layer);
}

function sealed(workspace: WorkspaceRow, layer: LayerRow): Resolved {
  return { point: layer.point, layer, workspace, label: layer.name };
}

function named(
  own: readonly LayerRow[],
  chain: readonly LayerRow[],
  name: string,
): LayerRow | null {
  return own.find((layer) => layer.name === name) ??
    chain.find((layer) => layer.name === name) ?? null;
}

/** @throws {TarboxError} when the prefix fits several layers. */
function byPrefix(
  prefix: string,
  own: readonly LayerRow[],
  all: readonly LayerRow[],
): LayerRow | null {
  if (prefix.length < MIN_PREFIX || !/^[0-9a-f]+$/i.test(prefix)) return null;
  const digits = prefix.toLowerCase();
  // Ids are of the whole tenant, so a prefix may name a layer of any workspace.
  const near = own.filter((layer) => layer.uid.startsWith(digits));
  const fitting = near.length > 0 ? near : all.filter((layer) => layer.uid.startsWith(digits));
  if (fitting.length <= 1) return fitting[0] ?? null;
  throw new TarboxError(
    `reference ${prefix}: fits ${fitting.length} layers`,
    "give more digits: " +
      fitting.slice(0, 8).map((layer) => `${layer.uid.slice(0, 12)} ${layer.name}`).join(", "),
  );
}

/** @throws {TarboxError} for a time that cannot be read, or before the first layer. */
function atTime(ref: string, own: readonly LayerRow[], chain: readonly LayerRow[]): LayerRow {
  const written = ref.slice(2, -1).trim();
  // A date alone is read as local midnight as well, where Date would take it for UTC.
  const iso = /^\d{4}-\d{2}-\d{2}$/.test(written) ? `${written}T00:00` : written.replace(" ", "T");
  const time = /^\d{4}-\d{2}-\d{2}T/.test(iso) ? Date.parse(iso) : NaN;
  if (Number.isNaN(time)) {
    throw new TarboxError(
      `reference ${ref}: cannot read the time ${JSON.stringify(written)}`,
      "write it as @{2026-01-15 10:30} (local time) or @{2026-01-15T10:30:00Z}",
    );
  }
  let best: LayerRow | null = null;
  for (const layer of [...chain, ...own]) {
    const sealedAt = layer.createdAt.getTime();
    if (sealedAt > time) continue;
    const newer = best === null || sealedAt > best.createdAt.getTime() ||
      (sealedAt === best.createdAt.getTime() && layer.id > best.id);
    if (newer) best = layer;
  }
  if (best !== null) return best;
  throw new TarboxError(
    `reference ${ref}: no layer was sealed at or before ${formatTime(new Date(time))}`,
    "`tarbox layers` shows when each was sealed",
    1,
    { errno: ENOENT },
  );
}

function missing(ref: string, names: readonly string[]): never {
  throw new TarboxError(
    `reference ${ref}: there is no such layer`,
    suggest(ref, names) ?? "`tarbox layers` shows what there is",
    1,
    { errno: ENOENT },
  );
}

function tooFar(ref: string, below: number): TarboxError {
  return new TarboxError(
    `reference ${ref}: there are only ${below} layers below`,
    "`tarbox layers` shows them",
    1,
    { errno: ENOENT },
  );
}

/** A hint that names what is close enough to be meant, else undefined. */
function suggest(wrong: string, names: readonly string[]): string | undefined {
  const near = [...new Set(names)]
    .map((name) => ({ name, distance: editDistance(wrong, name) }))
    .filter(({ name, distance }) => distance <= Math.max(2, name.length / 3))
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map(({ name }) => name);
  return near.length === 0 ? undefined : `did you mean ${near.join(" or ")}?`;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, swap));
    }
    row = next;
  }
  return row[b.length]!;
}

/**
 * Splits `[REF:]PATH`. What starts with `/` or `./`, or holds no colon outside `@{…}`, is a path of
 * the head.
 */
export function splitReference(argument: string): { ref: string; path: string } {
  if (!argument.startsWith("/") && !argument.startsWith("./")) {
    const time = argument.indexOf("@{");
    const from = time < 0 ? 0 : Math.max(0, argument.indexOf("}", time));
    const colon = argument.indexOf(":", from);
    if (colon > 0) return { ref: argument.slice(0, colon), path: argument.slice(colon + 1) };
  }
  return { ref: "head", path: argument };
}
