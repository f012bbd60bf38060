import { TarboxError } from "../base/errors.ts";
import type { Member } from "./archive.ts";
import {
  CREATED_BY,
  type Descriptor,
  type HistoryLine,
  MEDIA_INDEX,
  MEDIA_MANIFEST,
  NOTE_CREATED,
  NOTE_MESSAGE,
  NOTE_NAME,
  NOTE_REFERENCE,
  REF_NAME,
} from "./image_format.ts";
import { asDescriptor, asObject, asStrings, type JsonObject } from "./json.ts";
import { formatPlatform, type Platform, thisPlatform } from "./platform.ts";

/** A layer of an image that is to be imported. */
export interface SourceLayer {
  /** The packed tar, verified as far as its descriptor goes; may be a download. Called once. */
  fetch(): Promise<Member>;
  /** SHA-256 that the unpacked tar must have; null for a plain tar. */
  readonly diffId: string | null;
  /** Digest and size of the packed tar; null where the image does not tell. */
  readonly packed: { readonly digest: string; readonly size: number } | null;
  /** The checkpoint's name where the image tells it. */
  readonly name: string | null;
  readonly message: string;
  /** Null where the image does not tell. */
  readonly createdAt: Date | null;
}

/** An image: its layers, the bottom one first, and its configuration, null for a plain tar. */
export interface SourceImage {
  readonly layers: readonly SourceLayer[];
  readonly config: JsonObject | null;
}

/** Where the documents and layers of an image are: an archive, a directory, a registry. */
export interface BlobSource {
  /** A document as its descriptor says it, verified and parsed. */
  document(descriptor: Descriptor): Promise<unknown>;
  /** The bytes of a layer, verified. */
  layer(descriptor: Descriptor, name: string): Promise<Member>;
}

/** What is asked of an archive or index with several images. */
export interface ImageChoice {
  /** Its reference; null when there is only one. */
  readonly image: string | null;
  /** Null: that of this machine, where an index has several. */
  readonly platform: Platform | null;
}

/** Documents of an image are small; anything larger is an attack. */
export const JSON_BYTES_MAX = 20 << 20;

/** Indexes in indexes. */
const NESTING_MAX = 4;

/** Media types of the documents that name others, with docker's names for the same. */
const INDEX_TYPES: readonly string[] = [
  MEDIA_INDEX,
  "application/vnd.docker.distribution.manifest.list.v2+json",
];
const MANIFEST_TYPES: readonly string[] = [
  MEDIA_MANIFEST,
  "application/vnd.docker.distribution.manifest.v2+json",
];

/** Every media type of a manifest or index that is understood, the best first. */
export const DOCUMENT_TYPES: readonly string[] = [...MANIFEST_TYPES, ...INDEX_TYPES];

/**
 * The image that a manifest or (nested) index has for the platform.
 *
 * @throws {TarboxError} when there is none, or it is no image of layers.
 */
export async function imageOf(
  source: BlobSource,
  descriptor: Descriptor,
  document: unknown,
  choice: ImageChoice,
): Promise<SourceImage> {
  if (INDEX_TYPES.includes(descriptor.mediaType)) {
    const chosen = await chooseManifest(source, document, choice, 0);
    return await imageOf(source, chosen, await source.document(chosen), choice);
  }
  const manifest = asObject(document);
  const config = asObject(await source.document(asDescriptor(manifest["config"])));
  checkPlatform(config, choice.platform);
  const layers = listOf(manifest["layers"]).map(asDescriptor);
  const diffIds = diffIdsOf(config, layers.length);
  const history = historyOf(config, layers.length);
  return {
    config,
    layers: layers.map((layer, i) =>
      sourceLayer(
        () => source.layer(layer, `layer ${i + 1}`),
        layer,
        diffIds[i]!,
        history?.[i],
        layer.annotations ?? {},
      )
    ),
  };
}

/** A layer with what history and annotations say of it. */
export function sourceLayer(
  fetch: () => Promise<Member>,
  packed: SourceLayer["packed"],
  diffId: string,
  history: HistoryLine | undefined,
  notes: Readonly<Record<string, string>>,
): SourceLayer {
  const line = history?.created_by?.startsWith(CREATED_BY)
    ? history.created_by.slice(CREATED_BY.length)
    : null;
  const created = new Date(notes[NOTE_CREATED] ?? history?.created ?? NaN);
  const step = line === null ? history?.created_by : undefined;
  return {
    fetch,
    packed: packed === null ? null : { digest: packed.digest, size: packed.size },
    diffId,
    name: notes[NOTE_NAME] ?? line,
    message: storable(notes[NOTE_MESSAGE] ?? history?.comment ?? step ?? ""),
    createdAt: Number.isNaN(created.getTime()) ? null : created,
  };
}

