import { join } from "node:path";
import { utf8 } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import type { Point } from "../store/rows.ts";
import type { Reader } from "../store/store.ts";
import { type LeftOut, writeChangeset } from "./changeset.ts";
import { compress, type Compression } from "./compression.ts";
import {
  CREATED_BY,
  type Descriptor,
  type DockerManifest,
  type ImageConfig,
  type ImageIndex,
  type ImageManifest,
  legalReference,
  MEDIA_CONFIG,
  MEDIA_INDEX,
  MEDIA_LAYER,
  MEDIA_MANIFEST,
  NOTE_CREATED,
  NOTE_MESSAGE,
  NOTE_NAME,
  NOTE_REFERENCE,
  REF_NAME,
} from "./image_format.ts";
import { Digester, fileBytes, spoolTo } from "./spool.ts";
import { contentPadding, encodeHeader, END_MARK, tarEntry } from "./tar_writer.ts";

/** Layers that docker takes in one image (overlay mounts); buildah takes 128. */
export const MAX_LAYERS = 125;

/** What is written: an image archive, one layer's changeset, or the whole tree as one tar. */
export type ExportFormat = "oci" | "layer" | "rootfs";

/** One layer of an image to be: a state and what it is called. */
export interface ExportLayer {
  readonly name: string;
  readonly message: string;
  readonly createdAt: Date;
  readonly point: Point;
}

/** What to export of a state, and in which form. */
export interface ExportOptions {
  readonly format: ExportFormat;
  /** Of layers (`oci`) or of the tar (`layer`, `rootfs`); `none` leaves it plain. */
  readonly compression: Compression;
  /** One layer with everything, instead of one for each checkpoint. */
  readonly squash: boolean;
  /** Only what came after this state, which is one of the chain; null: everything. */
  readonly since: Point | null;
  /** What the image is called: the reference asked for. */
  readonly reference: string;
  /** Told of what OCI cannot represent, which is left out; null: that is an error. */
  readonly leftOut: LeftOut | null;
  /** Told when layers had to be squashed. */
  readonly notice: (message: string) => void;
}

/**
 * Writes the states of a chain, the bottom one first, as an image archive or a tar.
 *
 * Digests stand in the names of the archive's members, so each layer is first written to a temporary
 * file (one at a time: the disk needed is that of the largest layer) and copied from there. Memory
 * does not grow with the contents. The same layers give the same bytes on every machine.
 *
 * @throws {TarboxError} for paths that OCI cannot represent, and when there is no layer.
 */
export async function* exportImage(
  reader: Reader,
  layers: readonly ExportLayer[],
  options: ExportOptions,
): AsyncGenerator<Uint8Array> {
  const since = options.since === null
    ? -1
    : layers.findIndex(({ point }) =>
      point.lineage === options.since!.lineage && point.ordinal === options.since!.ordinal
    );
  if (options.since !== null && since < 0) {
    throw new TarboxError(
      `export ${options.reference}: --since names a layer that ${options.reference} does not stand on`,
      "`tarbox layers` shows the chain",
    );
  }
  const wanted = layers.slice(since + 1);
  const top = wanted.at(-1);
  if (top === undefined) {
    throw new TarboxError(
      `export ${options.reference}: there is no layer to export`,
      "seal one with `tarbox checkpoint`",
    );
  }
  if (options.format !== "oci") {
    const below = options.format === "rootfs"
      ? null
      : options.since ?? (layers.at(-2)?.point ?? null);
    const tar = writeChangeset(reader, below, top.point, options.leftOut);
    return yield* compress(tar, options.compression);
  }
  yield* imageArchive(reader, options.since, squashed(wanted, options), options);
}

/** At most {@link MAX_LAYERS} of the layers: the lower ones become one. */
function squashed(layers: readonly ExportLayer[], options: ExportOptions): readonly ExportLayer[] {
  if (options.squash) return layers.slice(-1);
  if (layers.length <= MAX_LAYERS) return layers;
  const kept = layers.slice(-MAX_LAYERS);
  options.notice(
    `${layers.length} layers are more than the ${MAX_LAYERS} that docker takes: the lower ` +
      `${layers.length - MAX_LAYERS + 1}, up to ${kept[0]!.name}, are one layer of the image`,
  );
  return kept;
}

