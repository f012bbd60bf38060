import { randomBytes } from "node:crypto";
import { hex } from "../base/bytes.ts";
import { nowNanoseconds } from "../base/clock.ts";
import { TarboxError } from "../base/errors.ts";
import { walk } from "../layer/file.ts";
import type { ChangesetRow, LayerRow, Point, WorkspaceRow } from "../store/rows.ts";
import { checkName } from "../store/names.ts";
import type { Store } from "../store/store.ts";
import { type Member, openArchive } from "./archive.ts";
import { decompress, packingOf } from "./compression.ts";
import { configToKeep } from "./image_documents.ts";
import type { ImageChoice, SourceImage, SourceLayer } from "./image_manifest.ts";
import { checkDigest, openImage } from "./image_source.ts";
import { ImportTree } from "./import_tree.ts";
import { LineageWriter } from "./lineage_writer.ts";
import { samePoint } from "./pack.ts";
import { Digester, fileBytes, withSpool } from "./spool.ts";
import { readTar } from "./tar_reader.ts";

/** What to take of an archive, under which names, and when to give up. */
export interface ImportOptions extends ImageChoice {
  /** Put before the names that the image gives its layers. */
  readonly prefix: string;
  /** The source is a plain tar (or packed tar), and this is its layer's name. */
  readonly name: string | null;
  /** Unpacked bytes above which an archive counts as a bomb. */
  readonly maxBytes: number;
  /** Files above which an archive counts as a bomb: each takes memory while it is read. */
  readonly maxEntries: number;
  /** Told of layers that were there already. */
  readonly notice: (message: string) => void;
  /** Told of packed bytes that were applied, of how many in all (NaN: nobody knows). */
  readonly applied: (bytes: number, of: number) => void;
}

/** Limits that no honest image meets. */
export const IMPORT_DEFAULTS: ImportOptions = {
  prefix: "",
  name: null,
  image: null,
  platform: null,
  maxBytes: 2 ** 40,
  maxEntries: 20_000_000,
  notice: () => {},
  applied: () => {},
};

/**
 * Adds the layers of an image archive to a workspace, beside what is there: no head is touched. All
 * or nothing: every digest is verified, and on any failure what was written is removed again.
 *
 * @param source A stream, or the path of an archive or of an image layout directory.
 * @returns The image's layers, the bottom one first; those that the workspace had already are the
 * ones it had.
 * @throws {TarboxError} saying what is wrong with the archive, or which layer name is taken.
 */
export async function importImage(
  store: Store,
  workspace: WorkspaceRow,
  source: AsyncIterable<Uint8Array> | string,
  options: ImportOptions = IMPORT_DEFAULTS,
): Promise<LayerRow[]> {
  return await withSpool(async (spool) => {
    const image = options.name === null
      ? await openImage(await openArchive(source, spool, options.maxBytes), options)
      : { layers: [plainLayer(source, options.name)], config: null };
    return await importLayers(store, workspace, image, options);
  });
}

/**
 * Adds the layers of an image to a workspace, as {@link importImage} does. Layers that the store has
 * from before, told by their diff_ids from the bottom up, are not fetched.
 */
export async function importLayers(
  store: Store,
  workspace: WorkspaceRow,
  image: SourceImage,
  options: ImportOptions,
): Promise<LayerRow[]> {
  const all = await store.layers();
  const present = await presentStates(store, workspace, all, image.layers);
  const named = nameLayers(workspace, all, image.layers, present, options.prefix);
  if (present.length > 0) {
    options.notice(`${present.length} of ${image.layers.length} layers are there already`);
  }
  const fetched: Member[] = [];
  for (const layer of image.layers.slice(present.length)) fetched.push(await layer.fetch());
  const made = await addLayers(store, workspace, image, present, named, fetched, options);
  const byName = new Map(made.map((layer) => [layer.name, layer]));
  return named.map(({ name, existing }) => existing ?? byName.get(name)!);
}

/** A tar without an image around it; there is nothing to verify it by. */
function plainLayer(source: AsyncIterable<Uint8Array> | string, name: string): SourceLayer {
  const open = async function* () {
    yield* typeof source === "string" ? fileBytes(source) : source;
  };
  const fetch = async () => ({ size: NaN, open });
  return { fetch, packed: null, diffId: null, name, message: "", createdAt: null };
}

