import assert from "node:assert/strict";
import { S_IFDIR, S_IFREG } from "../base/modes.ts";
import { ROOT_INODE } from "../store/rows.ts";
import { noteRead } from "./attributes.ts";
import { Suspension } from "./suspension.ts";
import { Tree } from "./tree.ts";

function emptyTree(): Tree {
  const tree = new Tree({
    nextInode: 2,
    nextCookie: 1,
    maxFileSize: 2 ** 40,
    metadataCacheBytes: 0,
    blockCacheBytes: 0,
  });
  const inode = {
    inode: ROOT_INODE,
    mode: S_IFDIR | 0o755,
    uid: 0,
    gid: 0,
    nlink: 2,
    size: 4096,
    allocated: 0,
    rdev: 0,
    atime: 0n,
    mtime: 0n,
    ctime: 0n,
    btime: 0n,
    target: null,
    xattrs: null,
  };
  const load = { kind: "inodes", numbers: [ROOT_INODE] } as const;
  tree.asking(load);
  tree.absorb(load, { kind: "inodes", rows: [inode] });
  return tree;
}

function addFile(tree: Tree, name: string) {
  const node = tree.create({
    mode: S_IFREG | 0o644,
    uid: 0,
    gid: 0,
    nlink: 1,
    size: 0,
    rdev: 0,
    target: null,
    xattrs: null,
  });
  tree.setName(tree.directory(ROOT_INODE), new TextEncoder().encode(name), node);
  return node;
}

Deno.test("a commit leaves nothing dirty, also when it makes room and access times wait", () => {
  const tree = emptyTree();
  for (let i = 0; i < 100; i++) addFile(tree, `f${i}`);
  tree.collect();
  for (const node of tree.nodes.values()) noteRead(tree, node);
  tree.settled();
  assert.equal(tree.dirty, false);
  const nothing = { inodes: [], dentries: [], replaced: [], strangers: [], renamed: [] };
  tree.rebase({ ...tree.counters, ...nothing });
});

Deno.test("inodes that only reads brought in are forgotten, and their access times written", () => {
  const tree = emptyTree();
  const row = tree.node(ROOT_INODE).row;
  for (let i = 0; i < 1000; i++) {
    const load = { kind: "inodes", numbers: [1000 + i] } as const;
    tree.asking(load);
    tree.absorb(load, {
      kind: "inodes",
      rows: [{ ...row, mode: S_IFREG | 0o644, inode: 1000 + i }],
    });
  }
  assert(tree.nodes.size < 100, `${tree.nodes.size} inodes in memory`);
  for (const node of tree.nodes.values()) noteRead(tree, node);
  tree.trim(0);
  assert(tree.dirty);
  tree.collect();
  tree.settled();
  tree.trim(0);
  assert.deepEqual([...tree.nodes.keys()], [ROOT_INODE]);
});

Deno.test("who asks for many names of a directory asks the store few times", () => {
  const tree = emptyTree();
  const loads: string[] = [];
  for (let i = 0; i < 1000; i++) {
    for (let found = false; !found;) {
      try {
        tree.find(tree.directory(ROOT_INODE), new TextEncoder().encode(`new-${i}`));
        found = true;
      } catch (thrown) {
        if (!(thrown instanceof Suspension) || thrown.wait.kind !== "load") throw thrown;
        const { load } = thrown.wait;
        loads.push(load.kind);
        tree.asking(load);
        if (load.kind === "list") tree.absorb(load, { kind: "list", entries: [], complete: true });
        else tree.absorb(load, { kind: "lookup", entry: null });
      }
    }
  }
  assert.deepEqual(loads, ["lookup", "lookup", "lookup", "list"]);
});
