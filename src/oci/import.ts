import { randomBytes } from "node:crypto";
import { hex } from "../base/bytes.ts";
import { nowNanoseconds } from "../base/clock.ts";
import { TarboxError } from "../base/errors.ts";
import type { LayerRow, Point, WorkspaceRow } from "../store/rows.ts";
import { checkName } from "../store/names.ts";
import type { Store } from "../store/store.ts";
import { openArchive } from "./archive.ts";
import { decompress } from "./compression.ts";
import { checkDigest, openImage, type SourceLayer } from "./image_source.ts";
import { ImportTree } from "./import_tree.ts";
import { LineageWriter } from "./lineage_writer.ts";
import { Digester, fileBytes, withSpool } from "./spool.ts";
import { readTar } from "./tar_reader.ts";

/** What to take of an archive, under which names, and when to give up. */
export interface ImportOptions {
  /** Put before the names that the image gives its layers. */
  readonly prefix: string;
  /** The source is a plain tar (or packed tar), and this is its layer's name. */
  readonly name: string | null;
  /** Which image of an archive with several: its reference. */
  readonly image: string | null;
  /** Unpacked bytes above which an archive counts as a bomb. */
  readonly maxBytes: number;
  /** Files above which an archive counts as a bomb: each takes memory while it is read. */
  readonly maxEntries: number;
}

/** Limits that no honest image meets. */
export const IMPORT_DEFAULTS: ImportOptions = {
  prefix: "",
  name: null,
  image: null,
  maxBytes: 2 ** 40,
  maxEntries: 20_000_000,
};

/**
 * Adds the layers of an image archive to a workspace, beside what is there: no head is touched. All
 * or nothing: every digest is verified, and on any failure what was written is removed again.
 *
 * @param source A stream, or the path of an archive or of an image layout directory.
 * @returns The new layers, the bottom one first.
 * @throws {TarboxError} saying what is wrong with the archive, or which layer name is taken.
 */
export async function importImage(
  store: Store,
  workspace: WorkspaceRow,
  source: AsyncIterable<Uint8Array> | string,
  options: ImportOptions = IMPORT_DEFAULTS,
): Promise<LayerRow[]> {
  return await withSpool(async (spool) => {
    const layers = options.name === null
      ? await openImage(await openArchive(source, spool, options.maxBytes), options.image)
      : [plainLayer(source, options.name)];
    const names = layerNames(layers, options.prefix);
    await checkNames(store, workspace, names);
    return await addLayers(store, workspace, layers, names, options);
  });
}

/** A tar without an image around it; there is nothing to verify it by. */
function plainLayer(source: AsyncIterable<Uint8Array> | string, name: string): SourceLayer {
  const open = async function* () {
    yield* typeof source === "string" ? fileBytes(source) : source;
  };
  return { blob: { size: NaN, open }, diffId: null, name, message: "", createdAt: null };
}

/** The names of the layers: the image's own where they are legal, else `layer-N`; each once. */
function layerNames(layers: readonly SourceLayer[], prefix: string): string[] {
  const taken = new Set<string>();
  return layers.map(({ name, diffId }, i) => {
    const generated = `${prefix}layer-${i + 1}`;
    // The name of a plain tar was typed by somebody, who wants to hear that it is not legal.
    const usable = name !== null && (diffId === null || isName(prefix + name));
    const wanted = usable ? prefix + name : generated;
    let unique = wanted;
    for (let n = 2; taken.has(unique); n++) unique = `${wanted}-${n}`;
    taken.add(unique);
    return unique;
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

async function checkNames(
  store: Store,
  workspace: WorkspaceRow,
  names: readonly string[],
): Promise<void> {
  for (const name of names) checkName("layer", name);
  const wanted = new Set(names);
  const taken = (await store.layers()).find((layer) =>
    layer.workspace === workspace.id && wanted.has(layer.name)
  );
  if (taken === undefined) return;
  throw new TarboxError(
    `import: workspace ${workspace.name} has a layer ${taken.name} already`,
    "give the new ones other names with --prefix, or import into another --workspace",
  );
}

async function addLayers(
  store: Store,
  workspace: WorkspaceRow,
  layers: readonly SourceLayer[],
  names: readonly string[],
  options: ImportOptions,
): Promise<LayerRow[]> {
  const first = await store.openLineage(null);
  const next = await store.counters(first.lineage);
  const writer = new LineageWriter(store, first, {
    nextInode: Math.max(2, next.nextInode),
    nextCookie: Math.max(1, next.nextCookie),
  });
  try {
    const now = nowNanoseconds();
    const tree = new ImportTree(writer, now);
    const bounds = new Bounds(options);
    const points: Point[] = [];
    for (const [i, layer] of layers.entries()) {
      const time = layer.createdAt === null ? now : BigInt(layer.createdAt.getTime()) * 1_000_000n;
      const name = layer.diffId === null ? "the archive" : `layer ${i + 1} (${names[i]})`;
      tree.beginLayer(name, time, layer.diffId === null);
      await applyLayer(tree, layer, name, bounds);
      points.push(await writer.advance());
    }
    const uids = layers.map(() => hex(randomBytes(16)));
    return await store.publish(
      workspace.id,
      layers.map(({ message, createdAt }, i) => ({
        uid: uids[i]!,
        name: names[i]!,
        message,
        createdAt: createdAt ?? new Date(Number(now / 1_000_000n)),
        point: points[i]!,
        parent: uids[i - 1] ?? null,
      })),
    );
  } catch (error) {
    await writer.settle();
    await store.discardLineages([first.lineage]);
    throw error;
  }
}

async function applyLayer(
  tree: ImportTree,
  layer: SourceLayer,
  name: string,
  bounds: Bounds,
): Promise<void> {
  const digester = new Digester();
  const tar = digester.of(bounds.bytes(decompress(layer.blob.open(), name)));
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
