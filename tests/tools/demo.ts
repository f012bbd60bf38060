/**
 * `deno task demo`: the main job on real parts. An npm project and a git repository in a mount,
 * checkpointed, changed, exported, imported into a second cluster, mounted, and compared byte for
 * byte. Prints each command as it runs it; exit status 1 if anything differs. Leaves nothing behind.
 */
import { join } from "node:path";
import { unmountBeneath } from "./process.ts";

/** Longest time that one command may take. */
const LIMIT_SECONDS = 300;

/** What is compared of each file beside its content: type, mode, owner, links, size, mtime, target. */
const FACTS = "find . -printf '%p %y %m %U %G %n %s %T@ %l\\n' | sort";

const base = await Deno.makeTempDir({ prefix: "tarbox-demo-" });
let interrupted = false;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, () => {
    interrupted = true;
  });
}

/** Puts a program of the name `tarbox` on the path: the binary under test, else this checkout. */
async function install(): Promise<void> {
  await Deno.chmod(base, 0o755);
  const program = join(base, "bin", "tarbox");
  await Deno.mkdir(join(base, "bin"));
  const binary = Deno.env.get("TARBOX_BINARY");
  if (binary !== undefined) return await Deno.symlink(binary, program);
  const main = `"${Deno.execPath()}" run -A --frozen "${join(Deno.cwd(), "main.ts")}"`;
  await Deno.writeTextFile(program, `#!/bin/sh\nexec ${main} "$@"\n`, { mode: 0o755 });
}

/** What the commands before have set, as a shell has it. */
const shell = { cwd: base, home: "$DEMO/one" };

/** Runs a line of shell. @returns its exit status */
async function attempt(line: string): Promise<number> {
  console.log(`$ ${line}`);
  const child = new Deno.Command("timeout", {
    args: ["-k", "5", String(LIMIT_SECONDS), "sh", "-c", line],
    cwd: shell.cwd,
    env: {
      DEMO: base,
      TARBOX_HOME: shell.home.replace("$DEMO", base),
      PATH: `${join(base, "bin")}:${Deno.env.get("PATH")}`,
    },
    stdin: "null",
  }).spawn();
  return (await child.status).code;
}

/** Runs a line of shell. @throws {Error} when it ends with another status, or a signal came */
async function run(line: string, expected = 0): Promise<void> {
  const status = await attempt(line);
  if (interrupted) throw new Error("interrupted");
  if (status !== expected) throw new Error(`it ended with status ${status}, not ${expected}`);
}

function cd(directory: string): void {
  console.log(`$ cd ${directory}`);
  shell.cwd = directory.replace("$DEMO", base);
}

function useHome(home: string): void {
  console.log(`$ export TARBOX_HOME=${home}`);
  shell.home = home;
}

async function demo(): Promise<void> {
  useHome("$DEMO/one");
  await run("tarbox mount --create $DEMO/mnt-one");
  await run("mkdir $DEMO/mnt-one/project");
  cd("$DEMO/mnt-one/project");
  await run(`echo '{"name":"demo","version":"1.0.0"}' > package.json`);
  await run("npm install --no-audit --no-fund lodash@4.17.21 typescript@5.6.3");
  await run("echo node_modules > .gitignore");
  await run("git init -q && git add -A");
  await run("git -c user.name=demo -c user.email=demo@example.org commit -q -m first");
  await run("tarbox checkpoint installed -m 'npm install and a first commit'");
  await run(`echo "console.log(require('lodash').chunk([1, 2, 3], 2));" > index.js`);
  await run(`sed -i s/1.0.0/1.1.0/ package.json`);
  await run("node index.js");
  await run("git status --short");
  await run("tarbox diff installed", 1);
  await run("tarbox checkpoint changed");
  await run("tarbox layers");
  await run("tarbox export changed -o $DEMO/image.tar");
  cd("$DEMO/mnt-one");
  await run(`${FACTS} > $DEMO/one.list`);

  useHome("$DEMO/two");
  await run("tarbox import --switch $DEMO/image.tar");
  await run("tarbox mount --create $DEMO/mnt-two");
  await run("tarbox layers");
  cd("$DEMO/mnt-two");
  await run(`${FACTS} > $DEMO/two.list`);
  await run("wc -l < $DEMO/two.list");
  await run("cmp $DEMO/one.list $DEMO/two.list || diff $DEMO/one.list $DEMO/two.list");
  await run("diff -r --no-dereference $DEMO/mnt-one $DEMO/mnt-two");
  cd("$DEMO/mnt-two/project");
  await run("git status --short && git fsck --no-dangling && node index.js");
  console.log("both trees are the same, byte for byte");
}

/** Takes down what may be there; what is not there does not matter. */
async function cleanUp(): Promise<void> {
  shell.cwd = base;
  for (const cluster of ["one", "two"]) {
    if (await Deno.stat(join(base, cluster)).then(() => false, () => true)) continue;
    useHome(`$DEMO/${cluster}`);
    await attempt(`tarbox umount $DEMO/mnt-${cluster}`);
    await attempt("tarbox db stop");
  }
  await unmountBeneath(base);
  await Deno.remove(base, { recursive: true });
}

let failed = false;
try {
  await install();
  await demo();
} catch (error) {
  failed = true;
  console.error(`demo failed: ${error instanceof Error ? error.message : error}`);
}
try {
  await cleanUp();
} catch (error) {
  failed = true;
  console.error(`demo: cleaning up ${base} failed: ${error}`);
}
Deno.exit(failed ? 1 : 0);
