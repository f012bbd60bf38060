import { TarboxError } from "../base/errors.ts";
import type { ChangesetRow, Point } from "../store/rows.ts";
import type { Images, Reader } from "../store/store.ts";
import type { Compression } from "./compression.ts";
import { imageDocuments, type ImageNotes } from "./image_documents.ts";
import type { Descriptor } from "./image_format.ts";
import {
  chooseLayers,
  type ExportLayer,
  type LayerChoice,
  layerDescriptor,
  type Packing,
  packLayer,
  samePoint,
} from "./pack.ts";
import { bytesUpload, fileUpload, hasBlob, mountBlob, uploadBlob } from "./registry_blobs.ts";
import type { RegistryClient } from "./registry_client.ts";

/** What to push and how. */
export interface PushOptions extends LayerChoice, Packing {
  readonly compression: Compression;
  readonly notes: ImageNotes;
  /** Repository of the same registry to take layers over from, besides those that are known. */
  readonly mountFrom: string | null;
  /** Called with the bytes that were uploaded. */
  readonly told: (bytes: number) => void;
}

/** What a push did. */
export interface Pushed {
  /** Of the manifest. */
  readonly digest: string;
  /** Layers that went over the wire, of how many. */
  readonly uploaded: number;
  readonly layers: number;
}

/**
 * Pushes the states of a chain, the bottom one first, to a registry: each layer that it lacks, then
 * the configuration, the manifest last. A layer whose packed form is known and there is neither
 * packed nor sent again; one that another repository of the registry has is mounted from there.
 *
 * @throws {TarboxError} as the registry refuses, and for paths that OCI cannot represent.
 */
export async function pushImage(
  store: Reader & Images,
  client: RegistryClient,
  chain: readonly ExportLayer[],
  options: PushOptions,
): Promise<Pushed> {
  const layers = chooseLayers(chain, options);
  const known = await store.changesetsTo(layers.map(({ point }) => point));
  const descriptors: Descriptor[] = [];
  const diffIds: string[] = [];
  let uploaded = 0;
  let below: Point | null = options.since;
  for (const layer of layers) {
    const rows = layer.sealed === false
      ? []
      : known.filter((row) =>
        row.digest !== "" && samePoint(row.point, layer.point) && samePoint(row.below, below)
      );
    let row = await presentRow(client, rows, options);
    if (row === null) {
      const packed = await packLayer(store, below, layer, options.compression, options);
      try {
        const { digest, size } = packed.descriptor;
        row = {
          below,
          point: layer.point,
          diffId: packed.diffId,
          packing: options.compression,
          digest,
          size,
          repositories: [],
        };
        if (!await hasBlob(client, digest) && !await mounted(client, row, options)) {
          await uploadBlob(client, fileUpload(packed.blob.path, digest, size), options.told);
          uploaded++;
        }
      } finally {
        await packed.blob.remove();
      }
    }
    if (options.leftOut === null && layer.sealed !== false) {
      await store.noteChangesets([{ ...row, repositories: [repositoryName(client)] }]);
    }
    descriptors.push(layerDescriptor(layer, row));
    diffIds.push(row.diffId);
    below = layer.point;
  }
  const { config, manifest } = await imageDocuments(
    store,
    chain,
    layers,
    descriptors,
    diffIds,
    options.notes,
  );
  const configDigest = config.descriptor.digest;
  if (!await hasBlob(client, configDigest)) {
    await uploadBlob(client, bytesUpload(config.bytes, configDigest), options.told);
  }
  const { tag, digest } = client.name;
  if (digest !== null) {
    throw new TarboxError(`push ${digest}: an image is pushed to a tag`, "write NAME:TAG", 2);
  }
  const response = await client.send(`manifests/${tag}`, {
    method: "PUT",
    headers: { "content-type": manifest.descriptor.mediaType },
    body: manifest.bytes,
    expect: [200, 201, 202],
  });
  await response.body?.cancel();
  return { digest: manifest.descriptor.digest, uploaded, layers: layers.length };
}

/** `host/repository`, as {@link ChangesetRow.repositories} has it. */
function repositoryName({ name }: RegistryClient): string {
  return `${name.host}/${name.repository}`;
}

/** A packed form of a layer that the registry has, or takes over from another repository. */
async function presentRow(
  client: RegistryClient,
  rows: readonly ChangesetRow[],
  options: PushOptions,
): Promise<ChangesetRow | null> {
  // What is in this very repository first; then in the packing that was asked for.
  const here = repositoryName(client);
  const rank = (row: ChangesetRow) =>
    (row.repositories.includes(here) ? 0 : 2) + (row.packing === options.compression ? 0 : 1);
  const ranked = rows.toSorted((a, b) => rank(a) - rank(b));
  for (const row of ranked) if (await hasBlob(client, row.digest)) return row;
  for (const row of ranked) if (await mounted(client, row, options)) return row;
  return null;
}

async function mounted(
  client: RegistryClient,
  row: ChangesetRow,
  { mountFrom }: PushOptions,
): Promise<boolean> {
  const { host, repository } = client.name;
  const sources = row.repositories.filter((name) => name.startsWith(`${host}/`))
    .map((name) => name.slice(host.length + 1));
  if (mountFrom !== null) sources.unshift(mountFrom);
  for (const source of new Set(sources)) {
    if (source !== repository && await mountBlob(client, row.digest, source)) return true;
  }
  return false;
}