/**
 * The states of the image's lower layers that the tenant has: from the bottom up, as long as a layer
 * is known that came of the same changeset on the same state.
 */
async function presentStates(
  store: Store,
  workspace: WorkspaceRow,
  all: readonly LayerRow[],
  layers: readonly SourceLayer[],
): Promise<Point[]> {
  const diffIds = layers.map(({ diffId }) => diffId).filter((diffId) => diffId !== null);
  const known = await store.changesetsOf([...new Set(diffIds)]);
  const out: Point[] = [];
  for (const { diffId } of layers) {
    const states = known.filter((row) =>
      row.diffId === diffId && samePoint(row.below, out.at(-1) ?? null)
    ).map(({ point }) => point);
    // What no layer names may be reclaimed at any moment.
    const alive = all.filter((layer) => states.some((point) => samePoint(point, layer.point)));
    const found = alive.find((layer) => layer.workspace === workspace.id) ?? alive[0];
    if (found === undefined) break;
    out.push(found.point);
  }
  return out;
}

/** A layer of an image: the name that it gets, or the layer of the workspace that it is. */
interface NamedLayer {
  readonly name: string;
  readonly existing: LayerRow | null;
}

/**
 * The names of the layers: the image's own where they are legal, else a free `layer-N`; each once.
 *
 * @throws {TarboxError} when a name is taken by a layer that is another.
 */
function nameLayers(
  workspace: WorkspaceRow,
  all: readonly LayerRow[],
  layers: readonly SourceLayer[],
  present: readonly Point[],
  prefix: string,
): NamedLayer[] {
  const own = new Map(
    all.filter((layer) => layer.workspace === workspace.id).map((layer) => [layer.name, layer]),
  );
  const used = new Set<string>();
  return layers.map(({ name, diffId }, i): NamedLayer => {
    // The name of a plain tar was typed by somebody, who wants to hear that it is not legal.
    const usable = name !== null && (diffId === null || isName(prefix + name));
    const wanted = usable ? prefix + name : `${prefix}layer-${i + 1}`;
    const point = present[i];
    const existing = point === undefined
      ? undefined
      : [...own.values()].find((layer) =>
        samePoint(layer.point, point) && (!usable || layer.name === wanted) && !used.has(layer.name)
      );
    if (existing !== undefined) {
      used.add(existing.name);
      return { name: existing.name, existing };
    }
    let unique = wanted;
    for (let n = 2; used.has(unique) || (!usable && own.has(unique)); n++) {
      unique = `${wanted}-${n}`;
    }
    checkName("layer", unique);
    if (own.has(unique)) {
      throw new TarboxError(
        `import: workspace ${workspace.name} has a layer ${unique} already`,
        "give the new ones other names with --prefix, or import into another --workspace",
      );
    }
    used.add(unique);
    return { name: unique, existing: null };
  });
}

function isName(name: string): boolean {
  try {
    checkName("layer", name);
    return true;
  } catch {
    return false;
  }
}

