import { join } from "node:path";
import { concatBytes } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import type { LayerRow, WorkspaceRow } from "../store/rows.ts";
import type { Store } from "../store/store.ts";
import {
  type BlobSource,
  DOCUMENT_TYPES,
  imageOf,
  JSON_BYTES_MAX,
  type SourceImage,
} from "./image_manifest.ts";
import { checkDigest, parseJson } from "./image_source.ts";
import { importLayers, type ImportOptions } from "./import.ts";
import type { Descriptor } from "./image_format.ts";
import { downloadBlob } from "./registry_blobs.ts";
import { ATTEMPTS, backOff, type RegistryClient } from "./registry_client.ts";
import { Digester, fileBytes, withSpool } from "./spool.ts";

/** What came of a pull. */
export interface Pulled {
  /** Of the manifest or index that the name stands for. */
  readonly digest: string;
  readonly layers: readonly LayerRow[];
}

/**
 * Adds the layers of an image in a registry to a workspace, as `importImage` does. What the tenant
 * has already is not downloaded; every byte is verified by its digest.
 *
 * @param told Called with the bytes that were downloaded.
 * @throws {TarboxError} as the registry refuses, and what `importImage` throws.
 */
export async function pullImage(
  store: Store,
  workspace: WorkspaceRow,
  client: RegistryClient,
  options: ImportOptions,
  told: (bytes: number) => void,
): Promise<Pulled> {
  return await withSpool(async (spool) => {
    const { digest, image } = await openRemote(client, spool, options, told);
    const layers = await importLayers(store, workspace, image, options);
    const noted = await store.changesetsTo(layers.map(({ point }) => point));
    const digests = new Set(image.layers.map(({ packed }) => packed?.digest));
    const repository = `${client.name.host}/${client.name.repository}`;
    const there = noted.filter((row) => digests.has(row.digest));
    // A push to the same registry mounts them.
    if (there.length > 0) {
      await store.noteChangesets(there.map((row) => ({ ...row, repositories: [repository] })));
    }
    return { digest, layers };
  });
}

async function openRemote(
  client: RegistryClient,
  spool: string,
  options: ImportOptions,
  told: (bytes: number) => void,
): Promise<{ digest: string; image: SourceImage }> {
  let blobs = 0;
  const download = async (descriptor: Descriptor) => {
    if (descriptor.size > options.maxBytes) {
      throw new TarboxError(
        `registry ${client.name.host}: ${descriptor.digest} has more than ${options.maxBytes} bytes`,
        "if you trust it, allow more with --max-bytes",
      );
    }
    const path = join(spool, `blob-${blobs++}`);
    await downloadBlob(client, descriptor, path, told);
    return { size: descriptor.size, open: () => fileBytes(path) };
  };
  const source: BlobSource = {
    async document(descriptor) {
      if (DOCUMENT_TYPES.includes(descriptor.mediaType)) {
        const { bytes } = await manifest(client, descriptor.digest);
        return parseJson(bytes, descriptor.mediaType);
      }
      if (descriptor.size > JSON_BYTES_MAX) {
        throw new TarboxError(
          `${descriptor.mediaType}: no such document has ${descriptor.size} bytes`,
        );
      }
      const parts = await Array.fromAsync((await download(descriptor)).open());
      return parseJson(concatBytes(parts), descriptor.mediaType);
    },
    layer: (descriptor) => download(descriptor),
  };
  const { name } = client;
  const { bytes, digest, mediaType } = await manifest(client, name.digest ?? name.tag);
  const top = { mediaType, digest, size: bytes.length };
  const choice = { image: null, platform: options.platform };
  return { digest, image: await imageOf(source, top, parseJson(bytes, "the manifest"), choice) };
}

/** A manifest or index by tag, or by digest, which it must then have. */
async function manifest(
  client: RegistryClient,
  reference: string,
): Promise<{ bytes: Uint8Array<ArrayBuffer>; digest: string; mediaType: string }> {
  for (let attempt = 1;; attempt++) {
    try {
      return await manifestOnce(client, reference);
    } catch (error) {
      if (error instanceof TarboxError) throw error;
      if (attempt === ATTEMPTS) {
        throw new TarboxError(
          `registry ${client.name.host}: the manifest ${reference} cannot be read: ${error}`,
        );
      }
      await backOff(attempt);
    }
  }
}

async function manifestOnce(
  client: RegistryClient,
  reference: string,
): Promise<{ bytes: Uint8Array<ArrayBuffer>; digest: string; mediaType: string }> {
  const response = await client.send(`manifests/${reference}`, {
    headers: { accept: DOCUMENT_TYPES.join(", ") },
    expect: [200],
  });
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const digester = new Digester();
  for await (const chunk of response.body ?? []) {
    digester.add(chunk);
    parts.push(chunk);
    if (parts.reduce((sum, { length }) => sum + length, 0) > JSON_BYTES_MAX) {
      throw new TarboxError(`registry ${client.name.host}: its manifest is too large to be one`);
    }
  }
  const { digest } = digester.result();
  if (reference.startsWith("sha256:")) checkDigest("the manifest", digest, reference);
  const mediaType = (response.headers.get("content-type") ?? "").split(";")[0]!.trim();
  if (!DOCUMENT_TYPES.includes(mediaType)) {
    throw new TarboxError(
      `registry ${client.name.host}: ${reference} is a ${mediaType}, which is no image`,
    );
  }
  return { bytes: concatBytes(parts), digest, mediaType };
}
