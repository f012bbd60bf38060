import { utf8 } from "../base/bytes.ts";
import type { Images, Reader } from "../store/store.ts";
import { writeChangeset } from "./changeset.ts";
import { compress, type Compression } from "./compression.ts";
import { imageDocuments, type ImageNotes, json } from "./image_documents.ts";
import {
  type Descriptor,
  type DockerManifest,
  type ImageIndex,
  legalReference,
  MEDIA_INDEX,
  NOTE_REFERENCE,
  REF_NAME,
} from "./image_format.ts";
import {
  chooseLayers,
  type ExportLayer,
  type LayerChoice,
  type Packing,
  packLayer,
} from "./pack.ts";
import { passingFileBytes } from "./spool.ts";
import { contentPadding, encodeHeader, END_MARK, tarEntry } from "./tar_writer.ts";

/** What is written: an image archive, one layer's changeset, or the whole tree as one tar. */
export type ExportFormat = "oci" | "layer" | "rootfs";

/** What to export of a state, and in which form. */
export interface ExportOptions extends LayerChoice, Packing {
  readonly format: ExportFormat;
  /** Of layers (`oci`) or of the tar (`layer`, `rootfs`); `none` leaves it plain. */
  readonly compression: Compression;
  /** What the image says of itself besides. */
  readonly notes: ImageNotes;
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
  reader: Reader & Images,
  layers: readonly ExportLayer[],
  options: ExportOptions,
): AsyncGenerator<Uint8Array> {
  const wanted = chooseLayers(layers, options);
  const top = wanted.at(-1)!;
  if (options.format !== "oci") {
    const below = options.format === "rootfs"
      ? null
      : options.since ?? (layers.at(-2)?.point ?? null);
    const tar = writeChangeset(reader, below, top.point, options.leftOut);
    return yield* compress(tar, options.compression);
  }
  yield* imageArchive(reader, layers, wanted, options);
}

async function* imageArchive(
  reader: Reader & Images,
  chain: readonly ExportLayer[],
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
  let below = options.since;
  for (const layer of layers) {
    const { descriptor, diffId, blob } = await packLayer(
      reader,
      below,
      layer,
      options.compression,
      options,
    );
    try {
      descriptors.push(descriptor);
      diffIds.push(diffId);
      // Equal layers are one blob: a name may come only once.
      if (!written.has(descriptor.digest)) {
        yield memberHeader(blobPath(descriptor.digest), descriptor.size);
        yield* passingFileBytes(blob.path);
        yield contentPadding(descriptor.size);
        written.add(descriptor.digest);
      }
    } finally {
      await blob.remove();
    }
    below = layer.point;
  }

  const { config, manifest } = await imageDocuments(
    reader,
    chain,
    layers,
    descriptors,
    diffIds,
    options.notes,
  );
  const tag = legalReference(options.reference);
  const index = json(
    {
      schemaVersion: 2,
      mediaType: MEDIA_INDEX,
      manifests: [{
        ...manifest.descriptor,
        annotations: { [REF_NAME]: tag, [NOTE_REFERENCE]: options.reference },
      }],
    } satisfies ImageIndex,
  );
  const docker = json(
    [{
      Config: blobPath(config.descriptor.digest),
      RepoTags: [`${tag}:latest`],
      Layers: descriptors.map(({ digest }) => blobPath(digest)),
    }] satisfies DockerManifest[],
  );
  yield* document(blobPath(config.descriptor.digest), config.bytes);
  yield* document(blobPath(manifest.descriptor.digest), manifest.bytes);
  yield* document("index.json", index);
  yield* document("manifest.json", docker);
  yield END_MARK;
}

function blobPath(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}

function memberHeader(path: string, size: number): Uint8Array {
  return encodeHeader(tarEntry({ path: utf8(path), size, mode: 0o644 }));
}

async function* document(path: string, bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield memberHeader(path, bytes.length);
  yield bytes;
  yield contentPadding(bytes.length);
}
