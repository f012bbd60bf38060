import assert from "node:assert/strict";
import { TarboxError } from "../base/errors.ts";
import { TreeFixture } from "../../tests/layer/fixture.ts";
import { memoryStore } from "../store/memory/store.ts";
import { resolve, splitReference } from "./references.ts";

async function chainOfThree() {
  const store = memoryStore();
  const tree = await TreeFixture.make(store, "main");
  const layers = [];
  for (const name of ["one", "two", "three"]) {
    await tree.write("/f", name);
    layers.push(await tree.seal(name));
  }
  return { store, tree, layers };
}

/** The error of a promise that must fail. */
async function failure(promise: Promise<unknown>): Promise<TarboxError> {
  const error = await promise.then(() => null, (error) => error);
  assert.ok(error instanceof TarboxError);
  return error;
}

Deno.test("names, head, steps down, id prefixes and other workspaces", async () => {
  const { store, layers } = await chainOfThree();
  const named = async (ref: string) => (await resolve(store, "main", ref)).layer?.name ?? null;
  assert.equal(await named("two"), "two");
  assert.equal(await named("head"), null);
  assert.equal(await named("head~1"), "three");
  assert.equal(await named("head~3"), "one");
  assert.equal(await named("three~2"), "one");
  assert.equal(await named("three~"), "two");
  assert.equal(await named(layers[0]!.uid.slice(0, 12)), "one");
  await TreeFixture.make(store, "other", layers[1]!);
  assert.equal(await named("other/head~1"), "two");
  assert.equal((await resolve(store, "other", "one")).label, "one");
  assert.equal((await resolve(store, "main", "other/head")).workspace.name, "other");
});

Deno.test("a time names the last layer sealed at or before it", async () => {
  const { store, layers } = await chainOfThree();
  const far = await resolve(store, "main", "@{2999-01-15 10:30}");
  assert.equal(far.label, "three");
  const exact = layers[2]!.createdAt.toISOString();
  assert.equal((await resolve(store, "main", `@{${exact}}`)).label, "three");
  assert.equal((await resolve(store, "main", "@{2999-01-15}~1")).label, "two");
  assert.match((await failure(resolve(store, "main", "@{1999-01-15}"))).message, /no layer/);
  assert.match((await failure(resolve(store, "main", "@{noon}"))).message, /cannot read the time/);
});

Deno.test("errors say what is near", async () => {
  const { store } = await chainOfThree();
  assert.match((await failure(resolve(store, "main", "thre"))).hint!, /did you mean three/);
  assert.match((await failure(resolve(store, "main", "head~4"))).message, /only 3 layers/);
  assert.match((await failure(resolve(store, "mian", "head"))).hint!, /did you mean main/);
});

Deno.test("an id prefix that fits two layers is refused with both", async () => {
  const store = memoryStore();
  const tree = await TreeFixture.make(store, "main");
  const { id } = await tree.row();
  for (const [name, uid] of [["a", "c0ffee00"], ["b", "c0ffee11"]] as const) {
    await store.seal(id, tree.epoch, { uid: uid.padEnd(32, "0"), name, message: "" });
  }
  const error = await failure(resolve(store, "main", "c0ff"));
  assert.match(error.message, /fits 2 layers/);
  assert.match(error.hint!, /c0ffee000000 a, c0ffee110000 b/);
  assert.equal((await resolve(store, "main", "C0FFEE1")).label, "b");
  assert.match((await failure(resolve(store, "main", "c0f"))).message, /no such layer/);
});

Deno.test("a reference before a path ends at the first colon outside a time", () => {
  assert.deepEqual(splitReference("/a:b"), { ref: "head", path: "/a:b" });
  assert.deepEqual(splitReference("./a:b"), { ref: "head", path: "./a:b" });
  assert.deepEqual(splitReference("one:/a"), { ref: "one", path: "/a" });
  assert.deepEqual(splitReference("w/one~2:a"), { ref: "w/one~2", path: "a" });
  assert.deepEqual(splitReference("@{2026-01-15 10:30}:/a"), {
    ref: "@{2026-01-15 10:30}",
    path: "/a",
  });
  assert.deepEqual(splitReference("a"), { ref: "head", path: "a" });
});
