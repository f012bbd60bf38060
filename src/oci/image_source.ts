import { text } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import type { Member, Members } from "./archive.ts";
import {
  CREATED_BY,
  type Descriptor,
  type HistoryLine,
  NOTE_CREATED,
  NOTE_MESSAGE,
  NOTE_NAME,
  NOTE_REFERENCE,
  REF_NAME,
} from "./image_format.ts";
import { asDescriptor, asObject, asStrings, type JsonObject } from "./json.ts";
import { Digester } from "./spool.ts";

/** A layer of an image that is to be imported, whose packed bytes were verified. */
export interface SourceLayer {
  /** The packed tar. */
  readonly blob: Member;
  /** SHA-256 that the unpacked tar must have; null for a plain tar. */
  readonly diffId: string | null;
  /** The checkpoint's name where the image tells it. */
  readonly name: string | null;
  readonly message: string;
  /** Null where the image does not tell. */
  readonly createdAt: Date | null;
}

/** Documents of an image are small; anything larger is an attack. */
const JSON_BYTES_MAX = 20 << 20;

/** Indexes in indexes. */
const NESTING_MAX = 4;

/**
 * The layers of the image in an archive, the bottom one first; size and digest of each document and
 * layer are verified.
 *
 * @param image Which of several images: its reference; null when there is only one.
 * @throws {TarboxError} when it is no image archive, or is damaged.
 */
export async function openImage(members: Members, image: string | null): Promise<SourceLayer[]> {
  const index = await members.find("index.json");
  if (index !== null && await members.find("oci-layout") !== null) {
    return await openLayout(members, index, image);
  }
  const docker = await members.find("manifest.json");
  if (docker !== null) return await openDocker(members, docker, image);
  throw new TarboxError(
    "this is no image archive: it has neither an OCI layout nor a docker manifest",
    "to import a plain tar as one layer give that a name with --name",
  );
}

async function openLayout(
  members: Members,
  index: Member,
  image: string | null,
): Promise<SourceLayer[]> {
  const layout = asObject(await readJson((await members.find("oci-layout"))!, "oci-layout"));
  if (!String(layout["imageLayoutVersion"]).startsWith("1.")) {
    throw new TarboxError(`the image layout has version ${layout["imageLayoutVersion"]}, not 1.x`);
  }
  const descriptor = await chooseManifest(members, await readJson(index, "index.json"), image, 0);
  const manifest = asObject(await readDocument(members, descriptor));
  const configDescriptor = asDescriptor(manifest["config"]);
  const config = asObject(await readDocument(members, configDescriptor));
  const layers = listOf(manifest["layers"]).map(asDescriptor);
  const diffIds = diffIdsOf(config, layers.length);
  const history = historyOf(config, layers.length);
  // A layer's bytes are read once to verify them before anything is written.
  const out: SourceLayer[] = [];
  for (const [i, layer] of layers.entries()) {
    const blob = await verifiedBlob(members, layer, `layer ${i + 1}`);
    out.push(sourceLayer(blob, diffIds[i]!, history?.[i], layer.annotations ?? {}));
  }
  return out;
}

function sourceLayer(
  blob: Member,
  diffId: string,
  history: HistoryLine | undefined,
  notes: Readonly<Record<string, string>>,
): SourceLayer {
  const line = history?.created_by?.startsWith(CREATED_BY)
    ? history.created_by.slice(CREATED_BY.length)
    : null;
  const created = new Date(notes[NOTE_CREATED] ?? history?.created ?? NaN);
  return {
    blob,
    diffId,
    name: notes[NOTE_NAME] ?? line,
    message: notes[NOTE_MESSAGE] ?? history?.comment ?? "",
    createdAt: Number.isNaN(created.getTime()) ? null : created,
  };
}

/** Follows an index to the manifest of this machine's platform. */
async function chooseManifest(
  members: Members,
  document: unknown,
  image: string | null,
  depth: number,
): Promise<Descriptor> {
  if (depth > NESTING_MAX) throw new TarboxError("the image's indexes are nested too deep");
  const known = listOf(asObject(document)["manifests"]).filter((value) =>
    /(manifest|index|manifest\.list)\.v[12]\+json$/.test(String(asObject(value)["mediaType"]))
  ).map(asDescriptor);
  const named = image === null
    ? known
    : known.filter(({ annotations }) =>
      annotations?.[NOTE_REFERENCE] === image || annotations?.[REF_NAME] === image
    );
  const fitting = named.filter(fitsPlatform);
  const digests = new Set(fitting.map(({ digest }) => digest));
  const [chosen] = fitting;
  if (chosen === undefined) {
    const has = known.map(({ platform, annotations }) =>
      annotations?.[REF_NAME] ?? `${platform?.os ?? "?"}/${platform?.architecture ?? "?"}`
    );
    throw new TarboxError(
      `the archive has no image ${image ?? `for linux/${architecture()}`}`,
      has.length === 0 ? undefined : `it has ${has.join(", ")}`,
    );
  }
  if (digests.size > 1) {
    const names = fitting.map(({ annotations }) => annotations?.[REF_NAME] ?? "(no name)");
    throw new TarboxError(
      `the archive has ${digests.size} images: ${names.join(", ")}`,
      "say which one with --image",
    );
  }
  if (!/(index|manifest\.list)\.v[12]\+json$/.test(chosen.mediaType)) return chosen;
  return await chooseManifest(members, await readDocument(members, chosen), null, depth + 1);
}

