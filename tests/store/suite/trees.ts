import assert from "node:assert/strict";
import { InvariantError } from "../../../src/base/errors.ts";
import { S_IFCHR, S_IFLNK } from "../../../src/base/modes.ts";
import { packXattrs } from "../../../src/store/xattrs.ts";
import {
  batch,
  block,
  bytes,
  content,
  dentry,
  dentryText,
  directory,
  Held,
  inode,
  type Promised,
  ROOT,
  tree,
} from "./rows.ts";

const A = content("a"), B = content("bb"), C = content("ccc");

/** What reads give of what batches wrote, on one lineage and through forks. */
export const TREES: readonly Promised[] = [
  {
    name: "a new tree is a root directory and nothing else",
    async run(store) {
      const { head } = await store.createWorkspace("main", null, ROOT);
      const chain = await store.chain(head);
      assert.deepEqual(chain, [head]);
      const [root, ...others] = await store.inodes(chain, [1, 2, 3]);
      assert.deepEqual(others, []);
      assert.deepEqual(root, {
        ...inode(1, { mode: 0o40755, uid: 1000, gid: 1001, nlink: 2, size: 4096 }),
        ...{ atime: ROOT.time, mtime: ROOT.time, ctime: ROOT.time, btime: ROOT.time },
      });
      assert.deepEqual(await store.list(chain, 1, 0, 10), []);
      assert.deepEqual(await store.counters(head.lineage), { nextInode: 2, nextCookie: 1 });
    },
  },
  {
    name: "every field of a row comes back as it was, at its extremes",
    async run(store) {
      const held = await Held.create(store);
      const all = Uint8Array.from({ length: 256 }, (_, i) => i);
      const rows = [
        inode(2 ** 52 - 1, {
          mode: S_IFLNK | 0o777,
          uid: 2 ** 32 - 1,
          gid: 2 ** 32 - 2,
          nlink: 2 ** 31 - 1,
          size: Number.MAX_SAFE_INTEGER,
          allocated: Number.MAX_SAFE_INTEGER,
          target: all.slice(1),
          xattrs: packXattrs([
            { name: bytes("user.binary"), value: all },
            { name: Uint8Array.of(117, 46, 255, 254), value: new Uint8Array(0) },
            { name: bytes("user.big"), value: new Uint8Array(65536).fill(7) },
          ]),
        }),
        inode(2, {
          mode: S_IFCHR | 0o7777,
          rdev: 2 ** 32 - 1,
          atime: -(2n ** 63n),
          mtime: 2n ** 63n - 1n,
          ctime: -1n,
          btime: 0n,
        }),
      ];
      await held.commit({ inodes: rows });
      const back = await store.inodes(await held.chain(), [2 ** 52 - 1, 2]);
      assert.deepEqual(back.toSorted((a, b) => b.inode - a.inode), rows);
    },
  },
  {
    name: "a name is any bytes",
    async run(store) {
      const held = await Held.create(store);
      const names = [
        Uint8Array.from({ length: 255 }, (_, i) => i + 1).filter((byte) => byte !== 47),
        Uint8Array.of(255),
        Uint8Array.of(0xc3, 0x28),
        Uint8Array.of(0xed, 0xa0, 0x80),
        bytes("\\x00"),
        bytes("{,\"'NULL}"),
        bytes("é"),
        bytes("e\u0301"),
        bytes("NULL"),
        bytes("A"),
        bytes("a"),
        bytes(" "),
        new Uint8Array(255).fill(0x80),
      ];
      await held.commit({
        inodes: names.map((_, i) => inode(i + 2)),
        dentries: names.map((name, i) => dentry(1, name, i + 2, i + 1)),
      });
      const chain = await held.chain();
      const listed = await store.list(chain, 1, 0, 100);
      assert.deepEqual(listed.map((entry) => entry.dentry.name), names);
      for (const [i, name] of names.entries()) {
        const [found, ...more] = await store.lookup(chain, [{ parent: 1, name }]);
        assert.deepEqual(more, []);
        assert.deepEqual(found!.dentry, dentry(1, name, i + 2, i + 1));
        assert.equal(found!.inode.inode, i + 2);
      }
      await held.commit({ deadDentries: names.slice(1).map((name) => ({ parent: 1, name })) });
      assert.equal((await store.list(chain, 1, 0, 100)).length, 1);
    },
  },
  {
    name: "what is absent is left out, and nothing asked is nothing answered",
    async run(store) {
      const held = await Held.create(store);
      await held.commit({ inodes: [inode(2)], dentries: [dentry(1, "x", 2, 1)] });
      const chain = await held.chain();
      assert.deepEqual(await store.inodes(chain, []), []);
      assert.deepEqual(await store.lookup(chain, []), []);
      assert.deepEqual(await store.blocks(chain, []), []);
      assert.deepEqual(await store.names(chain, []), []);
      assert.deepEqual(await store.contents([]), []);
      const keys = ["y", "x", "z"].map((name) => ({ parent: 1, name: bytes(name) }));
      assert.deepEqual((await store.lookup(chain, keys)).map((e) => dentryText(e.dentry)), [
        "1/x -> 2 @1",
      ]);
      assert.deepEqual(await store.lookup(chain, [{ parent: 2, name: bytes("x") }]), []);
      assert.deepEqual((await store.inodes(chain, [9, 2, 8])).map((row) => row.inode), [2]);
      assert.deepEqual(await store.blocks(chain, [2, 3]), []);
    },
  },
  {
    name: "a directory is listed in pages, in the order of its cookies",
    async run(store) {
      const held = await Held.create(store);
      await held.commit({
        inodes: [directory(2), ...[3, 4, 5, 6].map((number) => inode(number))],
        dentries: [
          dentry(1, "d", 2, 9),
          dentry(2, "z", 3, 1),
          dentry(2, "y", 4, 5),
          dentry(2, "x", 5, 2 ** 52),
          dentry(2, "w", 6, 7),
        ],
      });
      const chain = await held.chain();
      const page = async (after: number, limit: number) =>
        (await store.list(chain, 2, after, limit)).map(({ dentry }) => dentry.cookie);
      assert.deepEqual(await page(0, 2), [1, 5]);
      assert.deepEqual(await page(5, 2), [7, 2 ** 52]);
      assert.deepEqual(await page(2 ** 52, 2), []);
      assert.deepEqual(await page(4, 100), [5, 7, 2 ** 52]);
      assert.deepEqual((await store.list(chain, 1, 0, 5)).map(({ inode }) => inode.inode), [2]);
    },
  },
  {
    name: "blocks come ordered by file and index, contents in the order asked",
    async run(store) {
      const held = await Held.create(store);
      const far = 2 ** 36;
      await held.commit({
        inodes: [inode(3), inode(2)],
        blocks: [block(3, far, A), block(3, 0, B), block(2, 7, A), block(2, 1, C)],
        contents: [A, B, C],
      });
      assert.deepEqual(await store.blocks(await held.chain(), [3, 2]), [
        block(2, 1, C),
        block(2, 7, A),
        block(3, 0, B),
        block(3, far, A),
      ]);
      const asked = [B, A, B, C, A];
      const got = await store.contents(asked.map(({ hash }) => hash));
      assert.deepEqual(got, asked.map(({ data }) => data));
      await assert.rejects(
        store.contents([A.hash, content("never written").hash]),
        InvariantError,
      );
    },
  },
  {
    name: "contents of many blocks are read whole, whatever bytes they are",
    async run(store) {
      const held = await Held.create(store);
      const many = Array.from({ length: 300 }, (_, i) => {
        const data = new Uint8Array(1 + i * 97).map((_, j) => (i * 31 + j * 7) & 255);
        return { ...content(`${i}`), data };
      });
      await held.commit({ contents: many });
      const reversed = many.toReversed();
      const got = await store.contents(reversed.map(({ hash }) => hash));
      for (const [i, { data }] of reversed.entries()) assert.deepEqual(got[i], data);
    },
  },
  {
    name: "a row written again replaces itself; a removed one is gone",
    async run(store) {
      const held = await Held.create(store);
      await held.commit({
        inodes: [inode(2), inode(3)],
        dentries: [dentry(1, "x", 2, 1), dentry(1, "y", 3, 2)],
        blocks: [block(2, 0, A), block(2, 1, B)],
        contents: [A, B],
      });
      await held.commit({
        inodes: [inode(2, { size: 5 })],
        dentries: [dentry(1, "x", 3, 3)],
        deadDentries: [{ parent: 1, name: bytes("y") }],
        blocks: [block(2, 0, C)],
        deadBlocks: [{ inode: 2, index: 1 }, { inode: 2, index: 99 }],
        contents: [C, A],
      });
      assert.deepEqual(await tree(store, await held.chain(), [1, 2, 3]), {
        ...await tree(store, await held.chain(), [1, 2, 3]),
        listed: ["1/x -> 3 @3"],
        names: ["1/x -> 3 @3"],
        blocks: ["2/0 3 ccc"],
      });
      await held.commit({ deadInodes: [2, 77] });
      assert.deepEqual((await store.inodes(await held.chain(), [2, 3])).map((r) => r.inode), [3]);
      assert.deepEqual(await store.blocks(await held.chain(), [2]), []);
    },
  },
  {
    name: "counters only grow",
    async run(store) {
      const held = await Held.create(store);
      await held.commit({ nextInode: 2 ** 52 - 5, nextCookie: 70 });
      await held.commit({ nextInode: 10, nextCookie: 80 });
      const counters = { nextInode: 2 ** 52 - 5, nextCookie: 80 };
      assert.deepEqual(await store.counters(held.head.lineage), counters);
      const layer = await held.seal("one");
      const fork = await store.createWorkspace("fork", layer, ROOT);
      assert.deepEqual(await store.counters(fork.head.lineage), counters);
    },
  },
  {
    name: "a sealed state stays, whatever is done after it",
    async run(store) {
      const held = await Held.create(store);
      await held.commit({
        inodes: [inode(2, { size: 1 }), inode(3)],
        dentries: [dentry(1, "x", 2, 1), dentry(1, "y", 3, 2)],
        blocks: [block(2, 0, A), block(2, 1, B)],
        contents: [A, B],
      });
      const numbers = [1, 2, 3, 4];
      const before = await tree(store, await held.chain(), numbers);
      const one = await held.seal("one");
      await held.commit({
        inodes: [inode(2, { size: 2 }), inode(4)],
        deadInodes: [3],
        dentries: [dentry(1, "x", 4, 3), dentry(1, "z", 2, 4)],
        deadDentries: [{ parent: 1, name: bytes("y") }],
        blocks: [block(2, 0, C)],
        deadBlocks: [{ inode: 2, index: 1 }],
        contents: [C],
      });
      const after = await tree(store, await held.chain(), numbers);
      const two = await held.seal("two");
      await held.commit({ deadDentries: [{ parent: 1, name: bytes("x") }], deadInodes: [4] });
      assert.deepEqual(await tree(store, await store.chain(one.point), numbers), before);
      assert.deepEqual(await tree(store, await store.chain(two.point), numbers), after);
      assert.deepEqual(after.listed, ["1/x -> 4 @3", "1/z -> 2 @4"]);
      assert.deepEqual(after.blocks, ["2/0 3 ccc"]);
      assert.deepEqual((await tree(store, await held.chain(), numbers)).listed, ["1/z -> 2 @4"]);
    },
  },
  {
    name: "a fork sees its base, changes nothing of it, and hides what it removed",
    async run(store) {
      const held = await Held.create(store);
      await held.commit({
        inodes: [inode(2), inode(3), directory(4)],
        dentries: [dentry(1, "x", 2, 1), dentry(1, "y", 3, 2), dentry(1, "d", 4, 3)],
        blocks: [block(2, 0, A), block(2, 1, B), block(3, 0, C)],
        contents: [A, B, C],
        nextInode: 5,
        nextCookie: 4,
      });
      const numbers = [1, 2, 3, 4, 5];
      const base = await held.seal("base");
      const before = await tree(store, await store.chain(base.point), numbers);
      const fork = await Held.attach(store, await store.createWorkspace("fork", base, ROOT));
      assert.deepEqual(await fork.chain(), [fork.head, base.point]);
      assert.deepEqual(await tree(store, await fork.chain(), numbers), before);
      await fork.commit({
        inodes: [inode(3, { uid: 7 }), inode(5)],
        deadInodes: [2],
        dentries: [dentry(1, "y", 5, 4), dentry(4, "x", 3, 5)],
        deadDentries: [{ parent: 1, name: bytes("x") }, { parent: 1, name: bytes("none") }],
        deadBlocks: [{ inode: 2, index: 0 }, { inode: 2, index: 1 }],
      });
      const forked = await tree(store, await fork.chain(), numbers);
      assert.deepEqual(forked.listed, ["1/d -> 4 @3", "1/y -> 5 @4", "4/x -> 3 @5"]);
      assert.deepEqual(forked.names, ["1/d -> 4 @3", "1/y -> 5 @4", "4/x -> 3 @5"]);
      assert.deepEqual(forked.blocks, ["3/0 3 ccc"]);
      const gone = [{ parent: 1, name: bytes("x") }];
      assert.deepEqual(await store.lookup(await fork.chain(), gone), []);
      assert.deepEqual(await store.inodes(await fork.chain(), [2]), []);
      assert.deepEqual(await tree(store, await held.chain(), numbers), before);
      // The base goes its own way, which the fork does not see.
      await held.commit({
        inodes: [inode(4, { mode: 0o40700 })],
        deadDentries: [{ parent: 1, name: bytes("d") }],
      });
      assert.deepEqual(await tree(store, await fork.chain(), numbers), forked);
      // A removed name may come back, above its own tombstone.
      await fork.commit({ inodes: [inode(2)], dentries: [dentry(1, "x", 2, 6)] });
      assert.deepEqual(
        (await tree(store, await fork.chain(), numbers)).listed.at(-2),
        "1/x -> 2 @6",
      );
      const second = await fork.seal("second");
      const deep = await store.createWorkspace("deep", second, ROOT);
      assert.deepEqual(await store.chain(deep.head), [deep.head, second.point, base.point]);
      assert.deepEqual(
        await tree(store, await store.chain(deep.head), numbers),
        await tree(store, await fork.chain(), numbers),
      );
    },
  },
  {
    name: "a page of a fork's directory counts what is visible only",
    async run(store) {
      const held = await Held.create(store);
      const numbers = Array.from({ length: 20 }, (_, i) => i + 2);
      await held.commit({
        inodes: numbers.map((number) => inode(number)),
        dentries: numbers.map((number) => dentry(1, `f${number}`, number, number)),
      });
      const fork = await Held.attach(
        store,
        await store.createWorkspace("fork", await held.seal("base"), ROOT),
      );
      const odd = numbers.filter((number) => number % 2 === 1);
      await fork.commit({
        deadDentries: odd.map((number) => ({ parent: 1, name: bytes(`f${number}`) })),
      });
      const cookies: number[] = [];
      for (let after = 0;;) {
        const page = await store.list(await fork.chain(), 1, after, 3);
        cookies.push(...page.map(({ dentry }) => dentry.cookie));
        if (page.length < 3) break;
        after = cookies.at(-1)!;
      }
      assert.deepEqual(cookies, numbers.filter((number) => number % 2 === 0));
    },
  },
  {
    name: "changed keys are those born or died in a range of ordinals",
    async run(store) {
      const held = await Held.create(store);
      await held.commit({
        inodes: [inode(2), inode(3)],
        dentries: [dentry(1, "x", 2, 1), dentry(1, "y", 3, 2)],
      });
      const one = await held.seal("one");
      await held.commit({ inodes: [inode(2, { uid: 1 })] });
      await held.seal("two");
      await held.commit({
        deadInodes: [3],
        deadDentries: [{ parent: 1, name: bytes("y") }],
        inodes: [inode(4)],
      });
      const three = await held.seal("three");
      // Born and gone within one layer leaves no trace.
      await held.commit({ inodes: [inode(5)], dentries: [dentry(1, "t", 5, 3)] });
      await held.commit({ deadInodes: [5], deadDentries: [{ parent: 1, name: bytes("t") }] });
      const { lineage } = one.point;
      const changed = async (after: number, upto: number) => {
        const { inodes, dentries } = await store.changedKeys(lineage, after, upto);
        return [
          inodes.toSorted((a, b) => a - b),
          dentries.map(({ parent, name }) => `${parent}/${new TextDecoder().decode(name)}`).sort(),
        ];
      };
      assert.deepEqual(await changed(0, 1), [[1, 2, 3], ["1/x", "1/y"]]);
      assert.deepEqual(await changed(1, 2), [[2], []]);
      assert.deepEqual(await changed(2, 3), [[3, 4], ["1/y"]]);
      assert.deepEqual(await changed(1, 3), [[2, 3, 4], ["1/y"]]);
      assert.deepEqual(await changed(3, 4), [[], []]);
      assert.deepEqual(await changed(three.point.ordinal, 2 ** 31 - 2), [[], []]);
    },
  },
  {
    name: "a private lineage is written at rising ordinals and read like any other",
    async run(store) {
      const first = await store.openLineage(null);
      assert.deepEqual(await store.counters(first.lineage), { nextInode: 2, nextCookie: 1 });
      await store.write(
        first,
        batch({
          inodes: [directory(1), inode(2)],
          dentries: [dentry(1, "x", 2, 1)],
          blocks: [block(2, 0, A)],
          contents: [A],
          nextInode: 3,
          nextCookie: 2,
        }),
      );
      const second = { ...first, ordinal: 2 };
      await store.write(second, batch({ deadDentries: [{ parent: 1, name: bytes("x") }] }));
      assert.deepEqual((await store.list(await store.chain(first), 1, 0, 9)).length, 1);
      assert.deepEqual(await store.list(await store.chain(second), 1, 0, 9), []);
      const above = await store.openLineage(first);
      assert.deepEqual(await store.chain(above), [above, first]);
      assert.deepEqual(await store.counters(above.lineage), { nextInode: 3, nextCookie: 2 });
      await store.discardLineages([above.lineage, first.lineage]);
      assert.deepEqual(await store.layers(), []);
    },
  },
];
