import assert from "node:assert/strict";
import type { LayerRow } from "../../../src/store/rows.ts";
import { batch, directory, Held, type Promised, ROOT, uid } from "./rows.ts";

const name = (layer: LayerRow | null) => layer?.name ?? null;

/** Finding layers without reading all of them. */
export const LAYERS: readonly Promised[] = [
  {
    name: "a layer is found by its number, by its id and by what stands on it",
    async run(store) {
      const held = await Held.create(store);
      const one = await held.seal("one"), two = await held.seal("two", "ä");
      assert.deepEqual(await store.layer(two.id), two);
      assert.deepEqual(await store.layerOfUid(one.uid), one);
      assert.equal(await store.layer(two.id + 1000), null);
      assert.equal(await store.layerOfUid(one.uid.slice(0, 31)), null);
      const three = await held.seal("three");
      const below = async (id: number, steps: number) => name(await store.layerBelow(id, steps));
      assert.equal(await below(three.id, 0), "three");
      assert.equal(await below(three.id, 2), "one");
      assert.equal(await below(three.id, 3), null);
      assert.equal(await below(three.id, 2 ** 53), null);
      assert.equal(await below(three.id + 1000, 0), null);
      await store.dropLayers([two.id]);
      assert.equal(await below(three.id, 1), "one");
    },
  },
  {
    name: "a name is of the workspace's own, else of what its head stands on",
    async run(store) {
      const held = await Held.create(store);
      const id = held.row.id;
      const one = await held.seal("one"), two = await held.seal("two");
      await held.seal("three");
      const fork = await Held.attach(store, await store.createWorkspace("fork", two, ROOT));
      const named = (workspace: number, wanted: string) => store.layerNamed(workspace, wanted);
      assert.deepEqual(await named(fork.row.id, "one"), one);
      assert.deepEqual(await named(fork.row.id, "two"), two);
      assert.equal(await named(fork.row.id, "three"), null, "it was sealed above the fork");
      assert.equal(await named(id, "four"), null);
      const other = await fork.seal("one");
      assert.deepEqual(await named(fork.row.id, "one"), other);
      assert.deepEqual(await named(id, "one"), one);
      await store.setHead(id, held.epoch, one);
      assert.equal(name(await named(id, "three")), "three", "its own, though not below its head");
      const far = await store.createWorkspace("far", other, ROOT);
      assert.deepEqual(await named(far.id, "one"), other, "the nearest");
      assert.deepEqual(await named(far.id, "two"), two);
    },
  },
  {
    name: "an id prefix is of the workspace's own layers, else of the tenant's",
    async run(store) {
      const held = await Held.create(store), other = await Held.create(store, "other");
      const seal = async ({ row, epoch }: Held, name: string, start: string) =>
        (await store.seal(row.id, epoch, { uid: start.padEnd(32, "0"), name, message: "" })).layer;
      const a = await seal(held, "a", "aaf0"), b = await seal(held, "b", "aaf1");
      const c = await seal(other, "c", "aaf5"), d = await seal(other, "d", "ab");
      const prefixed = (held: Held, prefix: string, limit = 9) =>
        store.layersOfPrefix(held.row.id, prefix, limit);
      assert.deepEqual(await prefixed(held, "aaf"), [a, b]);
      assert.deepEqual(await prefixed(held, "aaf", 1), [a]);
      assert.deepEqual(await prefixed(held, "aaf1"), [b]);
      assert.deepEqual(await prefixed(held, "ab"), [d]);
      assert.deepEqual(await prefixed(held, "aafa"), []);
      assert.deepEqual(await prefixed(other, "aaf"), [c]);
      assert.deepEqual(await prefixed(other, "aaf1"), [b]);
      assert.deepEqual(await prefixed(await Held.create(store, "empty"), "a", 3), [a, b, c]);
    },
  },
  {
    name: "a time names the last layer sealed then, also below the head",
    async run(store) {
      const workspace = await store.createWorkspace("main", null, ROOT);
      const first = await store.openLineage(null);
      await store.write(first, batch({ inodes: [directory(1)] }));
      const at = (minute: number) => new Date(Date.UTC(2020, 0, 1, 10, minute, 0, 123));
      const layer = (name: string, ordinal: number, minute: number, parent: string | null) => ({
        uid: uid(),
        name,
        message: "",
        createdAt: at(minute),
        point: { ...first, ordinal },
        parent,
      });
      const a = layer("a", 1, 0, null), b = layer("b", 2, 10, a.uid);
      const c = layer("c", 3, 20, b.uid), d = layer("d", 4, 20, c.uid);
      const [, b1] = await store.publish(workspace.id, [a, b, c, d]);
      const found = async (workspace: number, time: Date) =>
        name(await store.layerAt(workspace, time));
      assert.equal(await found(workspace.id, at(20)), "d", "of one time the later");
      assert.equal(await found(workspace.id, at(19)), "b");
      assert.equal(await found(workspace.id, at(0)), "a", "to the millisecond");
      assert.equal(await found(workspace.id, new Date(at(0).getTime() - 1)), null);
      const fork = await store.createWorkspace("fork", b1!, ROOT);
      assert.equal(await found(fork.id, at(50)), "b");
      assert.equal(await found(fork.id, at(9)), "a");
      assert.equal(await found(fork.id, at(-1)), null);
      const held = await Held.attach(store, fork);
      const own = await held.seal("own");
      assert.equal(await found(fork.id, own.createdAt), "own");
      assert.equal(await found(fork.id, at(50)), "b");
      assert.equal(await found((await Held.create(store, "empty")).row.id, at(50)), null);
    },
  },
  {
    name: "a clock that was set back hides no layer",
    async run(store) {
      const workspace = await store.createWorkspace("main", null, ROOT);
      const point = await store.openLineage(null);
      await store.write(point, batch({ inodes: [directory(1)] }));
      const layer = (name: string, ordinal: number, minute: number) => ({
        uid: uid(),
        name,
        message: "",
        createdAt: new Date(Date.UTC(2020, 0, 1, 10, minute)),
        point: { ...point, ordinal },
        parent: null,
      });
      const published = await store.publish(workspace.id, [
        layer("a", 1, 0),
        layer("b", 2, 30),
        layer("c", 3, 20),
      ]);
      const fork = await store.createWorkspace("fork", published[2]!, ROOT);
      const at = async (minute: number) =>
        name(await store.layerAt(fork.id, new Date(Date.UTC(2020, 0, 1, 10, minute))));
      assert.equal(await at(40), "c");
      assert.equal(await at(20), "c");
      assert.equal(await at(19), "a");
    },
  },
  {
    name: "the highest number of a stem",
    async run(store) {
      const held = await Held.create(store);
      const id = held.row.id;
      assert.equal(await store.highestNumber(id, "ckpt"), 0);
      const names = ["ckpt-9", "ckpt-10", "ckpt-007", "ckpt-1-99", "ckpt-x", "ckptx-50", "x-60"];
      for (const name of [...names, "ckpt-1234567890123456", "ckpt"]) await held.seal(name);
      assert.equal(await store.highestNumber(id, "ckpt"), 10);
      assert.equal(await store.highestNumber(id, "ckpt-1"), 99);
      assert.equal(await store.highestNumber(id, "ckp"), 0);
      const other = await Held.create(store, "other");
      await other.seal("ckpt-50");
      assert.equal(await store.highestNumber(id, "ckpt"), 10, "of the workspace's own");
      await held.seal("ckpt-999999999999999");
      assert.equal(await store.highestNumber(id, "ckpt"), 999_999_999_999_999);
    },
  },
];