async function* imageArchive(
  reader: Reader,
  since: Point | null,
  layers: readonly ExportLayer[],
  options: ExportOptions,
): AsyncGenerator<Uint8Array> {
  yield* document("oci-layout", utf8(JSON.stringify({ imageLayoutVersion: "1.0.0" })));
  for (const directory of ["blobs", "blobs/sha256"]) {
    yield encodeHeader(tarEntry({ path: utf8(directory), type: "directory", mode: 0o755 }));
  }
  const descriptors: Descriptor[] = [];
  const diffIds: string[] = [];
  const written = new Set<string>();
  let below = since;
  for (const layer of layers) {
    const packed = await writeLayer(reader, below, layer, options);
    const { descriptor, diffId, blob } = packed;
    try {
      descriptors.push(descriptor);
      diffIds.push(diffId);
      // Equal layers are one blob: a name may come only once.
      if (!written.has(descriptor.digest)) {
        yield memberHeader(blobPath(descriptor.digest), descriptor.size);
        yield* fileBytes(blob.path);
        yield contentPadding(descriptor.size);
        written.add(descriptor.digest);
      }
    } finally {
      await blob.remove();
    }
    below = layer.point;
  }

  const config = json(configOf(layers, diffIds));
  const configDescriptor = await describe(config, MEDIA_CONFIG);
  const manifest = json(
    {
      schemaVersion: 2,
      mediaType: MEDIA_MANIFEST,
      config: configDescriptor,
      layers: descriptors,
    } satisfies ImageManifest,
  );
  const manifestDescriptor = await describe(manifest, MEDIA_MANIFEST);
  const tag = legalReference(options.reference);
  const index = json(
    {
      schemaVersion: 2,
      mediaType: MEDIA_INDEX,
      manifests: [{
        ...manifestDescriptor,
        annotations: { [REF_NAME]: tag, [NOTE_REFERENCE]: options.reference },
      }],
    } satisfies ImageIndex,
  );
  const docker = json(
    [{
      Config: blobPath(configDescriptor.digest),
      RepoTags: [`${tag}:latest`],
      Layers: descriptors.map(({ digest }) => blobPath(digest)),
    }] satisfies DockerManifest[],
  );
  yield* document(blobPath(configDescriptor.digest), config);
  yield* document(blobPath(manifestDescriptor.digest), manifest);
  yield* document("index.json", index);
  yield* document("manifest.json", docker);
  yield END_MARK;
}

/** A layer in a temporary file. */
interface PackedLayer {
  readonly descriptor: Descriptor;
  readonly diffId: string;
  readonly blob: { readonly path: string; remove(): Promise<void> };
}

async function writeLayer(
  reader: Reader,
  below: Point | null,
  layer: ExportLayer,
  options: ExportOptions,
): Promise<PackedLayer> {
  const directory = await Deno.makeTempDir({ prefix: "tarbox-export-" });
  const remove = () => Deno.remove(directory, { recursive: true });
  try {
    const plain = new Digester();
    const packed = new Digester();
    const tar = plain.of(writeChangeset(reader, below, layer.point, options.leftOut));
    const path = join(directory, "layer");
    await spoolTo(path, packed.of(compress(tar, options.compression)));
    const annotations: Record<string, string> = {
      [NOTE_NAME]: layer.name,
      [NOTE_CREATED]: layer.createdAt.toISOString(),
    };
    if (layer.message !== "") annotations[NOTE_MESSAGE] = layer.message;
    const mediaType = MEDIA_LAYER + MEDIA_SUFFIX[options.compression];
    return {
      descriptor: { mediaType, ...packed.result(), annotations },
      diffId: plain.result().digest,
      blob: { path, remove },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

const MEDIA_SUFFIX = { stored: "+gzip", gzip: "+gzip", zstd: "+zstd", none: "" } as const;

/** Architecture is a constant: the tree has none, and the digest must not depend on the machine. */
function configOf(layers: readonly ExportLayer[], diffIds: readonly string[]): ImageConfig {
  return {
    created: layers.at(-1)!.createdAt.toISOString(),
    architecture: "amd64",
    os: "linux",
    rootfs: { type: "layers", diff_ids: diffIds },
    history: layers.map(({ name, message, createdAt }) => ({
      created: createdAt.toISOString(),
      created_by: CREATED_BY + name,
      ...message === "" ? {} : { comment: message },
    })),
  };
}

function json(value: unknown): Uint8Array {
  return utf8(JSON.stringify(value));
}

function blobPath(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}

async function describe(bytes: Uint8Array, mediaType: string): Promise<Descriptor> {
  const digester = new Digester();
  for await (const _ of digester.of(ReadableStream.from([bytes])));
  return { mediaType, ...digester.result() };
}

function memberHeader(path: string, size: number): Uint8Array {
  return encodeHeader(tarEntry({ path: utf8(path), size, mode: 0o644 }));
}

async function* document(path: string, bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield memberHeader(path, bytes.length);
  yield bytes;
  yield contentPadding(bytes.length);
}
