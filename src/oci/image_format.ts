/** JSON documents of an image, as the OCI image spec 1.0 and `docker save` have them. */

export const MEDIA_INDEX = "application/vnd.oci.image.index.v1+json";
export const MEDIA_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
export const MEDIA_CONFIG = "application/vnd.oci.image.config.v1+json";
export const MEDIA_LAYER = "application/vnd.oci.image.layer.v1.tar";

/** Annotation keys of our own: `org.opencontainers` is reserved. */
export const NOTE_NAME = "io.tarbox.layer.name";
export const NOTE_MESSAGE = "io.tarbox.layer.message";
export const NOTE_CREATED = "io.tarbox.layer.created";
export const NOTE_REFERENCE = "io.tarbox.reference";
/** Label of our own in an image's configuration: the name of the checkpoint on top. */
export const LABEL_LAYER = "io.tarbox.layer.name";
export const IMAGE_CREATED = "org.opencontainers.image.created";
export const REF_NAME = "org.opencontainers.image.ref.name";

/** `created_by` of a layer's history begins so; the layer's name follows. */
export const CREATED_BY = "tarbox checkpoint ";

/** Where a document or layer is and what its bytes must be. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: {
    readonly architecture?: string;
    readonly os?: string;
    readonly variant?: string;
  };
  readonly annotations?: Readonly<Record<string, string>>;
}

/** `index.json`, and what it may point to. */
export interface ImageIndex {
  readonly schemaVersion: 2;
  readonly mediaType?: string;
  readonly manifests: readonly Descriptor[];
}

/** An image manifest (OCI image spec, manifest.md), as far as it matters here. */
export interface ImageManifest {
  readonly schemaVersion: 2;
  readonly mediaType?: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly annotations?: Readonly<Record<string, string>>;
}

/** How one layer came to be; `empty_layer` ones have no tar (OCI image spec, config.md). */
export interface HistoryLine {
  readonly created?: string;
  readonly created_by?: string;
  readonly comment?: string;
  readonly empty_layer?: boolean;
}

/** An image configuration (OCI image spec, config.md), as far as it matters here. */
export interface ImageConfig {
  readonly created?: string;
  readonly architecture: string;
  readonly os: string;
  readonly variant?: string;
  /** What runs in a container of it: `Env`, `Cmd`, `Labels` and so on. */
  readonly config?: { readonly [key: string]: unknown };
  readonly rootfs: { readonly type: string; readonly diff_ids: readonly string[] };
  readonly history?: readonly HistoryLine[];
}

/** One image of a `docker save` archive's `manifest.json`. */
export interface DockerManifest {
  readonly Config: string;
  readonly RepoTags: readonly string[] | null;
  readonly Layers: readonly string[];
}

/**
 * A legal `org.opencontainers.image.ref.name` (and docker tag) for any name: lower case, everything
 * else than letters, digits, `.`, `_` and `-` becomes `-`, none of these doubled or at an end.
 */
export function legalReference(name: string): string {
  const legal = name.toLowerCase()
    .replace(/[^a-z0-9._-]+/g, "-")
    .replace(/[._-]{2,}/g, "-")
    .replace(/^[._-]+|[._-]+$/g, "")
    .slice(0, 128)
    .replace(/[._-]+$/, "");
  return legal === "" ? "layer" : legal;
}
