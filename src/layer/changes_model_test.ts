import assert from "node:assert/strict";
import fc from "fast-check";
import { text } from "../base/bytes.ts";
import { memoryStore } from "../store/memory/store.ts";
import { TreeFixture } from "../../tests/layer/fixture.ts";
import { picture, step, take } from "../../tests/layer/random_tree.ts";
import { changes } from "./changes.ts";
import { checkState } from "./check.ts";

Deno.test("changes applied to one state give the other, after any operations", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 20, maxLength: 60 }),
      fc.array(step, { minLength: 5, maxLength: 25 }),
      async (first, second) => {
        const tree = await TreeFixture.make(memoryStore(), "main");
        const layers = [await tree.seal()];
        for (const next of first) {
          if (next.kind === "seal") layers.push(await tree.seal());
          else await take(tree, next);
        }
        layers.push(await tree.seal());
        const middle = layers[layers.length >> 1]!;
        const fork = await TreeFixture.make(tree.store, "fork", middle);
        for (const next of second) if (next.kind !== "seal") await take(fork, next);
        layers.push(await fork.seal());

        const pictures = await Promise.all(layers.map((layer) => picture(tree, layer.point)));
        const last = layers.length - 1;
        for (const [from, to] of [[0, last], [last - 1, last], [last, 0], [0, last - 1]]) {
          const state = new Map(pictures[from!]);
          const list = await changes(tree.store, layers[from!]!.point, layers[to!]!.point);
          for (const { kind, path, oldPath } of list) {
            if (kind === "removed") state.delete(text(path));
            if (oldPath !== null) state.delete(text(oldPath));
          }
          for (const { kind, path } of list) {
            if (kind !== "removed") state.set(text(path), pictures[to!]!.get(text(path))!);
          }
          assert.deepEqual(new Map([...state].sort()), new Map([...pictures[to!]!].sort()));
          for (const { kind, path, content, metadata } of list) {
            // Nothing is told of a path that is the same at both ends.
            const same = pictures[from!]!.get(text(path)) === pictures[to!]!.get(text(path));
            assert.ok(!same || kind !== "modified", `${text(path)} ${content} ${metadata}`);
          }
          const { violations } = await checkState(tree.store, layers[to!]!.point);
          assert.deepEqual(violations, []);
        }
      },
    ),
    { numRuns: 150 },
  );
});
