import { join } from "node:path";
import { TarboxError } from "../base/errors.ts";
import type { ChangesetRow, Point } from "../store/rows.ts";
import type { Images, Reader } from "../store/store.ts";
import { type LeftOut, writeChangeset } from "./changeset.ts";
import { compress, type Compression } from "./compression.ts";
import {
  type Descriptor,
  MEDIA_LAYER,
  NOTE_CREATED,
  NOTE_MESSAGE,
  NOTE_NAME,
} from "./image_format.ts";
import { Digester, spoolTo } from "./spool.ts";

/** One layer of an image to be: a state and what it is called. */
export interface ExportLayer {
  readonly name: string;
  readonly message: string;
  readonly createdAt: Date;
  readonly point: Point;
  /** False for a head that is still being written; absent: true. */
  readonly sealed?: boolean;
}

/** Layers that docker takes in one image (overlay mounts); buildah takes 128. */
export const MAX_LAYERS = 125;

/** Which layers of a chain an image has. */
export interface LayerChoice {
  /** One layer with everything, instead of one for each checkpoint. */
  readonly squash: boolean;
  /** Only what came after this state, which is one of the chain; null: everything. */
  readonly since: Point | null;
  /** What the image is called: the reference asked for. */
  readonly reference: string;
  /** Told when layers had to be squashed. */
  readonly notice: (message: string) => void;
}

/** Whether two points are the same state. */
export function samePoint(a: Point | null, b: Point | null): boolean {
  return a?.lineage === b?.lineage && a?.ordinal === b?.ordinal;
}

/**
 * The layers of an image out of a chain, the bottom one first, at most {@link MAX_LAYERS}: the lower
 * ones become one. The changeset of the first starts from `since`, of each other from the one before.
 *
 * @throws {TarboxError} when none is left, or `since` is not in the chain.
 */
export function chooseLayers(
  chain: readonly ExportLayer[],
  { squash, since, reference, notice }: LayerChoice,
): readonly ExportLayer[] {
  const start = since === null ? -1 : chain.findIndex(({ point }) => samePoint(point, since));
  if (since !== null && start < 0) {
    throw new TarboxError(
      `export ${reference}: --since names a layer that ${reference} does not stand on`,
      "`tarbox layers` shows the chain",
    );
  }
  const layers = chain.slice(start + 1);
  if (layers.length === 0) {
    throw new TarboxError(
      `export ${reference}: there is no layer to export`,
      "seal one with `tarbox checkpoint`",
    );
  }
  if (squash) return layers.slice(-1);
  if (layers.length <= MAX_LAYERS) return layers;
  const kept = layers.slice(-MAX_LAYERS);
  notice(
    `${layers.length} layers are more than the ${MAX_LAYERS} that docker takes: the lower ` +
      `${layers.length - MAX_LAYERS + 1}, up to ${kept[0]!.name}, are one layer of the image`,
  );
  return kept;
}

/** A layer in a temporary file. */
export interface PackedLayer {
  readonly descriptor: Descriptor;
  readonly diffId: string;
  readonly blob: { readonly path: string; remove(): Promise<void> };
}

/** How layers are packed. */
export interface Packing {
  /** Told of what OCI cannot represent, which is left out; null: that is an error. */
  readonly leftOut: LeftOut | null;
  /** Directory for temporary files; absent: `TMPDIR`. */
  readonly temporary?: string;
}

/** What a layer's packing is called in its media type. */
const MEDIA_SUFFIX: Readonly<Record<string, string>> = {
  stored: "+gzip",
  gzip: "+gzip",
  zstd: "+zstd",
  none: "",
};

/** The descriptor of a layer's packed changeset. */
export function layerDescriptor(
  layer: ExportLayer,
  packed: { readonly digest: string; readonly size: number; readonly packing: string },
): Descriptor {
  const annotations: Record<string, string> = {
    [NOTE_NAME]: layer.name,
    [NOTE_CREATED]: layer.createdAt.toISOString(),
  };
  if (layer.message !== "") annotations[NOTE_MESSAGE] = layer.message;
  const { digest, size, packing } = packed;
  return { mediaType: MEDIA_LAYER + (MEDIA_SUFFIX[packing] ?? ""), digest, size, annotations };
}

/**
 * Writes the changeset of a layer, packed, to a temporary file, which the caller removes. What came
 * of it is noted in the store, so that an import knows the layer and a push need not pack it again.
 *
 * @param below The state that the changeset starts from; null: the empty tree.
 */
export async function packLayer(
  store: Reader & Images,
  below: Point | null,
  layer: ExportLayer,
  compression: Compression,
  { leftOut, temporary }: Packing,
): Promise<PackedLayer> {
  const directory = await Deno.makeTempDir({ prefix: "tarbox-export-", dir: temporary });
  const remove = () => Deno.remove(directory, { recursive: true });
  try {
    const plain = new Digester();
    const packed = new Digester();
    let complete = true;
    const notice: LeftOut | null = leftOut === null ? null : (path, why) => {
      complete = false;
      leftOut(path, why);
    };
    const tar = plain.of(writeChangeset(store, below, layer.point, notice));
    const path = join(directory, "layer");
    await spoolTo(path, packed.of(compress(tar, compression)));
    const diffId = plain.result().digest;
    const blob = { ...packed.result(), packing: compression };
    if (complete && layer.sealed !== false) {
      const { point } = layer;
      const row: ChangesetRow = { below, point, diffId, ...blob, repositories: [] };
      await store.noteChangesets([row]);
    }
    return { descriptor: layerDescriptor(layer, blob), diffId, blob: { path, remove } };
  } catch (error) {
    await remove();
    throw error;
  }
}
