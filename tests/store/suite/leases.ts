import assert from "node:assert/strict";
import { TarboxError } from "../../../src/base/errors.ts";
import { FencedError } from "../../../src/store/errors.ts";
import type { Request } from "../../../src/store/store.ts";
import { batch, dentry, Held, inode, type Promised, ROOT, uid } from "./rows.ts";

const ME = { host: "me", pid: 11, mountPoint: "/mnt/ä" };
const YOU = { host: "you", pid: 12, mountPoint: null };

const held = (error: unknown) =>
  error instanceof TarboxError && !(error instanceof FencedError) &&
  /process 11/.test(error.message);

/** Who may write: attach, steal, fence; commits that are applied once; requests to the holder. */
export const LEASES: readonly Promised[] = [
  {
    name: "a lease is held by one, given back, and taken again with the next epoch",
    async run(store) {
      const { id } = await store.createWorkspace("main", null, ROOT);
      const lease = await store.attach(id, ME, 3600);
      assert.deepEqual(lease.holder, ME);
      assert.equal(lease.epoch, 1);
      assert.ok(lease.ageSeconds < 60 && lease.heartbeat instanceof Date);
      await assert.rejects(store.attach(id, YOU, 3600), held);
      assert.deepEqual((await store.workspace("main"))!.lease!.holder, ME);
      await store.heartbeat(id, 1);
      await store.detach(id, 1);
      assert.equal((await store.workspace("main"))!.lease, null);
      await assert.rejects(store.heartbeat(id, 1), FencedError);
      assert.equal((await store.attach(id, YOU, 3600)).epoch, 2);
      await store.detach(id, 1);
      assert.deepEqual((await store.workspace("main"))!.lease!.holder, YOU);
    },
  },
  {
    name: "of many that attach at once one gets the lease",
    async run(store) {
      const { id } = await store.createWorkspace("main", null, ROOT);
      const tries = await Promise.allSettled(
        Array.from({ length: 8 }, () => store.attach(id, ME, 3600)),
      );
      assert.equal(tries.filter(({ status }) => status === "fulfilled").length, 1);
    },
  },
  {
    name: "who lost a stale lease can do nothing any more",
    async run(store) {
      const mine = await Held.create(store);
      await mine.commit({ inodes: [inode(2)] });
      const { id } = mine.row;
      const stolen = await store.attach(id, YOU, 0);
      assert.equal(stolen.epoch, mine.epoch + 1);
      const layer = { uid: uid(), name: "late", message: "" };
      await assert.rejects(mine.commit({ inodes: [inode(3)] }), FencedError);
      await assert.rejects(store.heartbeat(id, mine.epoch), FencedError);
      await assert.rejects(store.seal(id, mine.epoch, layer), FencedError);
      await store.commit(id, stolen.epoch, mine.head, 1, batch({ inodes: [inode(4)] }));
      const sealed = await store.seal(id, stolen.epoch, { ...layer, name: "mine" });
      await assert.rejects(store.setHead(id, mine.epoch, sealed.layer), FencedError);
      const chain = await store.chain(sealed.head);
      assert.deepEqual((await store.inodes(chain, [2, 3, 4])).map((r) => r.inode).sort(), [2, 4]);
      await store.detach(id, stolen.epoch);
      await assert.rejects(
        store.commit(id, stolen.epoch, sealed.head, 2, batch({ inodes: [inode(5)] })),
        FencedError,
      );
    },
  },
  {
    name: "without an epoch only what nobody holds is changed",
    async run(store) {
      const { id } = await store.createWorkspace("main", null, ROOT);
      const seal = (name: string) => store.seal(id, null, { uid: uid(), name, message: "" });
      const { layer } = await seal("free");
      await store.setHead(id, null, layer);
      const { epoch } = await store.attach(id, ME, 3600);
      await assert.rejects(seal("held"), held);
      await assert.rejects(store.setHead(id, null, layer), held);
      await store.detach(id, epoch);
      await seal("again");
    },
  },
  {
    name: "a batch sent twice is applied once, also after a later one",
    async run(store) {
      const { id, head } = await store.createWorkspace("main", null, ROOT);
      const { epoch } = await store.attach(id, ME, 3600);
      const first = batch({ inodes: [inode(2, { uid: 1 })], dentries: [dentry(1, "x", 2, 1)] });
      await store.commit(id, epoch, head, 1, first);
      await store.commit(id, epoch, head, 1, first);
      await store.commit(id, epoch, head, 2, batch({ inodes: [inode(2, { uid: 2 })] }));
      await store.commit(id, epoch, head, 1, first);
      await store.commit(id, epoch, head, 2, batch({ inodes: [inode(2, { uid: 3 })] }));
      const chain = await store.chain(head);
      assert.deepEqual((await store.inodes(chain, [2])).map(({ uid }) => uid), [2]);
      // A new epoch counts from 1 again.
      await store.detach(id, epoch);
      const next = await store.attach(id, ME, 3600);
      await store.commit(id, next.epoch, head, 1, batch({ inodes: [inode(2, { uid: 4 })] }));
      assert.deepEqual((await store.inodes(chain, [2])).map(({ uid }) => uid), [4]);
    },
  },
  {
    name: "a batch for a head that moved changes nothing; one that was committed before is well",
    async run(store) {
      const mine = await Held.create(store);
      const before = mine.head;
      await mine.commit({ inodes: [inode(2)] });
      await mine.seal("one");
      const { id } = mine.row;
      const late = batch({ inodes: [inode(3)] });
      await assert.rejects(store.commit(id, mine.epoch, before, 2, late), FencedError);
      await store.commit(id, mine.epoch, before, 1, late);
      assert.deepEqual(await store.inodes(await mine.chain(), [3]), []);
    },
  },
  {
    name: "attach removes what was unlinked and open when its holder died",
    async run(store) {
      const mine = await Held.create(store);
      await mine.commit({ inodes: [inode(2, { nlink: 0 }), inode(3)] });
      const layer = await mine.seal("one");
      await mine.commit({ inodes: [inode(4, { nlink: 0 })] });
      await store.attach(mine.row.id, YOU, 0);
      const numbers = async () =>
        (await store.inodes(await mine.chain(), [2, 3, 4])).map((row) => row.inode);
      assert.deepEqual(await numbers(), [3]);
      const sealed = await store.inodes(await store.chain(layer.point), [2, 3]);
      assert.equal(sealed.length, 2, "a sealed layer stays as it is");
    },
  },
  {
    name: "a deleted workspace takes no batch",
    async run(store) {
      const mine = await Held.create(store);
      await store.detach(mine.row.id, mine.epoch);
      await store.deleteWorkspace(mine.row.id);
      await assert.rejects(mine.commit({ inodes: [inode(2)] }), TarboxError);
      await assert.rejects(store.attach(mine.row.id, ME, 0), TarboxError);
      await assert.rejects(store.heartbeat(mine.row.id, 1), TarboxError);
      await store.detach(mine.row.id, 1);
    },
  },
  {
    name: "requests reach the holder, and their replies whoever asked",
    async run(store) {
      const mine = await Held.create(store);
      const { id } = mine.row;
      const seen: Request[] = [];
      const stop = await store.serve(id, mine.epoch, async (request) => {
        seen.push(request);
        if (request.command === "fail") return { error: "it failed: why", hint: "do this" };
        if (request.command === "bare") return { error: "no hint" };
        return { result: request.argument };
      });
      try {
        const values: unknown[] = [
          { nested: [1, "zwei", null, { deep: true }], empty: "" },
          [1, [2]],
          'text with \0, \u{1f600}, \ud800, \\, " and ä',
          "",
          0,
          -1.5,
          true,
          false,
          null,
        ];
        for (const value of values) {
          assert.deepEqual(await store.ask(id, "echo", value, 30), value);
        }
        const echoed = await Promise.all(
          values.map((value, i) => store.ask(id, "echo", { i, value }, 30)),
        );
        assert.deepEqual(echoed, values.map((value, i) => ({ i, value })));
        await assert.rejects(
          store.ask(id, "fail", {}, 30),
          (error) =>
            error instanceof TarboxError && error.message === "it failed: why" &&
            error.hint === "do this",
        );
        await assert.rejects(
          store.ask(id, "bare", {}, 30),
          (error) => error instanceof TarboxError && error.hint === undefined,
        );
        assert.equal(seen.length, values.length * 2 + 2);
        assert.deepEqual(seen[0], { ...seen[0], workspace: id, command: "echo" });
        assert.equal(new Set(seen.map((request) => request.id)).size, seen.length);
      } finally {
        await stop();
      }
      await assert.rejects(store.ask(id, "echo", 1, 0.2), TarboxError);
    },
  },
  {
    name: "who lost the lease hears no more requests",
    async run(store) {
      const mine = await Held.create(store);
      const { id } = mine.row;
      const stopMine = await store.serve(id, mine.epoch, async () => ({ result: "mine" }));
      assert.equal(await store.ask(id, "who", {}, 30), "mine");
      const { epoch } = await store.attach(id, YOU, 0);
      await assert.rejects(store.ask(id, "who", {}, 1), TarboxError);
      const stopYours = await store.serve(id, epoch, async () => ({ result: "yours" }));
      try {
        for (let i = 0; i < 5; i++) assert.equal(await store.ask(id, "who", {}, 30), "yours");
      } finally {
        await stopYours();
        await stopMine();
      }
    },
  },
];
