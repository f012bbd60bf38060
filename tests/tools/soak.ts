/**
 * `deno task soak [tree|native|mount] [OPERATIONS] [SEED]`: random programs compared with their model,
 * 1,000,000 operations by default.
 * - `tree` (default): on the mounted tree in this process, a new one for each program;
 * - `native`: in a directory of this machine, the control; needs root and a filesystem with ACLs;
 * - `mount`: on a mount of the compiled program, a new workspace for each program, with remounts,
 *   checkpoints, switches, and a check of all that is stored; needs root.
 *
 * A seed that fails is a program that fails again: `deno task soak mount 1 SEED`.
 */
import { Installation } from "../e2e/installation.ts";
import { memoryStore } from "../../src/store/memory/store.ts";
import { directoryTarget, NOTHING_AROUND } from "../random/directory_target.ts";
import { BOUNDS } from "../random/kernel.ts";
import { mountSurroundings } from "../random/mount_surroundings.ts";
import { type ProgramOptions, runProgram } from "../random/program.ts";
import { treeTarget } from "../random/tree_target.ts";

/** As long as those in the tests, so that seeds mean the same. */
const TREE: ProgramOptions = { operations: 1000, compareEvery: 300, remountEvery: 150 };

/** A remount of a real one takes as long as a thousand operations: programs are longer. */
const DIRECTORY: ProgramOptions = { operations: 10_000, compareEvery: 1000, remountEvery: 1000 };

/** Operations between two lines of progress. */
const PROGRESS = 50_000;

const PLACES = { tree: onTree, native: onNative, mount: onMount };
type Place = keyof typeof PLACES;

const named = Object.hasOwn(PLACES, Deno.args[0] ?? "");
const place = (named ? Deno.args[0] : "tree") as Place;
const [operations = 1_000_000, first = 1] = Deno.args.slice(named ? 1 : 0).map(Number);
if (!Number.isInteger(operations) || !Number.isInteger(first)) {
  throw new Error("usage: soak [tree|native|mount] [OPERATIONS] [SEED]");
}
await PLACES[place]();

/** Runs as many programs as make up the operations, each with a seed of its own. */
async function programs(options: ProgramOptions, run: (seed: number) => Promise<void>) {
  const started = Date.now();
  const count = Math.ceil(operations / options.operations);
  let told = 0;
  for (let seed = first; seed < first + count; seed++) {
    await run(seed);
    const done = (seed - first + 1) * options.operations;
    if (done - told < PROGRESS) continue;
    told = done;
    console.log(`${done} operations, ${((Date.now() - started) / 1000).toFixed(0)} s`);
  }
  const last = first + count - 1;
  console.log(
    `${place}: ${count * options.operations} operations, seeds ${first} to ${last}: no difference`,
  );
}

async function onTree(): Promise<void> {
  await programs(TREE, async (seed) => {
    const target = await treeTarget(memoryStore(), BOUNDS[seed % BOUNDS.length]!);
    await runProgram(target, seed, TREE);
  });
}

async function onNative(): Promise<void> {
  await programs(DIRECTORY, async (seed) => {
    const directory = await Deno.makeTempDir({ prefix: "tarbox-native-" });
    try {
      await runProgram(directoryTarget(directory, NOTHING_AROUND), seed, DIRECTORY);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });
}

async function onMount(): Promise<void> {
  const tarbox = await Installation.create();
  try {
    await tarbox.tarbox("db", "start");
    await programs(DIRECTORY, async (seed) => {
      const workspace = `seed-${seed}`;
      const run = (...args: string[]) => tarbox.tarbox("--workspace", workspace, ...args);
      await run("init");
      await run("mount", "--create", tarbox.mountPoint);
      const around = mountSurroundings(tarbox, workspace);
      await runProgram(directoryTarget(tarbox.mountPoint, around), seed, DIRECTORY);
      await run("umount", tarbox.mountPoint);
    });
  } finally {
    await tarbox.remove();
  }
}
