import assert from "node:assert/strict";
import fc from "fast-check";
import { text, utf8 } from "../base/bytes.ts";
import { memoryStore } from "../store/memory/store.ts";
import { TreeFixture } from "../../tests/layer/fixture.ts";
import { picture, type Step, step, take } from "../../tests/layer/random_tree.ts";
import { checkState } from "./check.ts";
import { mergeInto } from "./checkpoint.ts";
import { findPath, readWhole } from "./file.ts";

async function headText(tree: TreeFixture, path: string): Promise<string | null> {
  const chain = await tree.store.chain((await tree.row()).head);
  const place = await findPath(tree.store, chain, utf8(path), false);
  return place === null ? null : text(await readWhole(tree.store, chain, place.inode));
}

/** Main and a fork of its layer `base`. */
async function forked(prepare: (tree: TreeFixture) => Promise<void>) {
  const main = await TreeFixture.make(memoryStore(), "main");
  await prepare(main);
  const base = await main.seal("base");
  return { main, other: await TreeFixture.make(main.store, "other", base) };
}

async function merged(main: TreeFixture, other: TreeFixture, dryRun = false) {
  await other.seal("side");
  return await mergeInto(main.store, await main.row(), main.epoch, "other/side", { dryRun });
}

async function assertSound(tree: TreeFixture): Promise<void> {
  assert.deepEqual((await checkState(tree.store, (await tree.row()).head)).violations, []);
}

const LINES = Array.from({ length: 20 }, (_, i) => `line ${i}\n`);

Deno.test("changes apart from each other both survive, in one text and in others", async () => {
  const { main, other } = await forked(async (tree) => {
    await tree.mkdir("/d");
    await tree.write("/d/text", LINES.join(""));
    await tree.write("/moved", LINES.join(""));
    await tree.write("/gone", "gone\n");
    await tree.write("/mode", "mode\n");
  });
  await main.write("/d/text", LINES.with(2, "ours\n").join(""));
  await main.write("/moved", LINES.with(2, "ours\n").join(""));
  await main.write("/mode", "ours\n");
  await main.write("/mine", "mine\n");
  await other.write("/d/text", LINES.with(15, "theirs\n").join(""));
  await other.rename("/moved", "/d/moved");
  await other.chmod("/mode", 0o755);
  await other.remove("/gone");
  await other.mkdir("/new");
  await other.write("/new/f", "new\n");
  const tried = await merged(main, other, true);
  assert.equal(await headText(main, "/gone"), "gone\n");
  const done = await mergeInto(main.store, await main.row(), main.epoch, "other/side");
  assert.deepEqual(tried.actions, done.actions);
  assert.deepEqual(done.conflicts, []);
  assert.match(done.saved!.name, /^auto-/);
  const both = LINES.with(2, "ours\n").with(15, "theirs\n").join("");
  assert.equal(await headText(main, "/d/text"), both);
  assert.equal(await headText(main, "/d/moved"), LINES.with(2, "ours\n").join(""));
  assert.equal(await headText(main, "/moved"), null);
  assert.equal(await headText(main, "/gone"), null);
  assert.equal(await headText(main, "/mode"), "ours\n");
  assert.equal((await main.entry("/mode")).inode.mode & 0o777, 0o755);
  assert.equal(await headText(main, "/mine"), "mine\n");
  assert.equal(await headText(main, "/new/f"), "new\n");
  await assertSound(main);
});

Deno.test("what does not go together stays as it is, the other beside it", async () => {
  const { main, other } = await forked(async (tree) => {
    for (const path of ["/text", "/edited", "/removed", "/binary", "/kind"]) {
      await tree.write(path, "base\n");
    }
  });
  await main.write("/text", "ours\n");
  await main.remove("/removed");
  await main.write("/edited", "ours\n");
  await main.write("/binary", Uint8Array.of(0, 1));
  await main.write("/kind", "ours\n");
  await main.write("/both", "ours\n");
  await other.write("/text", "theirs\n");
  await other.write("/removed", "theirs\n");
  await other.remove("/edited");
  await other.write("/binary", Uint8Array.of(0, 2));
  await other.remove("/kind");
  await other.mkdir("/kind");
  await other.write("/kind/f", "below\n");
  await other.write("/both", "theirs\n");
  const { conflicts } = await merged(main, other);
  assert.deepEqual(
    conflicts.map(({ path, file }) => `${path} ${file}`).sort(),
    [
      "/binary /binary.conflict-other-side",
      "/both /both.conflict-other-side",
      "/edited null",
      "/kind null",
      "/kind/f null",
      "/removed /removed.conflict-other-side",
      "/text /text.conflict-other-side",
    ],
  );
  for (const path of ["/text", "/edited", "/kind", "/both"]) {
    assert.equal(await headText(main, path), "ours\n");
  }
  assert.equal(await headText(main, "/removed"), null);
  assert.equal(await headText(main, "/removed.conflict-other-side"), "theirs\n");
  assert.equal(await headText(main, "/binary.conflict-other-side"), "\0\x02");
  assert.equal(
    await headText(main, "/text.conflict-other-side"),
    "<<<<<<< head\nours\n||||||| base\nbase\n=======\ntheirs\n>>>>>>> other/side\n",
  );
  await assertSound(main);
});

/** What can be seen, without numbers and times. */
async function seen(tree: TreeFixture): Promise<Map<string, string>> {
  const out = new Map<string, string>();
  for (const [path, facts] of await picture(tree, (await tree.row()).head)) {
    const [, mode, , ...content] = facts.split(" ");
    out.set(path, `${mode} ${content.join(" ")}`);
  }
  return new Map([...out].sort());
}

Deno.test("laws of merging, after any operations", async () => {
  const steps = (minLength: number, maxLength: number) => fc.array(step, { minLength, maxLength });
  const run = async (tree: TreeFixture, list: readonly Step[]) => {
    for (const next of list) if (next.kind !== "seal") await take(tree, next);
  };
  await fc.assert(
    fc.asyncProperty(steps(10, 30), steps(3, 15), steps(3, 15), async (before, one, two) => {
      const make = () => forked((tree) => run(tree, before));
      // Only the other side changed: the merge gives the other side.
      const a = await make();
      await run(a.other, one);
      assert.deepEqual((await merged(a.main, a.other)).conflicts, []);
      assert.deepEqual(await seen(a.main), await seen(a.other));
      await assertSound(a.main);
      // Only the head changed: nothing is to be done.
      const b = await make();
      await run(b.main, one);
      const kept = await seen(b.main);
      assert.deepEqual((await merged(b.main, b.other)).actions, []);
      assert.deepEqual(await seen(b.main), kept);
      // Equal changes do not conflict.
      const c = await make();
      await run(c.main, one);
      await run(c.other, one);
      const same = await seen(c.main);
      assert.deepEqual((await merged(c.main, c.other)).conflicts, []);
      assert.deepEqual(await seen(c.main), same);
      // Whatever both did, the tree is sound, and what the head alone has is not lost.
      const d = await make();
      const base = await seen(d.main);
      await run(d.main, one);
      await run(d.other, two);
      const mine = await seen(d.main);
      await merged(d.main, d.other);
      await assertSound(d.main);
      const after = [...(await seen(d.main)).values()];
      const contentOf = (facts: string) => facts.slice(facts.indexOf(" ") + 1);
      const known = new Set([...base.values()].map(contentOf));
      for (const [path, facts] of mine) {
        const content = contentOf(facts);
        if (!known.has(content)) assert.ok(after.some((other) => other.includes(content)), path);
      }
    }),
    { numRuns: 60 },
  );
});
