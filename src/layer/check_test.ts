import assert from "node:assert/strict";
import { utf8 } from "../base/bytes.ts";
import { TreeFixture } from "../../tests/layer/fixture.ts";
import { memoryStore } from "../store/memory/store.ts";
import { checkState } from "./check.ts";

async function soundTree(): Promise<TreeFixture> {
  const tree = await TreeFixture.make(memoryStore(), "main");
  await tree.mkdir("/d");
  await tree.mkdir("/d/sub");
  await tree.write("/d/f", new Uint8Array(200_000).fill(7));
  await tree.link("/d/f", "/hard");
  await tree.symlink("d/f", "/soft");
  return tree;
}

/** Violations of the head after it was damaged. */
async function violations(tree: TreeFixture): Promise<readonly string[]> {
  return (await checkState(tree.store, (await tree.row()).head)).violations;
}

Deno.test("a sound tree has no violations, at any layer and in a fork", async () => {
  const tree = await soundTree();
  const layer = await tree.seal();
  await tree.rename("/d", "/e");
  await tree.remove("/hard");
  await tree.write("/e/f", "short");
  assert.deepEqual(await violations(tree), []);
  assert.deepEqual((await checkState(tree.store, layer.point)).violations, []);
  const copy = await TreeFixture.make(tree.store, "copy", layer);
  await copy.remove("/soft");
  await copy.write("/new", "1");
  assert.deepEqual(await violations(copy), []);
});

Deno.test("a wrong link count is told with the path", async () => {
  const tree = await soundTree();
  const { inode } = await tree.entry("/d/f");
  await tree.raw((draft) => draft.inodes.push({ ...inode, nlink: 5 }));
  assert.match((await violations(tree)).join("\n"), /inode \d+ \/\S*: nlink 5, but it has 2 names/);
});

Deno.test("an inode that no name leads to is told", async () => {
  const tree = await soundTree();
  const { dentry } = await tree.entry("/soft");
  await tree.raw((draft) => draft.deadDentries.push({ parent: dentry.parent, name: dentry.name }));
  assert.match((await violations(tree)).join("\n"), /nlink 1, but it has 0 names/);
});

Deno.test("a directory in itself is told as unreachable", async () => {
  const tree = await soundTree();
  const { dentry, inode } = await tree.entry("/d");
  await tree.raw((draft) => {
    draft.deadDentries.push({ parent: dentry.parent, name: dentry.name });
    draft.dentries.push({
      parent: inode.inode,
      name: utf8("loop"),
      child: inode.inode,
      cookie: 99,
    });
  });
  assert.match((await violations(tree)).join("\n"), /cannot be reached from the root/);
});

Deno.test("blocks beyond the size, of a wrong length or with a wrong sum are told", async () => {
  const tree = await soundTree();
  const { inode } = await tree.entry("/d/f");
  await tree.raw((draft) => draft.inodes.push({ ...inode, size: 10, allocated: 4096 }));
  const found = (await violations(tree)).join("\n");
  assert.match(found, /block 1 ends after the end of the file at 10/);
  assert.match(found, /allocated is 4096, its blocks take 200704/);
});

Deno.test("content that is not its hash is told", async () => {
  const tree = await soundTree();
  const { inode } = await tree.entry("/d/f");
  const hash = new Uint8Array(32).fill(1);
  await tree.raw((draft) => {
    draft.contents.push({ hash, data: new Uint8Array(131072) });
    draft.blocks.push({ inode: inode.inode, index: 0, hash, length: 131072 });
  });
  assert.match((await violations(tree)).join("\n"), /block 0: its content does not have its hash/);
});
