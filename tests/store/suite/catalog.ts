import assert from "node:assert/strict";
import { TarboxError } from "../../../src/base/errors.ts";
import { FencedError } from "../../../src/store/errors.ts";
import type { LayerRow } from "../../../src/store/rows.ts";
import {
  batch,
  block,
  bytes,
  content,
  dentry,
  directory,
  Held,
  inode,
  type Promised,
  ROOT,
  tree,
  uid,
} from "./rows.ts";

const A = content("a");

/** An expected error that is not the fence. */
const refused = (pattern: RegExp) => (error: unknown) =>
  error instanceof TarboxError && !(error instanceof FencedError) && pattern.test(error.message);

const names = async (layers: Promise<LayerRow[]>) => (await layers).map(({ name }) => name);

/** Workspaces, layers, and writing under a lease. */
export const CATALOG: readonly Promised[] = [
  {
    name: "workspaces are found by name, and a name is taken once",
    async run(store) {
      assert.deepEqual(await store.workspaces(), []);
      assert.equal(await store.workspace("main"), null);
      const main = await store.createWorkspace("main", null, ROOT);
      assert.equal(main.base, null);
      assert.equal(main.lease, null);
      assert.ok(main.createdAt instanceof Date);
      const other = await store.createWorkspace("other", null, ROOT);
      assert.deepEqual((await store.workspaces()).map(({ name }) => name), ["main", "other"]);
      assert.deepEqual(await store.workspace("other"), other);
      assert.notEqual(main.head.lineage, other.head.lineage);
      await assert.rejects(store.createWorkspace("main", null, ROOT), refused(/taken/));
      for (const bad of ["", "head", "a/b", "-a", "a b", "ä", "x".repeat(129)]) {
        await assert.rejects(store.createWorkspace(bad, null, ROOT), refused(/not a name/));
      }
      await store.createWorkspace("x".repeat(128), null, ROOT);
    },
  },
  {
    name: "seal names the head and opens the next ordinal on it",
    async run(store) {
      const held = await Held.create(store);
      assert.equal(await store.headChanged(held.row.id), true, "the root directory is a change");
      const before = held.head;
      const { layer, head } = await store.seal(held.row.id, held.epoch, {
        uid: uid(),
        name: "one",
        message: "a text: ä € \u{1f600} 'quoted' \\",
      });
      assert.deepEqual(layer.point, before);
      assert.deepEqual(head, { lineage: before.lineage, ordinal: before.ordinal + 1 });
      assert.equal(layer.parent, null);
      assert.equal(layer.workspace, held.row.id);
      assert.equal(layer.message, "a text: ä € \u{1f600} 'quoted' \\");
      assert.ok(layer.createdAt instanceof Date);
      await held.refresh();
      assert.deepEqual(held.head, head);
      assert.equal(held.row.base, layer.id);
      assert.equal(await store.headChanged(held.row.id), false);
      await held.commit({ inodes: [inode(2)] });
      assert.equal(await store.headChanged(held.row.id), true);
      await held.commit({ deadInodes: [2] });
      assert.equal(await store.headChanged(held.row.id), false);
      await held.commit({ deadInodes: [1] });
      assert.equal(await store.headChanged(held.row.id), true, "a removal is a change");
      const two = await held.seal("two");
      assert.equal(two.parent, layer.id);
      assert.equal(two.message, "");
      assert.deepEqual(await store.layers(), [layer, two]);
    },
  },
  {
    name: "seal is idempotent by uid, and a name is taken once in a workspace",
    async run(store) {
      const held = await Held.create(store);
      const request = { uid: uid(), name: "one", message: "m" };
      const first = await store.seal(held.row.id, held.epoch, request);
      const again = await store.seal(held.row.id, held.epoch, request);
      assert.deepEqual(again, first);
      await held.refresh();
      const seal = (name: string) =>
        store.seal(held.row.id, held.epoch, { uid: uid(), name, message: "" });
      await assert.rejects(seal("one"), refused(/taken/));
      await assert.rejects(seal("head"), refused(/not a name/));
      const { head } = (await store.workspace("main"))!;
      assert.deepEqual(head, first.head, "a refused seal moves nothing");
      const other = await Held.create(store, "other");
      assert.equal((await other.seal("one")).name, "one");
    },
  },
  {
    name: "a layer is renamed, but not to a name that is taken",
    async run(store) {
      const held = await Held.create(store);
      const one = await held.seal("one"), two = await held.seal("two");
      await store.renameLayer(one.id, "uno");
      await store.renameLayer(two.id, "two");
      await assert.rejects(store.renameLayer(two.id, "uno"), refused(/taken/));
      await assert.rejects(store.renameLayer(two.id, "a/b"), refused(/not a name/));
      assert.deepEqual(await store.layers(), [{ ...one, name: "uno" }, two]);
    },
  },
  {
    name: "setHead opens a fresh head on any layer",
    async run(store) {
      const held = await Held.create(store);
      await held.commit({ inodes: [inode(2)], dentries: [dentry(1, "x", 2, 1)], nextInode: 3 });
      const one = await held.seal("one");
      await held.commit({ deadDentries: [{ parent: 1, name: bytes("x") }], deadInodes: [2] });
      await held.seal("two");
      const head = await store.setHead(held.row.id, held.epoch, one);
      await held.refresh();
      assert.deepEqual(held.head, head);
      assert.equal(held.row.base, one.id);
      assert.deepEqual(await held.chain(), [head, one.point]);
      assert.deepEqual((await tree(store, await held.chain(), [1, 2])).listed, ["1/x -> 2 @1"]);
      assert.equal((await store.counters(head.lineage)).nextInode, 3);
      assert.equal(await store.headChanged(held.row.id), false);
    },
  },
  {
    name: "dropped layers give their changes to the layer above",
    async run(store) {
      const held = await Held.create(store);
      const layers: LayerRow[] = [];
      for (let i = 0; i < 5; i++) {
        await held.commit({ inodes: [inode(2 + i)], dentries: [dentry(1, `f${i}`, 2 + i, i + 1)] });
        layers.push(await held.seal(`l${i}`));
      }
      const fork = await store.createWorkspace("fork", layers[2]!, ROOT);
      const before = await tree(store, await store.chain(fork.head), [1, 2, 3, 4, 5, 6]);
      await store.dropLayers([layers[1]!.id, layers[2]!.id]);
      const [l0, l3, l4] = await store.layers();
      assert.deepEqual([l0, l3, l4].map((layer) => layer!.name), ["l0", "l3", "l4"]);
      assert.deepEqual([l0!.parent, l3!.parent, l4!.parent], [null, l0!.id, l3!.id]);
      assert.equal((await store.workspace("fork"))!.base, l0!.id);
      assert.deepEqual(await tree(store, await store.chain(fork.head), [1, 2, 3, 4, 5, 6]), before);
      await store.dropLayers([l4!.id, l0!.id]);
      assert.deepEqual(await store.layers(), [{ ...l3!, parent: null }]);
      assert.equal((await store.workspace("main"))!.base, l3!.id);
      await store.dropLayers([]);
    },
  },
  {
    name: "a workspace goes with its layers, unless held or needed",
    async run(store) {
      const held = await Held.create(store);
      const one = await held.seal("one");
      await held.seal("two");
      await assert.rejects(store.deleteWorkspace(held.row.id), refused(/process 1 on here/));
      const fork = await store.createWorkspace("fork", one, ROOT);
      await store.detach(held.row.id, held.epoch);
      await assert.rejects(store.deleteWorkspace(held.row.id), refused(/stands on its layers/));
      assert.equal((await store.layers()).length, 2, "a refused deletion removes nothing");
      await store.deleteWorkspace(fork.id);
      await store.deleteWorkspace(held.row.id);
      assert.deepEqual(await store.workspaces(), []);
      assert.deepEqual(await store.layers(), []);
    },
  },
  {
    name: "layers are published all or none, in any workspace, with times of their own",
    async run(store) {
      const workspace = await store.createWorkspace("main", null, ROOT);
      const point = await store.openLineage(null);
      await store.write(point, batch({ inodes: [directory(1)] }));
      const next = { ...point, ordinal: 2 };
      await store.write(next, batch({ inodes: [inode(2)], dentries: [dentry(1, "x", 2, 1)] }));
      const [a, b, c] = [uid(), uid(), uid()];
      const createdAt = new Date("1999-12-31T23:59:59.123Z");
      const first = { uid: a, name: "a", message: "ä", createdAt, point, parent: null };
      const second = { ...first, uid: b, name: "b", message: "", point: next, parent: a };
      const [one, two] = await store.publish(workspace.id, [first, second]);
      assert.deepEqual(await store.layers(), [one, two]);
      assert.deepEqual(one!.createdAt, createdAt);
      assert.equal(two!.parent, one!.id);
      assert.equal(two!.workspace, workspace.id);
      assert.deepEqual(two!.point, next);
      const [three] = await store.publish(workspace.id, [
        { ...second, uid: c, name: "c", parent: b },
      ]);
      assert.equal(three!.parent, two!.id);
      const again = (name: string) => ({ ...second, uid: uid(), name });
      await assert.rejects(
        store.publish(workspace.id, [again("d"), again("a")]),
        refused(/a: the name is taken/),
      );
      await assert.rejects(
        store.publish(workspace.id, [again("d"), again("d")]),
        refused(/d: the name is taken/),
      );
      await assert.rejects(store.publish(workspace.id, [again("d"), again("/")]), refused(/not a/));
      await assert.rejects(
        store.publish(workspace.id, [again("d"), { ...again("e"), uid: a }]),
        refused(/layer e: its id is there already/),
      );
      await assert.rejects(
        store.publish(workspace.id, [again("d"), { ...again("e"), parent: uid() }]),
        refused(/layer e: the layer below it is not there/),
      );
      assert.deepEqual(await names(store.layers()), ["a", "b", "c"]);
      assert.deepEqual(await store.publish(workspace.id, []), []);
    },
  },
  {
    name: "discarded lineages are gone; others stay",
    async run(store) {
      const held = await Held.create(store);
      await held.commit({ inodes: [inode(2)], dentries: [dentry(1, "x", 2, 1)] });
      const before = await tree(store, await held.chain(), [1, 2]);
      const one = await store.openLineage(null);
      const two = await store.openLineage(held.head);
      for (const point of [one, two]) {
        await store.write(
          point,
          batch({
            inodes: [directory(1), inode(9)],
            dentries: [dentry(1, "y", 9, 1)],
            blocks: [block(9, 0, A)],
            contents: [A],
          }),
        );
      }
      await store.discardLineages([one.lineage, two.lineage]);
      await store.discardLineages([]);
      assert.deepEqual(await store.inodes([one], [1, 9]), []);
      assert.deepEqual(await store.list([two], 1, 0, 9), []);
      assert.deepEqual(await store.blocks([two], [9]), []);
      assert.deepEqual(await tree(store, await held.chain(), [1, 2]), before);
    },
  },
];
