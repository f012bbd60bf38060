/**
 * `deno task demo`: the main job on real parts. An npm project and a git repository in a mount,
 * checkpointed, changed, exported, imported into a second cluster, mounted, and compared byte for
 * byte. Prints each command; exit status 1 if anything differs.
 */
import { join } from "node:path";

const base = await Deno.makeTempDir({ prefix: "tarbox-demo-" });
const [one, two] = [join(base, "one"), join(base, "two")];
const [mountOne, mountTwo] = [join(base, "mnt-one"), join(base, "mnt-two")];
const archive = join(base, "image.tar");
const binary = Deno.env.get("TARBOX_BINARY");
const tarbox = binary === undefined
  ? [Deno.execPath(), "run", "-A", "--frozen", join(Deno.cwd(), "main.ts")]
  : [binary];

/** Longest time that one command may take. */
const LIMIT_SECONDS = 300;

/** Runs a command, printed as a person would type it. */
async function run(
  command: readonly string[],
  options: { home?: string; cwd?: string; status?: readonly number[] } = {},
): Promise<void> {
  const shown = command.join(" ").replace(tarbox.join(" "), "tarbox").replaceAll(base, "$DEMO");
  console.log(`$ ${options.home === two ? "TARBOX_HOME=$DEMO/two " : ""}${shown}`);
  const { code } = await new Deno.Command("timeout", {
    args: ["-k", "5", String(LIMIT_SECONDS), ...command],
    cwd: options.cwd,
    env: { TARBOX_HOME: options.home ?? one },
  }).spawn().status;
  if (!(options.status ?? [0]).includes(code)) throw new Error(`it ended with status ${code}`);
}

/** Type, mode, owner, size, links, times, target and content of everything below a directory. */
async function listing(directory: string): Promise<string> {
  const { stdout, success } = await new Deno.Command("/bin/sh", {
    args: [
      "-c",
      "find . -printf '%p %y %m %U %G %n %s %T@ %l\\n' | sort; " +
      "find . -type f -print0 | sort -z | xargs -0 sha256sum",
    ],
    cwd: directory,
  }).output();
  if (!success) throw new Error(`${directory} cannot be listed`);
  return new TextDecoder().decode(stdout);
}

async function demo(): Promise<void> {
  await Deno.chmod(base, 0o755);
  const git = ["git", "-c", "user.name=demo", "-c", "user.email=demo@example.org"];
  await run([...tarbox, "mount", "--create", mountOne]);
  const project = join(mountOne, "project");
  await Deno.mkdir(project);
  await Deno.writeTextFile(join(project, "package.json"), '{"name":"demo","version":"1.0.0"}\n');
  await run(["npm", "install", "--no-audit", "--no-fund", "lodash@4.17.21", "typescript@5.6.3"], {
    cwd: project,
  });
  await Deno.writeTextFile(join(project, ".gitignore"), "node_modules\n");
  await run(["git", "init", "-q"], { cwd: project });
  await run(["git", "add", "-A"], { cwd: project });
  await run([...git, "commit", "-q", "-m", "first"], { cwd: project });
  await run([...tarbox, "checkpoint", "installed", "-m", "npm install and a first commit"]);
  await Deno.writeTextFile(join(project, "index.js"), "console.log(require('lodash').now());\n");
  await Deno.writeTextFile(join(project, "package.json"), '{"name":"demo","version":"1.1.0"}\n');
  await run(["node", "index.js"], { cwd: project });
  await run([...tarbox, "diff", "installed"], { status: [1] });
  await run([...tarbox, "checkpoint", "changed"]);
  await run([...tarbox, "layers"]);
  const before = await listing(mountOne);
  await run([...tarbox, "export", "changed", "-o", archive]);
  await run([...tarbox, "init"], { home: two });
  await run([...tarbox, "import", "--switch", archive], { home: two });
  await run([...tarbox, "mount", "--create", mountTwo], { home: two });
  const after = await listing(mountTwo);
  console.log(`${before.split("\n").length} lines describe the first tree`);
  if (before !== after) {
    await Deno.writeTextFile(join(base, "before"), before);
    await Deno.writeTextFile(join(base, "after"), after);
    await run(["diff", join(base, "before"), join(base, "after")], { status: [1] });
    throw new Error("the two trees differ");
  }
  console.log("both trees are the same, byte for byte");
}

let failed = false;
try {
  await demo();
} catch (error) {
  failed = true;
  console.error(`demo failed: ${error instanceof Error ? error.message : error}`);
}
for (const [home, directory] of [[one, mountOne], [two, mountTwo]] as const) {
  await run([...tarbox, "umount", directory], { home, status: [0, 1] }).catch(console.error);
  await run([...tarbox, "db", "stop"], { home, status: [0, 1] }).catch(console.error);
  await new Deno.Command("umount", { args: ["-l", directory], stderr: "null" }).output();
}
if (!failed) await Deno.remove(base, { recursive: true });
Deno.exit(failed ? 1 : 0);
