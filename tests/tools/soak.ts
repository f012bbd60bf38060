/**
 * `deno task soak [OPERATIONS] [SEED]`: random programs on the mounted tree, 1,000,000 operations by
 * default, a new tree every 1000. A seed that fails is a program that fails again:
 * `deno task soak 1000 SEED`.
 */
import { memoryStore } from "../../src/store/memory/store.ts";
import { runProgram } from "../random/program.ts";
import { BOUNDS } from "../random/kernel.ts";
import { treeTarget } from "../random/tree_target.ts";

/** Operations of one program; those in the tests run as many, so that seeds mean the same. */
const PROGRAM = 1000;

const operations = Number(Deno.args[0] ?? 1_000_000);
const first = Number(Deno.args[1] ?? 1);
const count = Math.ceil(operations / PROGRAM);
const started = Date.now();
for (let seed = first; seed < first + count; seed++) {
  const target = await treeTarget(memoryStore(), BOUNDS[seed % BOUNDS.length]!);
  await runProgram(target, seed, { operations: PROGRAM, compareEvery: 300, remountEvery: 150 });
  if ((seed - first) % 50 === 49) {
    const seconds = ((Date.now() - started) / 1000).toFixed(0);
    console.log(`${(seed - first + 1) * PROGRAM} operations, ${seconds} s`);
  }
}
console.log(`${count * PROGRAM} operations, seeds ${first} to ${first + count - 1}: no difference`);
