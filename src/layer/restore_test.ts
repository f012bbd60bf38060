import assert from "node:assert/strict";
import fc from "fast-check";
import { text, utf8 } from "../base/bytes.ts";
import { memoryStore } from "../store/memory/store.ts";
import { TreeFixture } from "../../tests/layer/fixture.ts";
import { picture, step, take } from "../../tests/layer/random_tree.ts";
import { checkState } from "./check.ts";
import { restore } from "./checkpoint.ts";
import { findPath, readWhole } from "./file.ts";

async function headText(tree: TreeFixture, path: string): Promise<string | null> {
  const chain = await tree.store.chain((await tree.row()).head);
  const place = await findPath(tree.store, chain, utf8(path), false);
  return place === null ? null : text(await readWhole(tree.store, chain, place.inode));
}

async function restored(tree: TreeFixture, ref: string, ...paths: string[]) {
  return await restore(tree.store, await tree.row(), tree.epoch, ref, paths);
}

/** What can be seen, without numbers and times. */
async function seen(tree: TreeFixture, ref: "head" | Awaited<ReturnType<TreeFixture["seal"]>>) {
  const point = ref === "head" ? (await tree.row()).head : ref.point;
  const out = new Map<string, string>();
  for (const [path, facts] of await picture(tree, point)) {
    const [, mode, , ...content] = facts.split(" ");
    out.set(path, `${mode} ${content.join(" ")}`);
  }
  return out;
}

Deno.test("a file and a directory come back as they were, the rest stays", async () => {
  const tree = await TreeFixture.make(memoryStore(), "main");
  await tree.mkdir("/d");
  await tree.write("/d/f", "one");
  await tree.write("/d/g", "g");
  await tree.write("/other", "one");
  await tree.seal("one");
  await tree.write("/d/f", "two");
  await tree.write("/other", "two");
  await tree.write("/d/new", "new");
  await tree.remove("/d/g");
  const { changes, saved } = await restored(tree, "one", "/d");
  assert.equal(changes, 3);
  assert.match(saved!.name, /^auto-/);
  assert.equal(await headText(tree, "/d/f"), "one");
  assert.equal(await headText(tree, "/d/g"), "g");
  assert.equal(await headText(tree, "/d/new"), null);
  assert.equal(await headText(tree, "/other"), "two");
  assert.equal((await restored(tree, "one", "/d")).changes, 0);
  await assert.rejects(restored(tree, "one", "/d/none"), /one has no such path/);
});

Deno.test("a path below a directory that is gone brings the directory back", async () => {
  const tree = await TreeFixture.make(memoryStore(), "main");
  await tree.mkdir("/a");
  await tree.mkdir("/a/b");
  await tree.write("/a/b/f", "one");
  await tree.write("/a/b/g", "one");
  await tree.seal("one");
  for (const path of ["/a/b/f", "/a/b/g", "/a/b", "/a"]) await tree.remove(path);
  await restored(tree, "one", "/a/b/f");
  assert.equal(await headText(tree, "/a/b/f"), "one");
  assert.equal(await headText(tree, "/a/b/g"), null);
  for (const path of ["/a/b/f", "/a/b", "/a"]) await tree.remove(path);
  await tree.write("/a", "a file");
  await assert.rejects(restored(tree, "one", "/a/b/f"), /\/a is no directory now/);
  assert.equal(await headText(tree, "/a"), "a file");
});

Deno.test("a copy of a file that is still there elsewhere is no hard link of it", async () => {
  const tree = await TreeFixture.make(memoryStore(), "main");
  await tree.mkdir("/x");
  await tree.write("/x/f", "one");
  await tree.link("/x/f", "/x/g");
  await tree.seal("one");
  await tree.rename("/x", "/y");
  await tree.seal("two");
  await restored(tree, "one", "/x");
  const [x, y] = [await tree.entry("/x/f"), await tree.entry("/y/f")];
  assert.notEqual(x.inode.inode, y.inode.inode);
  assert.equal(x.inode.nlink, 2);
  assert.equal((await tree.entry("/x/g")).inode.inode, x.inode.inode);
  assert.deepEqual((await checkState(tree.store, (await tree.row()).head)).violations, []);
});

Deno.test("after any operations, restoring everything gives the other state", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 15, maxLength: 50 }),
      fc.array(step, { minLength: 5, maxLength: 25 }),
      fc.constantFrom("/", "/a", "/a/b", "/b"),
      async (first, second, path) => {
        const tree = await TreeFixture.make(memoryStore(), "main");
        const layers = [await tree.seal()];
        for (const next of first) {
          if (next.kind === "seal") layers.push(await tree.seal());
          else await take(tree, next);
        }
        const middle = layers[layers.length >> 1]!;
        const fork = await TreeFixture.make(tree.store, "fork", middle);
        for (const next of second) if (next.kind !== "seal") await take(fork, next);
        const there = await fork.seal("there");
        const [before, wanted] = [await seen(tree, "head"), await seen(fork, there)];
        const under = (other: string) => path === "/" || `${other}/`.startsWith(`${path}/`);
        if (!wanted.has(path)) return;
        try {
          await restored(tree, "fork/there", path);
        } catch (error) {
          assert.match(String(error), /is no directory now/);
          return;
        }
        const after = await seen(tree, "head");
        for (const [at, facts] of after) {
          // What is above comes back with it where it was gone.
          const expected = under(at) ? wanted.get(at) : before.get(at) ?? wanted.get(at);
          assert.equal(facts, expected, at);
        }
        for (const at of wanted.keys()) if (under(at)) assert.ok(after.has(at), at);
        for (const at of before.keys()) if (!under(at)) assert.ok(after.has(at), at);
        const { violations } = await checkState(tree.store, (await tree.row()).head);
        assert.deepEqual(violations, []);
      },
    ),
    { numRuns: 150 },
  );
});
