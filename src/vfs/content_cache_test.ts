import assert from "node:assert/strict";
import { ContentCache } from "./content_cache.ts";

const bytes = (length: number) => new Uint8Array(length);

Deno.test("the least recently used content goes first", () => {
  const cache = new ContentCache(30);
  for (const key of ["a", "b", "c"]) cache.add(key, bytes(10));
  cache.get("a");
  cache.add("d", bytes(10));
  assert.deepEqual(["a", "b", "c", "d"].map((key) => cache.has(key)), [true, false, true, true]);
  assert.equal(cache.bytes, 30);
});

Deno.test("what an operation waits for stays until it took it, whatever the bound", () => {
  const cache = new ContentCache(0);
  cache.want("a");
  cache.want("b");
  cache.absorb(["a", "ahead"], [bytes(10), bytes(10)]);
  assert.equal(cache.has("ahead"), false, "nobody waits for it");
  cache.absorb(["b"], [bytes(10)]);
  assert(cache.has("a") && cache.has("b"));
  assert.equal(cache.get("a")!.length, 10);
  assert.equal(cache.get("b")!.length, 10);
  cache.absorb(["c"], [bytes(10)]);
  assert.equal(cache.bytes, 0);
});

Deno.test("what nobody came for is let go after a while", () => {
  const cache = new ContentCache(0);
  cache.want("a");
  cache.absorb(["a"], [bytes(10)]);
  for (let i = 0; i < 300; i++) cache.absorb([`x${i}`], [bytes(1)]);
  assert.equal(cache.bytes, 0);
});

Deno.test("what is pinned stays until the store has it", () => {
  const cache = new ContentCache(0);
  cache.pin("a", bytes(10));
  cache.pin("a", bytes(10));
  cache.add("b", bytes(10));
  assert.equal(cache.pinnedBytes, 10);
  assert(cache.has("a") && !cache.has("b"));
  assert.deepEqual(cache.unpinAll(), ["a"]);
  assert.equal(cache.bytes, 0);
});

Deno.test("a content that is idle or held and then pinned counts once", () => {
  const cache = new ContentCache(100);
  cache.add("a", bytes(10));
  cache.want("b");
  cache.absorb(["b"], [bytes(10)]);
  cache.pin("a", bytes(10));
  cache.pin("b", bytes(10));
  assert.equal(cache.bytes, 20);
  assert.equal(cache.pinnedBytes, 20);
  cache.unpinAll();
  assert.equal(cache.bytes, 20);
});