async function addLayers(
  store: Store,
  workspace: WorkspaceRow,
  image: SourceImage,
  present: readonly Point[],
  named: readonly NamedLayer[],
  fetched: readonly Member[],
  options: ImportOptions,
): Promise<LayerRow[]> {
  const below = present.at(-1) ?? null;
  const points = [...present];
  const changesets: ChangesetRow[] = [];
  const now = nowNanoseconds();
  const lineages: number[] = [];
  let writer: LineageWriter | null = null;
  try {
    if (fetched.length > 0) {
      const first = await store.openLineage(below);
      lineages.push(first.lineage);
      const next = await store.counters(first.lineage);
      writer = new LineageWriter(store, first, {
        nextInode: Math.max(2, next.nextInode),
        nextCookie: Math.max(1, next.nextCookie),
      });
      const tree = below === null
        ? ImportTree.empty(writer, now)
        : await ImportTree.standingOn(writer, now, walk(store, await store.chain(below)));
      const bounds = new Bounds(options);
      const total = fetched.reduce((sum, { size }) => sum + size, 0);
      const watched = (blob: Member): Member => ({
        size: blob.size,
        async *open() {
          for await (const chunk of blob.open()) {
            options.applied(chunk.length, total);
            yield chunk;
          }
        },
      });
      for (const [i, blob] of fetched.entries()) {
        const at = present.length + i;
        const layer = image.layers[at]!;
        const time = layer.createdAt === null
          ? now
          : BigInt(layer.createdAt.getTime()) * 1_000_000n;
        const name = layer.diffId === null ? "the archive" : `layer ${at + 1} (${named[at]!.name})`;
        tree.beginLayer(name, time, layer.diffId === null);
        const packing = await applyLayer(tree, layer, watched(blob), name, bounds);
        points.push(await writer.advance());
        if (layer.diffId !== null) {
          changesets.push({
            below: points.at(-2) ?? null,
            point: points.at(-1)!,
            diffId: layer.diffId,
            packing,
            // Docker's archives tell the digest of the unpacked tar alone.
            ...layer.packed ?? { digest: packing === "none" ? layer.diffId : "", size: blob.size },
            repositories: [],
          });
        }
      }
    }
    return await publishLayers(store, workspace, image, points, named, changesets, now);
  } catch (error) {
    await writer?.settle();
    if (lineages.length > 0) await store.discardLineages(lineages);
    throw error;
  }
}

/** Gives the states names that were not there; what is known of them as images goes with them. */
async function publishLayers(
  store: Store,
  workspace: WorkspaceRow,
  { layers, config }: SourceImage,
  points: readonly Point[],
  named: readonly NamedLayer[],
  changesets: readonly ChangesetRow[],
  now: bigint,
): Promise<LayerRow[]> {
  const uids = named.map(({ existing }) => existing?.uid ?? hex(randomBytes(16)));
  const fresh = layers.flatMap(({ message, createdAt }, i) =>
    named[i]!.existing !== null ? [] : [{
      uid: uids[i]!,
      name: named[i]!.name,
      message,
      createdAt: createdAt ?? new Date(Number(now / 1_000_000n)),
      point: points[i]!,
      parent: uids[i - 1] ?? null,
    }]
  );
  // Before the names are there, so that whoever sees them finds all of it.
  if (changesets.length > 0) await store.noteChangesets(changesets);
  const keep = configToKeep(config);
  if (keep !== null) await store.noteImageConfig(points.at(-1)!, keep);
  return fresh.length === 0 ? [] : await store.publish(workspace.id, fresh);
}

async function applyLayer(
  tree: ImportTree,
  layer: SourceLayer,
  blob: Member,
  name: string,
  bounds: Bounds,
): Promise<string> {
  const digester = new Digester();
  let packing = "";
  const packed = (async function* () {
    for await (const chunk of blob.open()) {
      if (packing === "") packing = packingOf(chunk);
      yield chunk;
    }
  })();
  const tar = digester.of(bounds.bytes(decompress(packed, name)));
  try {
    // A digest vouches for every byte of an image's layer; a plain tar has only its end mark.
    const endMark = layer.diffId === null;
    for await (const member of readTar(tar, { name, endMark })) {
      bounds.entry();
      await tree.apply(member);
    }
    for await (const _ of tar);
  } finally {
    await tar.return(undefined);
  }
  if (layer.diffId !== null) {
    checkDigest(`${name}, unpacked,`, digester.result().digest, layer.diffId);
  }
  return packing;
}

/** Counts what an archive unpacks to, over all its layers. */
class Bounds {
  #bytes = 0;
  #entries = 0;

  constructor(private readonly options: ImportOptions) {}

  async *bytes(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      this.#bytes += chunk.length;
      if (this.#bytes > this.options.maxBytes) {
        throw new TarboxError(
          `the archive unpacks to more than ${this.options.maxBytes} bytes`,
          "if you trust it, allow more with --max-bytes",
        );
      }
      yield chunk;
    }
  }

  entry(): void {
    if (++this.#entries <= this.options.maxEntries) return;
    throw new TarboxError(
      `the archive has more than ${this.options.maxEntries} entries`,
      "if you trust it, allow more with --max-entries",
    );
  }
}
