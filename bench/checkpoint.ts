/**
 * `deno run -A bench/checkpoint.ts [--runs N] [--files N,N,…]`: how long a checkpoint of a mounted
 * workspace takes, by the number of its files, and how long a mount takes to serve.
 *
 * A checkpoint is timed as one write to `/.tarbox/layers/new`, from the system call to its return,
 * and as the command `tarbox checkpoint`, a process with its connections to the database. Before
 * each a file is changed, so that there is something to commit and to seal.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { median } from "./statistics.ts";
import { Home, run, tarboxBinary } from "./tarbox.ts";

const FILES_PER_DIRECTORY = 500;

/** Files that are there at the start of each round; each has one line. */
const FILES = "1000,20000,100000";

/** Milliseconds of each run. */
interface Times {
  readonly name: string;
  readonly milliseconds: readonly number[];
}

function print({ name, milliseconds }: Times): void {
  const [least, most] = [Math.min(...milliseconds), Math.max(...milliseconds)];
  console.log(
    `${name.padEnd(58)} median ${median(milliseconds).toFixed(1).padStart(7)} ms` +
      `   ${least.toFixed(1)} to ${most.toFixed(1)}, ${milliseconds.length} runs`,
  );
}

/** Makes files `from` to `to`, and returns when they are committed. */
function makeFiles(directory: string, from: number, to: number): void {
  for (let file = from; file < to; file++) {
    const folder = join(directory, `d${Math.floor(file / FILES_PER_DIRECTORY)}`);
    if (file % FILES_PER_DIRECTORY === 0 || file === from) {
      Deno.mkdirSync(folder, { recursive: true });
    }
    Deno.writeTextFileSync(join(folder, `file-${file}`), `line of file ${file}\n`);
  }
  const handle = Deno.openSync(directory);
  handle.syncSync();
  handle.close();
}

/** Times of mounting: with nothing there, with a cluster, with an engine that runs. */
export async function mountTimes(binary: string, base: string, runs: number): Promise<Times[]> {
  const empty: number[] = [];
  const stopped: number[] = [];
  const running: number[] = [];
  for (let i = 0; i < runs; i++) {
    const home = new Home(binary, base, `start-${i}`);
    try {
      empty.push((await home.mount()).milliseconds);
      await home.unmount();
      running.push((await home.mount()).milliseconds);
      await home.unmount();
      await home.tarbox("db", "stop");
      stopped.push((await home.mount()).milliseconds);
      await home.unmount();
    } finally {
      await home.close();
    }
  }
  return [
    { name: "empty home to served mount", milliseconds: empty },
    { name: "cluster there, engine stopped, to served mount", milliseconds: stopped },
    { name: "engine running, to served mount", milliseconds: running },
  ];
}

/** Times of a checkpoint while mounted, as a write and as a command, for each number of files. */
export async function checkpointTimes(
  binary: string,
  base: string,
  counts: readonly number[],
  runs: number,
): Promise<Times[]> {
  const home = new Home(binary, base, "checkpoint");
  const times: Times[] = [];
  try {
    await home.mount();
    const control = join(home.mountPoint, ".tarbox/layers/new");
    const changed = join(home.mountPoint, "changed");
    let there = 0;
    for (const count of counts) {
      makeFiles(home.mountPoint, there, count);
      there = count;
      await home.tarbox("checkpoint", `files-${count}`);
      const written: number[] = [];
      const commanded: number[] = [];
      for (let i = 0; i < runs; i++) {
        Deno.writeTextFileSync(changed, `${count} files, write ${i}\n`);
        const started = performance.now();
        Deno.writeTextFileSync(control, `write-${count}-${i}`);
        written.push(performance.now() - started);
        Deno.writeTextFileSync(changed, `${count} files, command ${i}\n`);
        commanded.push((await home.tarbox("checkpoint", `command-${count}-${i}`)).milliseconds);
      }
      times.push(
        { name: `checkpoint of ${count} files (write to layers/new)`, milliseconds: written },
        { name: `checkpoint of ${count} files (the command)`, milliseconds: commanded },
      );
    }
    await home.unmount();
  } finally {
    await home.close();
  }
  return times;
}

if (import.meta.main) {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      runs: { type: "string", default: "5" },
      files: { type: "string", default: FILES },
    },
  });
  const runs = Number(values.runs);
  const binary = await tarboxBinary();
  const base = await Deno.makeTempDir({ prefix: "tarbox-bench-" });
  await Deno.chmod(base, 0o755);
  try {
    const versions: number[] = [];
    for (let i = 0; i < 2 * runs; i++) {
      versions.push((await run([binary, "--version"])).milliseconds);
    }
    print({ name: "tarbox --version", milliseconds: versions });
    for (const times of await mountTimes(binary, base, runs)) print(times);
    const counts = values.files.split(",").map(Number);
    for (const times of await checkpointTimes(binary, base, counts, runs)) print(times);
  } finally {
    await Deno.remove(base, { recursive: true });
  }
}