/** Characters of a message that are kept: a foreign image's step may be a whole script. */
const MESSAGE_MAX = 10_000;

/** PostgreSQL has no NUL in texts. */
function storable(message: string): string {
  return message.replaceAll("\0", "").slice(0, MESSAGE_MAX);
}

/**
 * Follows an index to a manifest.
 *
 * @throws {TarboxError} when nothing fits, or more than one image does.
 */
export async function chooseManifest(
  source: BlobSource,
  document: unknown,
  { image, platform }: ImageChoice,
  depth: number,
): Promise<Descriptor> {
  if (depth > NESTING_MAX) throw new TarboxError("the image's indexes are nested too deep");
  const known = listOf(asObject(document)["manifests"]).filter((value) =>
    DOCUMENT_TYPES.includes(String(asObject(value)["mediaType"]))
  ).map(asDescriptor);
  const named = image === null
    ? known
    : known.filter(({ annotations }) =>
      annotations?.[NOTE_REFERENCE] === image || annotations?.[REF_NAME] === image
    );
  const wanted = platform ?? thisPlatform();
  const fitting = named.filter((descriptor) => fits(descriptor, wanted));
  const digests = new Set(fitting.map(({ digest }) => digest));
  const [chosen] = fitting;
  if (chosen === undefined) {
    const has = known.map((descriptor) =>
      [
        descriptor.annotations?.[REF_NAME],
        descriptor.platform === undefined ? undefined : formatPlatform(descriptor.platform),
      ].filter((part) => part !== undefined).join(" ") || descriptor.digest
    );
    throw new TarboxError(
      `there is no image ${image ?? `for ${formatPlatform(wanted)}`}`,
      has.length === 0 ? undefined : `there is ${has.join(", ")}`,
    );
  }
  if (digests.size > 1) {
    const names = fitting.map(({ annotations, platform }) =>
      annotations?.[REF_NAME] ?? (platform === undefined ? "(no name)" : formatPlatform(platform))
    );
    throw new TarboxError(
      `there are ${digests.size} images that fit: ${names.join(", ")}`,
      "say which one with --image or --platform",
    );
  }
  if (!INDEX_TYPES.includes(chosen.mediaType)) return chosen;
  const nested = await source.document(chosen);
  return await chooseManifest(source, nested, { image: null, platform }, depth + 1);
}

/** What names no platform fits every one. */
function fits({ platform }: Descriptor, wanted: Platform): boolean {
  return platform === undefined ||
    platform.os === wanted.os && platform.architecture === wanted.architecture &&
      (wanted.variant === null || platform.variant === wanted.variant);
}

/** An image without an index tells its platform in its configuration alone. */
function checkPlatform(config: JsonObject, wanted: Platform | null): void {
  if (wanted === null) return;
  const { os, architecture } = config;
  if (os === wanted.os && architecture === wanted.architecture) return;
  throw new TarboxError(
    `there is no image for ${formatPlatform(wanted)}`,
    `there is ${os}/${architecture}`,
  );
}

/** @throws {TarboxError} unless there is one diff_id for each layer. */
export function diffIdsOf(config: JsonObject, layers: number): readonly string[] {
  const rootfs = asObject(config["rootfs"]);
  if (rootfs["type"] !== "layers") {
    throw new TarboxError(`the image's rootfs is of type ${rootfs["type"]}, not layers`);
  }
  const ids = asStrings(rootfs["diff_ids"]);
  if (ids.length !== layers) {
    throw new TarboxError(`the image has ${layers} layers, but ${ids.length} diff_ids`);
  }
  if (layers === 0) throw new TarboxError("the image has no layers");
  return ids;
}

/** The history lines of the layers, where there is one for each. */
export function historyOf(config: JsonObject, layers: number): readonly HistoryLine[] | null {
  if (!Array.isArray(config["history"])) return null;
  const lines = config["history"].map(asObject).filter((line) => line["empty_layer"] !== true);
  if (lines.length !== layers) return null;
  const string = (value: unknown) => typeof value === "string" ? value : undefined;
  return lines.map((line) => ({
    created: string(line["created"]),
    created_by: string(line["created_by"]),
    comment: string(line["comment"]),
  }));
}

/** The value as a list. @throws {TarboxError} when it is none. */
export function listOf(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new TarboxError("the image has a document that is malformed");
  return value;
}
