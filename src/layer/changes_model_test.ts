import assert from "node:assert/strict";
import fc from "fast-check";
import { text } from "../base/bytes.ts";
import { isRegular } from "../base/modes.ts";
import type { LayerRow } from "../store/rows.ts";
import { memoryStore } from "../store/memory/store.ts";
import { TreeFixture } from "../../tests/layer/fixture.ts";
import { changes } from "./changes.ts";
import { checkState } from "./check.ts";
import { readWhole, walk } from "./file.ts";

const NAMES = ["a", "b", "c"];
const path = fc.array(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 3, size: "max" })
  .map((parts) => `/${parts.join("/")}`);

type Step =
  | { readonly kind: "write"; readonly at: string; readonly content: string }
  | { readonly kind: "mkdir" | "remove" | "chmod"; readonly at: string }
  | { readonly kind: "rename" | "link"; readonly at: string; readonly to: string }
  | { readonly kind: "seal" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("write" as const),
      at: path,
      content: fc.constantFrom("", "x", "yy", "zz"),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        "mkdir" as const,
        "mkdir" as const,
        "remove" as const,
        "chmod" as const,
      ),
      at: path,
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom("rename" as const, "rename" as const, "link" as const),
      at: path,
      to: path,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("seal" as const) }) },
);

/** Does a step where a filesystem would allow it; else nothing. */
async function take(tree: TreeFixture, step: Exclude<Step, { kind: "seal" }>): Promise<void> {
  const { head } = await tree.row();
  const places = new Map<string, boolean>();
  for await (const place of walk(tree.store, await tree.store.chain(head))) {
    places.set(text(place.path), isRegular(place.inode.mode));
  }
  const isFile = (at: string) => places.get(at);
  const parentIsThere = (at: string) =>
    places.get(at.slice(0, at.lastIndexOf("/")) || "/") === false;
  const { at } = step;
  switch (step.kind) {
    case "write":
      if (parentIsThere(at) && isFile(at) !== false) await tree.write(at, step.content);
      break;
    case "mkdir":
      if (parentIsThere(at) && isFile(at) === undefined) await tree.mkdir(at);
      break;
    case "remove": {
      const empty = ![...places.keys()].some((other) => other.startsWith(`${at}/`));
      if (places.has(at) && empty) await tree.remove(at);
      break;
    }
    case "chmod":
      if (places.has(at)) await tree.chmod(at, 0o700);
      break;
    case "rename": {
      const inside = `${step.to}/`.startsWith(`${at}/`);
      const free = isFile(step.to) === undefined;
      if (places.has(at) && parentIsThere(step.to) && !inside && free) {
        await tree.rename(at, step.to);
      }
      break;
    }
    case "link":
      if (isFile(at) && parentIsThere(step.to) && isFile(step.to) === undefined) {
        await tree.link(at, step.to);
      }
  }
}

/** Every path with what can be seen of it. */
async function picture(tree: TreeFixture, layer: LayerRow): Promise<Map<string, string>> {
  const chain = await tree.store.chain(layer.point);
  const out = new Map<string, string>();
  for await (const { path, inode } of walk(tree.store, chain)) {
    const content = isRegular(inode.mode)
      ? text(await readWhole(tree.store, chain, inode))
      : "directory";
    out.set(text(path), `${inode.inode} ${inode.mode} ${inode.mtime} ${content}`);
  }
  return out;
}

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

        const pictures = await Promise.all(layers.map((layer) => picture(tree, layer)));
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
