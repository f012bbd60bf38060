import { TarboxError } from "../base/errors.ts";

/** An image in a registry: `[HOST[:PORT]/]REPOSITORY[:TAG][@sha256:…]`. */
export interface ImageName {
  /** Host and port that are asked. */
  readonly host: string;
  readonly repository: string;
  readonly tag: string;
  /** Null: what the tag points to. */
  readonly digest: string | null;
}

/** Who writes no host means Docker Hub, whose registry has another host than its name. */
const HUB = "docker.io";
const HUB_REGISTRY = "registry-1.docker.io";

/** Repository grammar of the distribution spec, "Pulling manifests". */
const REPOSITORY = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

/** Parses the name of an image as docker does. @throws {TarboxError} saying what is wrong. */
export function parseImageName(written: string): ImageName {
  const wrong = (why: string) =>
    new TarboxError(
      `image ${written}: ${why}`,
      "write it as registry.example.org/name:tag",
      2,
    );
  let rest = written.replace(/^docker:\/\//, "");
  let digest: string | null = null;
  const at = rest.indexOf("@");
  if (at >= 0) {
    digest = rest.slice(at + 1);
    rest = rest.slice(0, at);
    if (!/^sha256:[0-9a-f]{64}$/.test(digest)) throw wrong("its digest is none of SHA-256");
  }
  const colon = rest.lastIndexOf(":");
  let tag = "latest";
  if (colon > rest.lastIndexOf("/")) {
    tag = rest.slice(colon + 1);
    rest = rest.slice(0, colon);
    if (!TAG.test(tag)) throw wrong(`${JSON.stringify(tag)} is no legal tag`);
  }
  const slash = rest.indexOf("/");
  const first = slash < 0 ? "" : rest.slice(0, slash);
  const named = /[.:]/.test(first) || first === "localhost";
  const host = named ? first : HUB;
  let repository = named ? rest.slice(slash + 1) : rest;
  if (host === HUB && !repository.includes("/")) repository = `library/${repository}`;
  if (!REPOSITORY.test(repository)) throw wrong(`${repository} is no legal repository name`);
  if (!/^([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(:[0-9]+)?$/.test(host)) throw wrong("a malformed host");
  return { host: host === HUB ? HUB_REGISTRY : host, repository, tag, digest };
}

/** Keys under which credentials of a registry may stand in docker's configuration. */
export function credentialKeys(host: string): readonly string[] {
  const hub = ["https://index.docker.io/v1/", "index.docker.io", HUB];
  return [...host === HUB_REGISTRY ? hub : [], host, `https://${host}`, `http://${host}`];
}

/** Whether only this machine can be at that host. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/:[0-9]+$/, "");
  return name === "localhost" || name === "[::1]" || /^127(\.[0-9]{1,3}){3}$/.test(name);
}
