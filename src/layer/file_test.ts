import assert from "node:assert/strict";
import { text, utf8 } from "../base/bytes.ts";
import { BLOCK_SIZE } from "../store/rows.ts";
import { gather, TreeFixture } from "../../tests/layer/fixture.ts";
import { memoryStore } from "../store/memory/store.ts";
import { findPath, readFile, walk } from "./file.ts";

async function fixture(): Promise<TreeFixture> {
  return await TreeFixture.make(memoryStore(), "main");
}

Deno.test("holes inside and at the end of a file are zeros", async () => {
  const tree = await fixture();
  const data = new Uint8Array(3 * BLOCK_SIZE).fill(5);
  await tree.write("/f", data);
  const { inode } = await tree.entry("/f");
  const size = 5 * BLOCK_SIZE + 100;
  await tree.raw((draft) => {
    draft.deadBlocks.push({ inode: inode.inode, index: 1 });
    draft.inodes.push({ ...inode, size, allocated: 2 * BLOCK_SIZE });
  });
  const layer = await tree.seal();
  const chain = await tree.store.chain(layer.point);
  const file = (await findPath(tree.store, chain, utf8("/f")))!.inode;
  const expected = new Uint8Array(size);
  expected.set(data);
  expected.fill(0, BLOCK_SIZE, 2 * BLOCK_SIZE);
  const read = await gather(readFile(tree.store, chain, file));
  assert.equal(read.length, size);
  assert.deepEqual(read, expected);
});

Deno.test("a walk gives every path, each directory directly before what it holds", async () => {
  const tree = await fixture();
  for (const path of ["/a", "/a/x", "/a/x/1", "/b"]) await tree.mkdir(path);
  for (const path of ["/a-", "/a/x/1/f", "/a/z", "/b/f"]) await tree.write(path, "1");
  const layer = await tree.seal();
  const chain = await tree.store.chain(layer.point);
  const paths = (await Array.fromAsync(walk(tree.store, chain))).map(({ path }) => text(path));
  assert.deepEqual(paths, [
    "/",
    "/a",
    "/a/x",
    "/a/x/1",
    "/a/x/1/f",
    "/a/z",
    "/a-",
    "/b",
    "/b/f",
  ]);
  const below = await findPath(tree.store, chain, utf8("/a/x"));
  const some = await Array.fromAsync(walk(tree.store, chain, below));
  assert.deepEqual(some.map(({ path }) => text(path)), ["/a/x", "/a/x/1", "/a/x/1/f"]);
});

Deno.test("a path follows links and dots, and stops at loops", async () => {
  const tree = await fixture();
  await tree.mkdir("/d");
  await tree.write("/d/f", "1");
  await tree.symlink("d", "/relative");
  await tree.symlink("/d/f", "/d/absolute");
  await tree.symlink("loop", "/loop");
  const chain = await tree.store.chain((await tree.row()).head);
  const find = async (path: string, follow = true) => {
    const place = await findPath(tree.store, chain, utf8(path), follow);
    return place === null ? null : text(place.path);
  };
  assert.equal(await find("/relative/f"), "/d/f");
  assert.equal(await find("relative/../d/./absolute"), "/d/f");
  assert.equal(await find("/d/absolute", false), "/d/absolute");
  assert.equal(await find("/../d//f"), "/d/f");
  assert.equal(await find("/d/f/"), null);
  assert.equal(await find("/d/nothing"), null);
  await assert.rejects(find("/loop"), /symbolic links/);
});
