import { text } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import type { Member, Members } from "./archive.ts";
import { type Descriptor, MEDIA_INDEX } from "./image_format.ts";
import {
  type BlobSource,
  diffIdsOf,
  historyOf,
  type ImageChoice,
  imageOf,
  JSON_BYTES_MAX,
  listOf,
  type SourceImage,
  sourceLayer,
} from "./image_manifest.ts";
import { asObject, asStrings } from "./json.ts";
import { Digester } from "./spool.ts";

/**
 * The image in an archive or layout directory; size and digest of each document are verified, those
 * of a layer when it is fetched.
 *
 * @throws {TarboxError} when it is no image archive, or is damaged.
 */
export async function openImage(members: Members, choice: ImageChoice): Promise<SourceImage> {
  const index = await members.find("index.json");
  if (index !== null && await members.find("oci-layout") !== null) {
    return await openLayout(members, index, choice);
  }
  const docker = await members.find("manifest.json");
  if (docker !== null) return await openDocker(members, docker, choice);
  throw new TarboxError(
    "this is no image archive: it has neither an OCI layout nor a docker manifest",
    "to import a plain tar as one layer give that a name with --name",
  );
}

async function openLayout(
  members: Members,
  index: Member,
  choice: ImageChoice,
): Promise<SourceImage> {
  const layout = asObject(await readJson((await members.find("oci-layout"))!, "oci-layout"));
  if (!String(layout["imageLayoutVersion"]).startsWith("1.")) {
    throw new TarboxError(`the image layout has version ${layout["imageLayoutVersion"]}, not 1.x`);
  }
  const source: BlobSource = {
    async document(descriptor) {
      const blob = await findBlob(members, descriptor, descriptor.mediaType);
      return await readJson(blob, descriptor.mediaType, descriptor.digest);
    },
    layer: (descriptor, name) => verifiedBlob(members, descriptor, name),
  };
  const top = { mediaType: MEDIA_INDEX, digest: "", size: index.size };
  return await imageOf(source, top, await readJson(index, "index.json"), choice);
}

async function openDocker(
  members: Members,
  docker: Member,
  { image, platform }: ImageChoice,
): Promise<SourceImage> {
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
  if (platform !== null && config["architecture"] !== platform.architecture) {
    throw new TarboxError(
      `the archive's image is for ${config["architecture"]}, not ${platform.architecture}`,
    );
  }
  const paths = asStrings(chosen["Layers"]);
  const diffIds = diffIdsOf(config, paths.length);
  const history = historyOf(config, paths.length);
  return {
    config,
    // The diff_id is the digest of the layer here: checked while it is applied.
    layers: paths.map((path, i) =>
      sourceLayer(() => existing(members, path), null, diffIds[i]!, history?.[i], {})
    ),
  };
}

async function existing(members: Members, path: string): Promise<Member> {
  const member = await members.find(path.replace(/^(\.\/)+/, ""));
  if (member === null) throw new TarboxError(`the archive lacks ${path}`, "it is incomplete");
  return member;
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
  return parseJson(bytes, name);
}

/** @throws {TarboxError} when bytes are no JSON. */
export function parseJson(bytes: Uint8Array, name: string): unknown {
  try {
    return JSON.parse(text(bytes));
  } catch {
    throw new TarboxError(`${name} is no JSON`, "the archive is damaged");
  }
}
