import assert from "node:assert/strict";
import { text, utf8 } from "../base/bytes.ts";
import { TreeFixture } from "../../tests/layer/fixture.ts";
import { memoryStore } from "../store/memory/store.ts";
import { type Change, changes, comparePaths } from "./changes.ts";

async function fixture(): Promise<TreeFixture> {
  return await TreeFixture.make(memoryStore(), "main");
}

/** `added /a`, `renamed /a -> /b`; content and metadata flags of what stayed as letters. */
function told(list: readonly Change[]): string[] {
  return list.filter(({ path }) => path.length > 1).map(({ kind, path, oldPath, content }) => {
    const flags = kind === "modified" ? (content ? " c" : " m") : "";
    return `${kind} ${oldPath === null ? "" : `${text(oldPath)} -> `}${text(path)}${flags}`;
  });
}

Deno.test("files added, changed and removed are told by path, in order", async () => {
  const tree = await fixture();
  await tree.mkdir("/d");
  await tree.write("/d/kept", "1");
  await tree.write("/d/changed", "1");
  await tree.write("/d/gone", "1");
  const a = await tree.seal();
  await tree.write("/d/changed", "2");
  await tree.remove("/d/gone");
  await tree.write("/d/new", "1");
  await tree.write("/d-", "1");
  const b = await tree.seal();
  assert.deepEqual(told(await changes(tree.store, a.point, b.point)), [
    "modified /d/changed c",
    "removed /d/gone",
    "added /d/new",
    "added /d-",
  ]);
  assert.deepEqual(told(await changes(tree.store, b.point, a.point)), [
    "modified /d/changed c",
    "added /d/gone",
    "removed /d/new",
    "removed /d-",
  ]);
  assert.deepEqual(await changes(tree.store, a.point, a.point), []);
});

Deno.test("from nothing, everything is added, the root too", async () => {
  const tree = await fixture();
  await tree.mkdir("/d");
  await tree.write("/d/f", "1");
  const a = await tree.seal();
  const list = await changes(tree.store, null, a.point);
  assert.deepEqual(list.map(({ path }) => text(path)), ["/", "/d", "/d/f"]);
  assert.deepEqual(new Set(list.map(({ kind }) => kind)), new Set(["added"]));
});

Deno.test("a renamed directory moves the 1,000 files below it", async () => {
  const tree = await fixture();
  await tree.mkdir("/old");
  await tree.mkdir("/old/sub");
  for (let i = 0; i < 1000; i++) await tree.write(`/old/sub/${i}`, `${i}`);
  const a = await tree.seal();
  await tree.rename("/old", "/new");
  await tree.write("/new/sub/7", "changed");
  const b = await tree.seal();
  const list = await changes(tree.store, a.point, b.point);
  const moved = list.filter(({ kind }) => kind === "renamed");
  assert.equal(moved.length, 1002);
  assert.deepEqual(moved.filter(({ content }) => content).map(({ path }) => text(path)), [
    "/new/sub/7",
  ]);
  assert.equal(list.filter(({ kind }) => kind === "added" || kind === "removed").length, 0);
});

Deno.test("a file moved out of a renamed directory is one rename", async () => {
  const tree = await fixture();
  await tree.mkdir("/a");
  await tree.write("/a/f", "1");
  await tree.write("/a/g", "1");
  const from = await tree.seal();
  await tree.rename("/a", "/b");
  await tree.rename("/b/f", "/f");
  const to = await tree.seal();
  assert.deepEqual(told(await changes(tree.store, from.point, to.point)), [
    "renamed /a -> /b",
    "renamed /a/g -> /b/g",
    "renamed /a/f -> /f",
  ]);
});

Deno.test("a hard link is one change for each path, its link count alone is none", async () => {
  const tree = await fixture();
  await tree.write("/a", "1");
  const first = await tree.seal();
  await tree.link("/a", "/b");
  const linked = await tree.seal();
  assert.deepEqual(told(await changes(tree.store, first.point, linked.point)), ["added /b"]);
  await tree.write("/a", "2");
  const written = await tree.seal();
  assert.deepEqual(told(await changes(tree.store, linked.point, written.point)), [
    "modified /a c",
    "modified /b c",
  ]);
});

Deno.test("file and directory take each other's place", async () => {
  const tree = await fixture();
  await tree.write("/x", "1");
  await tree.mkdir("/y");
  await tree.write("/y/in", "1");
  const a = await tree.seal();
  await tree.remove("/x");
  await tree.mkdir("/x");
  await tree.write("/x/in", "1");
  await tree.remove("/y/in");
  await tree.remove("/y");
  await tree.write("/y", "1");
  const b = await tree.seal();
  assert.deepEqual(told(await changes(tree.store, a.point, b.point)), [
    "modified /x c",
    "added /x/in",
    "modified /y c",
    "removed /y/in",
  ]);
});

Deno.test("a changed mode is metadata, the same bytes are no content", async () => {
  const tree = await fixture();
  await tree.write("/f", "1");
  const a = await tree.seal();
  await tree.chmod("/f", 0o600);
  const b = await tree.seal();
  const [change, ...rest] = await changes(tree.store, a.point, b.point);
  assert.equal(rest.length, 0);
  assert.equal(change!.content, false);
  assert.equal(change!.metadata, true);
});

Deno.test("forks that gave one number twice are compared by path, not by number", async () => {
  const tree = await fixture();
  await tree.write("/base", "1");
  const base = await tree.seal();
  const left = await TreeFixture.make(tree.store, "left", base);
  const right = await TreeFixture.make(tree.store, "right", base);
  await left.write("/l", "left");
  await right.mkdir("/r");
  await right.write("/r/f", "right");
  await right.remove("/base");
  const [a, b] = [await left.seal(), await right.seal()];
  assert.deepEqual(told(await changes(tree.store, a.point, b.point)), [
    "removed /base",
    "removed /l",
    "added /r",
    "added /r/f",
  ]);
});

Deno.test("paths are ordered by components", () => {
  const sorted = ["/a/b", "/a-", "/a", "/"].map(utf8).sort(comparePaths).map(text);
  assert.deepEqual(sorted, ["/", "/a", "/a/b", "/a-"]);
});
