import assert from "node:assert/strict";
import { text } from "../base/bytes.ts";
import { TreeFixture } from "../../tests/layer/fixture.ts";
import { memoryStore } from "../store/memory/store.ts";
import { drop, fork, squash, switchTo, undo, unsealed } from "./checkpoint.ts";
import { changes } from "./changes.ts";
import { runLayerCommand } from "./commands.ts";

async function fixture(): Promise<TreeFixture> {
  return await TreeFixture.make(memoryStore(), "main");
}

/** Content of a file in the head. */
async function now(tree: TreeFixture, path: string): Promise<string> {
  const layer = { point: (await tree.row()).head } as Parameters<TreeFixture["read"]>[0];
  return text(await tree.read(layer, path));
}

Deno.test("default names go one above the highest", async () => {
  const tree = await fixture();
  assert.equal((await tree.seal()).name, "ckpt-1");
  await tree.seal("ckpt-41");
  await tree.seal("named");
  assert.equal((await tree.seal()).name, "ckpt-42");
});

Deno.test("switch seals what is unsealed first, and discards it when told", async () => {
  const tree = await fixture();
  await tree.write("/f", "one");
  await tree.seal("one");
  await tree.write("/f", "two");
  const first = await switchTo(tree.store, await tree.row(), tree.epoch, "one");
  assert.match(first.saved!.name, /^auto-\d{8}-\d{6}$/);
  assert.equal(text(await tree.read(first.saved!, "/f")), "two");
  assert.equal(await now(tree, "/f"), "one");

  const again = await switchTo(tree.store, await tree.row(), tree.epoch, first.saved!.name);
  assert.equal(again.saved, null);
  assert.equal(await now(tree, "/f"), "two");

  await tree.write("/f", "three");
  const options = { discard: true };
  const last = await switchTo(tree.store, await tree.row(), tree.epoch, "one", options);
  assert.equal(last.saved, null);
  assert.equal(await now(tree, "/f"), "one");
});

Deno.test("undo goes below what was done last, and loses nothing", async () => {
  const tree = await fixture();
  await tree.write("/f", "one");
  await tree.seal("one");
  await tree.write("/f", "two");
  await tree.seal("two");
  await tree.write("/f", "three");
  const first = await undo(tree.store, await tree.row(), tree.epoch);
  assert.equal(first.layer.name, "two");
  assert.equal(text(await tree.read(first.saved!, "/f")), "three");
  const second = await undo(tree.store, await tree.row(), tree.epoch);
  assert.equal(second.layer.name, "one");
  assert.equal(await now(tree, "/f"), "one");
  await assert.rejects(undo(tree.store, await tree.row(), tree.epoch), /no layer below/);
});

Deno.test("what a dropped newest layer held is unsealed, and a switch keeps it", async () => {
  const tree = await fixture();
  await tree.write("/f", "one");
  await tree.seal("one");
  await tree.write("/f", "two");
  await tree.seal("two");
  assert.equal(await unsealed(tree.store, await tree.row()), false);
  await drop(tree.store, "main", "two");
  assert.equal(await now(tree, "/f"), "two");
  assert.equal(await unsealed(tree.store, await tree.row()), true);
  const { saved } = await switchTo(tree.store, await tree.row(), tree.epoch, "one");
  assert.equal(text(await tree.read(saved!, "/f")), "two");
});

Deno.test("a fork from the head seals it and is independent of it", async () => {
  const tree = await fixture();
  await tree.write("/f", "one");
  await fork(tree.store, await tree.row(), tree.epoch, { name: "copy" });
  await tree.write("/f", "two");
  const copy = (await tree.store.workspace("copy"))!;
  const layer = (await tree.store.layers()).find(({ id }) => id === copy.base)!;
  assert.match(layer.name, /^auto-/);
  assert.equal(text(await tree.read(layer, "/f")), "one");
  const argument = { name: "third", from: layer.name };
  await runLayerCommand(tree.store, await tree.row(), tree.epoch, "fork", argument);
  assert.equal((await tree.store.workspace("third"))!.base, layer.id);
});

Deno.test("squash keeps the states of both ends", async () => {
  const tree = await fixture();
  const layers = [];
  for (const name of ["a", "b", "c", "d"]) {
    await tree.write(`/${name}`, name);
    layers.push(await tree.seal(name));
  }
  const { squashed } = await squash(tree.store, "main", "a..d");
  assert.equal(squashed, 2);
  const kept = await tree.store.layers();
  assert.deepEqual(kept.map(({ name }) => name), ["a", "d"]);
  const list = await changes(tree.store, kept[0]!.point, kept[1]!.point);
  assert.deepEqual(list.map(({ path }) => text(path)), ["/b", "/c", "/d"]);
  await assert.rejects(squash(tree.store, "main", "d..a"), /not below/);
  await assert.rejects(squash(tree.store, "main", "d"), /no range/);
});

Deno.test("the holder's commands take and give plain data", async () => {
  const tree = await fixture();
  await tree.write("/f", "one");
  const run = async (command: string, argument: unknown) =>
    await runLayerCommand(tree.store, await tree.row(), tree.epoch, command, argument);
  const sealed = await run("checkpoint", { name: "first", message: "why" });
  assert.deepEqual(JSON.parse(JSON.stringify(sealed)), sealed);
  assert.equal((sealed as { message: string }).message, "why");
  assert.equal(await run("seal", {}), null);
  await assert.rejects(run("switch", {}), /ref: missing/);
  await assert.rejects(run("checkpoint", { name: 7 }), /a text is needed/);
  await assert.rejects(run("constructor", {}), /unknown/);
});
