import { join } from "node:path";
import { text, utf8 } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import { credentialKeys } from "./image_name.ts";
import { asObject, type JsonObject } from "./json.ts";

/** What lets somebody into a registry. */
export type Credentials =
  | { readonly username: string; readonly password: string }
  /** A refresh token, as docker's `identitytoken`. */
  | { readonly refreshToken: string }
  /** A bearer token that is used as it is. */
  | { readonly token: string };

/** Seconds that a credential helper may take. */
const HELPER_SECONDS = 30;

/**
 * The credentials for a registry: user name with the password of `TARBOX_REGISTRY_PASSWORD`, else the
 * token of `TARBOX_REGISTRY_TOKEN`, else what docker or podman keep (`config.json`, `auth.json`, and
 * their credential helpers). Null: none.
 *
 * @throws {TarboxError} when a user is named without a password, or a file or helper is broken.
 */
export async function findCredentials(
  host: string,
  username: string | null,
): Promise<Credentials | null> {
  if (username !== null) {
    const password = Deno.env.get("TARBOX_REGISTRY_PASSWORD");
    if (password === undefined) {
      throw new TarboxError(
        `registry ${host}: there is no password for ${username}`,
        "put it into the environment as TARBOX_REGISTRY_PASSWORD",
        2,
      );
    }
    return { username, password };
  }
  const token = Deno.env.get("TARBOX_REGISTRY_TOKEN");
  if (token !== undefined && token !== "") return { token };
  for (const file of configFiles()) {
    const found = await fromFile(file, host);
    if (found !== null) return found;
  }
  return null;
}

/** Where docker, podman and skopeo keep credentials, the first that has some wins. */
function configFiles(): string[] {
  const named = Deno.env.get("REGISTRY_AUTH_FILE");
  const docker = Deno.env.get("DOCKER_CONFIG");
  const runtime = Deno.env.get("XDG_RUNTIME_DIR");
  const home = Deno.env.get("HOME");
  return [
    named,
    docker === undefined ? undefined : join(docker, "config.json"),
    runtime === undefined ? undefined : join(runtime, "containers/auth.json"),
    home === undefined ? undefined : join(home, ".docker/config.json"),
    home === undefined ? undefined : join(home, ".config/containers/auth.json"),
  ].filter((file) => file !== undefined);
}

async function fromFile(file: string, host: string): Promise<Credentials | null> {
  let config: JsonObject;
  try {
    config = asObject(JSON.parse(await Deno.readTextFile(file)));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return null;
    }
    throw new TarboxError(`${file} cannot be read as credentials of registries`);
  }
  const keys = credentialKeys(host);
  const helpers = optional(config["credHelpers"]);
  for (const key of keys) {
    const helper = helpers[key];
    if (typeof helper === "string") return await fromHelper(helper, key);
  }
  const auths = optional(config["auths"]);
  for (const key of keys) {
    const found = fromEntry(optional(auths[key]), file);
    if (found !== null) return found;
  }
  const store = config["credsStore"];
  if (typeof store !== "string") return null;
  for (const key of keys) {
    const found = await fromHelper(store, key);
    if (found !== null) return found;
  }
  return null;
}

function optional(value: unknown): JsonObject {
  return value === undefined || value === null ? {} : asObject(value);
}

function fromEntry(entry: JsonObject, file: string): Credentials | null {
  const { identitytoken, registrytoken, auth } = entry;
  if (typeof registrytoken === "string" && registrytoken !== "") return { token: registrytoken };
  if (typeof identitytoken === "string" && identitytoken !== "") {
    return { refreshToken: identitytoken };
  }
  if (typeof auth !== "string" || auth === "") return null;
  let pair: string;
  try {
    pair = text(Uint8Array.fromBase64(auth));
  } catch {
    throw new TarboxError(`${file} has an \`auth\` that is no base64`);
  }
  const colon = pair.indexOf(":");
  if (colon < 0) throw new TarboxError(`${file} has an \`auth\` without a password`);
  return { username: pair.slice(0, colon), password: pair.slice(colon + 1).replace(/\0+$/, "") };
}

/** Asks `docker-credential-NAME get`; null when it knows nothing of the registry. */
async function fromHelper(name: string, server: string): Promise<Credentials | null> {
  const program = `docker-credential-${name}`;
  if (!/^[A-Za-z0-9._-]+$/.test(name)) throw new TarboxError(`${program} is no credential helper`);
  let output: Deno.CommandOutput;
  try {
    const child = new Deno.Command(program, {
      args: ["get"],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
      signal: AbortSignal.timeout(HELPER_SECONDS * 1000),
    }).spawn();
    const writer = child.stdin.getWriter();
    // A helper that ends without reading says so by its status.
    await writer.write(utf8(`${server}\n`)).catch(() => {});
    await writer.close().catch(() => {});
    output = await child.output();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new TarboxError(
      `registry ${server}: its credentials are kept by ${program}, which is not installed`,
      "install it, or name a user with --username",
    );
  }
  if (output.code !== 0) {
    // Helpers tell this on standard output, in these words.
    if (/credentials not found|no credentials/i.test(text(output.stdout))) return null;
    throw new TarboxError(`registry ${server}: ${program} failed with status ${output.code}`);
  }
  try {
    const { Username, Secret } = asObject(JSON.parse(text(output.stdout)));
    if (typeof Username !== "string" || typeof Secret !== "string") throw new Error("no strings");
    return Username === "<token>"
      ? { refreshToken: Secret }
      : { username: Username, password: Secret };
  } catch {
    throw new TarboxError(`registry ${server}: ${program} answered with something malformed`);
  }
}
