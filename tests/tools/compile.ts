/**
 * `deno task compile`: writes `dist/tarbox`, the program with its engine inside; with
 * `--target TRIPLE`, as `deno compile` names them, `dist/tarbox-PLATFORM` with the engine of that
 * platform. Uses Deno's own runtime part; where its host is not reachable, `DENORT_BIN`, else a program
 * on npm that was compiled with a near Deno version (spec/decisions/0004-compile-without-denos-host.md).
 */
import { packBundle } from "../../src/engine/bundle.ts";
import { BUNDLE_PATH, type ENGINE_PLATFORMS } from "../../src/engine/unpack.ts";
import { fetchEngine } from "./engine_package.ts";
import { runBounded } from "./process.ts";

/** Version of the packages with compiled programs whose runtime part serves. */
const RUNTIME_VERSION = "0.22.2";

/** Names of the platforms as targets of `deno compile`. */
const TARGETS: Readonly<Record<string, typeof ENGINE_PLATFORMS[number]>> = {
  "x86_64-unknown-linux-gnu": "linux-x64",
  "aarch64-unknown-linux-gnu": "linux-arm64",
  "x86_64-apple-darwin": "darwin-x64",
  "aarch64-apple-darwin": "darwin-arm64",
};

const at = Deno.args.indexOf("--target");
const target = at < 0 ? Deno.build.target : Deno.args[at + 1] ?? "";
const platform = TARGETS[target];
if (platform === undefined) {
  console.error(`no engine for ${target}; targets are ${Object.keys(TARGETS).join(", ")}`);
  Deno.exit(2);
}
const output = at < 0 ? "dist/tarbox" : `dist/tarbox-${platform}`;

async function compile(env: Record<string, string>, limitSeconds: number): Promise<boolean> {
  const { code, output: text, timedOut } = await runBounded(Deno.execPath(), [
    "compile",
    "-A",
    "--frozen",
    "--no-check",
    // The lock names packages for tests alone, and the engines of all platforms.
    "--exclude-unused-npm",
    // Exports and imports bound their memory with it.
    "--v8-flags=--expose-gc",
    "--target",
    target,
    "--include",
    "src/mount/worker.ts",
    "--include",
    BUNDLE_PATH,
    "-o",
    output,
    "main.ts",
  ], { limitSeconds, env });
  if (code === 0 && !timedOut) return true;
  console.log(text.trim().split("\n").slice(-3).join("\n"));
  return false;
}

/**
 * The runtime part out of an npm package, kept in a folder of this checkout: a compiled program
 * serves, since what is appended last wins.
 */
async function runtimeFromNpm(name: string): Promise<string> {
  const folder = `${Deno.cwd()}/.cache/${name.replaceAll(/[^a-z0-9.]+/g, "-")}`;
  const file = `${folder}/package/bin/steady`;
  if (await Deno.stat(file).then(() => true, () => false)) return file;
  await Deno.mkdir(folder, { recursive: true });
  const packed = await runBounded("npm", ["pack", name, "--silent"], {
    limitSeconds: 120,
    cwd: folder,
  });
  const archive = packed.output.trim().split("\n").pop()!;
  const unpacked = await runBounded("tar", ["xzf", archive], { limitSeconds: 60, cwd: folder });
  if (packed.code !== 0 || unpacked.code !== 0) throw new Error(packed.output + unpacked.output);
  await Deno.chmod(file, 0o755);
  return file;
}

await Deno.mkdir("dist", { recursive: true });
await Deno.writeFile(BUNDLE_PATH, await packBundle(await fetchEngine(platform)));
if (Deno.env.has("DENORT_BIN")) {
  if (!await compile({}, 240)) Deno.exit(1);
} else if (!await compile({}, 60)) {
  const runtime = `@stdy/cli-${platform}@${RUNTIME_VERSION}`;
  console.log(`Deno's own host is not reachable; using the runtime of ${runtime}`);
  if (!await compile({ DENORT_BIN: await runtimeFromNpm(runtime) }, 240)) Deno.exit(1);
}
const megabytes = async (path: string) => ((await Deno.stat(path)).size / 2 ** 20).toFixed(0);
console.log(
  `${output}: ${await megabytes(output)} MB, with the engine of ${platform}, ` +
    `${await megabytes(BUNDLE_PATH)} MB`,
);
