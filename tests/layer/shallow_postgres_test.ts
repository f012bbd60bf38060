import assert from "node:assert/strict";
import fc from "fast-check";
import { checkState } from "../../src/layer/check.ts";
import { switchTo } from "../../src/layer/checkpoint.ts";
import { keepShallow } from "../../src/layer/shallow.ts";
import { memoryStore } from "../../src/store/memory/store.ts";
import { openStore } from "../../src/store/postgres/store.ts";
import type { Store } from "../../src/store/store.ts";
import { startEngine } from "../durability/engine.ts";
import { TreeFixture } from "./fixture.ts";
import { picture, type Step, step, take } from "./random_tree.ts";

/** Changes, seals and switches to what was sealed, again and again: a chain of forks of forks. */
async function deepChain(store: Store, rounds: readonly (readonly Step[])[], shallow: boolean) {
  const tree = await TreeFixture.make(store, "deep");
  const pictures: Map<string, string>[] = [];
  for (const steps of rounds) {
    for (const next of steps) if (next.kind !== "seal") await take(tree, next);
    const layer = await tree.seal();
    await switchTo(store, await tree.row(), tree.epoch, layer.name);
    if (shallow) await keepShallow(store, await store.chain((await tree.row()).head));
    pictures.push(await picture(tree, layer.point));
  }
  const { head } = await tree.row();
  const { violations } = await checkState(store, head);
  assert.deepEqual(violations, []);
  return { pictures, tree };
}

/** What does not depend on when it was done. */
function timeless(pictures: readonly Map<string, string>[]): string[][] {
  return pictures.map((facts) =>
    [...facts].map(([path, text]) => `${path} ${text.replace(/^(\d+ \d+) -?\d+/, "$1")}`)
  );
}

Deno.test("a chain of many forks shows the same when it is summed up", async () => {
  const [rounds] = fc.sample(
    fc.array(fc.array(step, { minLength: 2, maxLength: 6 }), { minLength: 18, maxLength: 18 }),
    { numRuns: 1, seed: 7 },
  );
  const engine = await startEngine();
  try {
    const store = await openStore(engine.database, "default");
    try {
      const real = await deepChain(store, rounds!, true);
      const model = await deepChain(memoryStore(), rounds!, false);
      assert.deepEqual(timeless(real.pictures), timeless(model.pictures));
      const { head } = await real.tree.row();
      const chain = await store.chain(head);
      assert.equal(chain.length, 19);
      // What is needed only through a summary survives the collector.
      await store.collectGarbage(0);
      assert.deepEqual(
        (await checkState(store, head)).violations,
        [],
      );
      // Who comes later learns of it, too; and once is enough.
      const other = await openStore(engine.database, "default");
      try {
        assert.equal(await other.summarize(chain[1]!, 8), false);
        assert.deepEqual(
          [...await picture({ store: other } as TreeFixture, head)],
          [...await picture(real.tree, head)],
        );
      } finally {
        await other.close();
      }
    } finally {
      await store.close();
    }
  } finally {
    await engine.close();
  }
});
