import { memoryStore } from "../../../src/store/memory/store.ts";
import type { Store } from "../../../src/store/store.ts";
import { CATALOG } from "./catalog.ts";
import { LAYERS } from "./layers.ts";
import { LEASES } from "./leases.ts";
import { runRandomProgram } from "./random.ts";
import { TREES } from "./trees.ts";

/**
 * What every store promises, as steps of a test. `open` gives the store of a new, empty tenant.
 */
export async function conforms(t: Deno.TestContext, open: () => Promise<Store>): Promise<void> {
  for (const { name, run } of [...TREES, ...CATALOG, ...LAYERS, ...LEASES]) {
    await t.step(name, async () => {
      const store = await open();
      try {
        await run(store);
      } finally {
        await store.close();
      }
    });
  }
}

/** Random programs give the same on a store as in memory. */
export async function agrees(
  t: Deno.TestContext,
  open: () => Promise<Store>,
  seeds: readonly number[],
  steps: number,
): Promise<void> {
  for (const seed of seeds) {
    await t.step(`random program ${seed}`, async () => {
      const store = await open();
      try {
        await runRandomProgram(memoryStore(), store, seed, steps, 7);
      } finally {
        await store.close();
      }
    });
  }
}
