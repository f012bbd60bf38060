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

/** Most layers that the error for a prefix of several shows. */
const PREFIX_SHOWN = 8;

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
 * A few round trips by index, however many layers there are; `~N` costs the steps.
 * @throws {TarboxError} when nothing or more than one thing is named.
 */
export async function resolve(store: Store, workspace: string, ref: string): Promise<Resolved> {
  // No name of a layer holds a slash.
  const slash = ref.indexOf("/");
  if (slash > 0 && !ref.startsWith("@{")) {
    return await resolve(store, ref.slice(0, slash), ref.slice(slash + 1));
  }
  const row = await requireWorkspace(store, workspace);
  const match = /^(.*?)(?:~(\d*))?$/s.exec(ref)!;
  const base = match[1]!;
  const steps = match[2] === undefined ? 0 : match[2] === "" ? 1 : Number(match[2]);
  if (base === "head") {
    if (steps === 0) return { point: row.head, layer: null, workspace: row, label: "head" };
    const layer = row.base === null ? null : await store.layerBelow(row.base, steps - 1);
    return sealed(row, layer ?? await tooFar(store, ref, row.base));
  }
  const start = base.startsWith("@{") && base.endsWith("}")
    ? await atTime(store, row, base)
    : await store.layerNamed(row.id, base) ?? await byPrefix(store, row, base) ??
      await missing(store, row, base);
  if (steps === 0) return sealed(row, start);
  const layer = await store.layerBelow(start.id, steps);
  return sealed(row, layer ?? await tooFar(store, ref, start.parent));
}

function sealed(workspace: WorkspaceRow, layer: LayerRow): Resolved {
  return { point: layer.point, layer, workspace, label: layer.name };
}

/** @throws {TarboxError} when the prefix fits several layers. */
async function byPrefix(
  store: Store,
  { id }: WorkspaceRow,
  prefix: string,
): Promise<LayerRow | null> {
  if (prefix.length < MIN_PREFIX || !/^[0-9a-f]+$/i.test(prefix)) return null;
  // Ids are of the whole tenant, so a prefix may name a layer of any workspace.
  const fitting = await store.layersOfPrefix(id, prefix.toLowerCase(), PREFIX_SHOWN + 1);
  if (fitting.length <= 1) return fitting[0] ?? null;
  const count = fitting.length > PREFIX_SHOWN ? `more than ${PREFIX_SHOWN}` : fitting.length;
  throw new TarboxError(
    `reference ${prefix}: fits ${count} layers`,
    "give more digits: " +
      fitting.slice(0, PREFIX_SHOWN).map((layer) => `${layer.uid.slice(0, 12)} ${layer.name}`)
        .join(", "),
  );
}

/** @throws {TarboxError} for a time that cannot be read, or before the first layer. */
async function atTime(store: Store, { id }: WorkspaceRow, ref: string): Promise<LayerRow> {
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
  const layer = await store.layerAt(id, new Date(time));
  if (layer !== null) return layer;
  throw new TarboxError(
    `reference ${ref}: no layer was sealed at or before ${formatTime(new Date(time))}`,
    "`tarbox layers` shows when each was sealed",
    1,
    { errno: ENOENT },
  );
}

/** Reads all names, to tell which one may have been meant. */
async function missing(store: Store, row: WorkspaceRow, ref: string): Promise<never> {
  const layers = await store.layers();
  const names = [
    ...layers.filter(({ workspace }) => workspace === row.id),
    ...ancestry(layers, row.base),
  ]
    .map(({ name }) => name);
  throw new TarboxError(
    `reference ${ref}: there is no such layer`,
    suggest(ref, names) ?? "`tarbox layers` shows what there is",
    1,
    { errno: ENOENT },
  );
}

/** @param below the first layer below; null: there is none */
async function tooFar(store: Store, ref: string, below: number | null): Promise<never> {
  const count = ancestry(await store.layers(), below).length;
  throw new TarboxError(
    `reference ${ref}: there are only ${count} layers below`,
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