function architecture(): string {
  return Deno.build.arch === "aarch64" ? "arm64" : "amd64";
}

function fitsPlatform({ platform }: Descriptor): boolean {
  return platform === undefined ||
    (platform.os === "linux" && platform.architecture === architecture());
}

async function openDocker(
  members: Members,
  docker: Member,
  image: string | null,
): Promise<SourceLayer[]> {
  const images = listOf(await readJson(docker, "manifest.json")).map(asObject);
  const wanted = image === null
    ? images
    : images.filter((one) => asStrings(one["RepoTags"] ?? []).includes(image));
  const [chosen] = wanted;
  if (chosen === undefined || wanted.length > 1) {
    const tags = images.flatMap((one) => asStrings(one["RepoTags"] ?? []));
    throw new TarboxError(
      `the archive has ${images.length} images: ${tags.join(", ")}`,
      "say which one with --image",
    );
  }
  const configPath = String(chosen["Config"]);
  const configMember = await existing(members, configPath);
  const digest = /([0-9a-f]{64})(\.json)?$/.exec(configPath)?.[1];
  const config = asObject(
    await readJson(configMember, configPath, digest === undefined ? null : `sha256:${digest}`),
  );
  const paths = asStrings(chosen["Layers"]);
  const diffIds = diffIdsOf(config, paths.length);
  const history = historyOf(config, paths.length);
  const out: SourceLayer[] = [];
  for (const [i, path] of paths.entries()) {
    // The diff_id is the digest of the layer here: checked while it is applied.
    out.push(sourceLayer(await existing(members, path), diffIds[i]!, history?.[i], {}));
  }
  return out;
}

async function existing(members: Members, path: string): Promise<Member> {
  const member = await members.find(path.replace(/^(\.\/)+/, ""));
  if (member === null) throw new TarboxError(`the archive lacks ${path}`, "it is incomplete");
  return member;
}

function diffIdsOf(config: JsonObject, layers: number): readonly string[] {
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
function historyOf(config: JsonObject, layers: number): readonly HistoryLine[] | null {
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

function listOf(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new TarboxError("the image has a document that is malformed");
  return value;
}

async function readDocument(members: Members, descriptor: Descriptor): Promise<unknown> {
  const blob = await findBlob(members, descriptor, descriptor.mediaType);
  return await readJson(blob, descriptor.mediaType, descriptor.digest);
}

async function findBlob(members: Members, descriptor: Descriptor, name: string): Promise<Member> {
  const blob = await existing(members, `blobs/${descriptor.digest.replace(":", "/")}`);
  if (blob.size !== descriptor.size) {
    throw new TarboxError(
      `${name} has ${blob.size} bytes, but its descriptor says ${descriptor.size}`,
      "the archive is damaged; nothing of it was added",
    );
  }
  return blob;
}

async function verifiedBlob(
  members: Members,
  descriptor: Descriptor,
  name: string,
): Promise<Member> {
  const blob = await findBlob(members, descriptor, name);
  const digester = new Digester();
  for await (const _ of digester.of(blob.open()));
  checkDigest(name, digester.result().digest, descriptor.digest);
  return blob;
}

/** @throws {TarboxError} when bytes are not those that a digest names. */
export function checkDigest(name: string, actual: string, expected: string): void {
  if (actual === expected) return;
  throw new TarboxError(
    `${name} has the digest ${actual}, but must have ${expected}`,
    "the archive is damaged or was tampered with; nothing of it was added",
  );
}

async function readJson(
  member: Member,
  name: string,
  digest: string | null = null,
): Promise<unknown> {
  if (member.size > JSON_BYTES_MAX) {
    throw new TarboxError(`${name} has ${member.size} bytes; no such document is that large`);
  }
  const digester = new Digester();
  const bytes = new Uint8Array(member.size);
  let at = 0;
  for await (const chunk of digester.of(member.open())) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  if (digest !== null) checkDigest(name, digester.result().digest, digest);
  try {
    return JSON.parse(text(bytes));
  } catch {
    throw new TarboxError(`${name} is no JSON`, "the archive is damaged");
  }
}
