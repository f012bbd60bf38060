/** Random programs on the mounted tree over the store in memory; `deno task soak` runs many more. */
import { memoryStore } from "../../src/store/memory/store.ts";
import { runProgram } from "./program.ts";
import { BOUNDS } from "./kernel.ts";
import { treeTarget } from "./tree_target.ts";

/** Programs that once found something. */
const PINNED: readonly number[] = [4];

const SEEDS = [...PINNED, 1001, 1002, 1003, 1004, 1005];

for (const seed of SEEDS) {
  Deno.test(`random program ${seed} is the same on the tree as on its model`, async () => {
    const target = await treeTarget(memoryStore(), BOUNDS[seed % BOUNDS.length]!);
    await runProgram(target, seed, { operations: 1000, compareEvery: 300, remountEvery: 150 });
  });
}
