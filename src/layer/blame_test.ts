import assert from "node:assert/strict";
import fc from "fast-check";
import { utf8 } from "../base/bytes.ts";
import { memoryStore } from "../store/memory/store.ts";
import { TreeFixture } from "../../tests/layer/fixture.ts";
import { blame } from "./blame.ts";
import { ancestry } from "./chains.ts";

async function blamed(tree: TreeFixture, path: string): Promise<string[]> {
  const row = await tree.row();
  const chain = ancestry(await tree.store.layers(), row.base);
  const lines = await blame(tree.store, chain, utf8(path), null);
  return lines.map(({ layer, text }) => `${layer?.name} ${text.trimEnd()}`);
}

Deno.test("each line is told with the layer that brought it, also through a rename", async () => {
  const tree = await TreeFixture.make(memoryStore(), "main");
  await tree.write("/f", "1\n2\n3\n4\n");
  await tree.seal("one");
  await tree.write("/f", "1\ntwo\n3\n4\n");
  await tree.seal("two");
  await tree.rename("/f", "/g");
  await tree.seal("three");
  await tree.write("/g", "zero\n1\ntwo\n4\nlast");
  await tree.seal("four");
  assert.deepEqual(await blamed(tree, "/g"), [
    "four zero",
    "one 1",
    "two two",
    "one 4",
    "four last",
  ]);
});

Deno.test("with lines that are all different, blame is who first wrote a line", async () => {
  const edits = fc.array(
    fc.array(fc.record({ at: fc.nat(30), remove: fc.nat(3), add: fc.nat(3) }), { maxLength: 3 }),
    { minLength: 1, maxLength: 8 },
  );
  await fc.assert(
    fc.asyncProperty(edits, async (layers) => {
      const tree = await TreeFixture.make(memoryStore(), "main");
      let lines = ["base 0", "base 1"];
      await tree.write("/f", lines.map((line) => `${line}\n`).join(""));
      await tree.seal("base");
      for (const [i, changes] of layers.entries()) {
        let count = 0;
        for (const { at, remove, add } of changes) {
          const fresh = Array.from({ length: add }, () => `l${i} ${count++}`);
          lines = lines.toSpliced(Math.min(at, lines.length), remove, ...fresh);
        }
        await tree.write("/f", lines.map((line) => `${line}\n`).join(""));
        await tree.seal(`l${i}`);
      }
      const expected = lines.map((line) => `${line.split(" ")[0]} ${line}`);
      assert.deepEqual(await blamed(tree, "/f"), expected);
    }),
    { numRuns: 60 },
  );
});
