import { utf8 } from "../base/bytes.ts";
import type { Point } from "../store/rows.ts";
import type { Images } from "../store/store.ts";
import {
  CREATED_BY,
  type Descriptor,
  IMAGE_CREATED,
  type ImageConfig,
  type ImageManifest,
  LABEL_LAYER,
  MEDIA_CONFIG,
  MEDIA_MANIFEST,
} from "./image_format.ts";
import { asObject, type JsonObject } from "./json.ts";
import { type ExportLayer, samePoint } from "./pack.ts";
import { Digester } from "./spool.ts";

/** What the caller has an image say of itself. */
export interface ImageNotes {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** A document of an image with its descriptor. */
export interface ImageDocument {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly descriptor: Descriptor;
}

/** Bytes of a JSON document. */
export function json(value: unknown): Uint8Array<ArrayBuffer> {
  return utf8(JSON.stringify(value));
}

/**
 * The configuration and the manifest of an image of these layers, the bottom one first.
 *
 * @param chain All that the top one stands on: what the image inherits may come from a layer that is
 * squashed or left out.
 */
export async function imageDocuments(
  store: Images,
  chain: readonly ExportLayer[],
  layers: readonly ExportLayer[],
  descriptors: readonly Descriptor[],
  diffIds: readonly string[],
  notes: ImageNotes,
): Promise<{ config: ImageDocument; manifest: ImageDocument }> {
  const inherited = await inheritedConfig(store, chain.map(({ point }) => point));
  const top = layers.at(-1)!;
  const created = top.createdAt.toISOString();
  const config = await document(
    MEDIA_CONFIG,
    {
      created,
      // A tree has no architecture, and the digest must not depend on the machine.
      architecture: inherited.architecture ?? "amd64",
      os: inherited.os ?? "linux",
      ...inherited.variant === undefined ? {} : { variant: inherited.variant },
      config: sorted({
        ...inherited.config,
        Labels: { ...inherited.labels, [LABEL_LAYER]: top.name, ...notes.labels },
      }) as JsonObject,
      rootfs: { type: "layers", diff_ids: diffIds },
      history: layers.map(({ name, message, createdAt }) => ({
        created: createdAt.toISOString(),
        created_by: CREATED_BY + name,
        ...message === "" ? {} : { comment: message },
      })),
    } satisfies ImageConfig,
  );
  const manifest = await document(
    MEDIA_MANIFEST,
    {
      schemaVersion: 2,
      mediaType: MEDIA_MANIFEST,
      config: config.descriptor,
      layers: descriptors,
      annotations: { [IMAGE_CREATED]: created, ...notes.annotations },
    } satisfies ImageManifest,
  );
  return { config, manifest };
}

async function document(mediaType: string, value: unknown): Promise<ImageDocument> {
  const bytes = json(value);
  const digester = new Digester();
  for await (const _ of digester.of(ReadableStream.from([bytes])));
  return { bytes, descriptor: { mediaType, ...digester.result() } };
}

interface Inherited {
  readonly architecture?: string;
  readonly os?: string;
  readonly variant?: string;
  readonly config?: JsonObject;
  readonly labels?: JsonObject;
}

/** What the topmost of these states that came with an image has in its configuration. */
async function inheritedConfig(store: Images, points: readonly Point[]): Promise<Inherited> {
  const known = await store.imageConfigs(points);
  const nearest = points.findLast((point) => known.some((row) => samePoint(row.point, point)));
  if (nearest === undefined) return {};
  const found = asObject(known.find((row) => samePoint(row.point, nearest))!.config);
  const string = (key: string) => {
    const value = found[key];
    return typeof value === "string" ? value : undefined;
  };
  const object = (value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? value as JsonObject
      : undefined;
  const config = object(found["config"]);
  return {
    architecture: string("architecture"),
    os: string("os"),
    variant: string("variant"),
    config,
    labels: object(config?.["Labels"]),
  };
}

/** The parts of a configuration that an export takes over; null: there are none. */
export function configToKeep(config: JsonObject | null): JsonObject | null {
  if (config === null) return null;
  const { architecture, os, variant, config: run } = config;
  return { architecture, os, variant, config: run };
}

/** JSON with the keys of every object in order, so that equal values have equal bytes. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.keys(value).sort().map((key) => [key, sorted((value as JsonObject)[key])]),
  );
}
