import assert from "node:assert/strict";
import { utf8 } from "../../src/base/bytes.ts";
import { S_IFREG } from "../../src/base/modes.ts";
import { FencedError } from "../../src/store/errors.ts";
import { memoryStore } from "../../src/store/memory/store.ts";
import { initDatabase } from "../../src/store/postgres/init.ts";
import { openStore } from "../../src/store/postgres/store.ts";
import type { Batch, Holder, InodeRow } from "../../src/store/rows.ts";
import type { LockRow } from "../../src/store/sharing.ts";
import type { Store } from "../../src/store/store.ts";
import { startServer, VERSIONS } from "./server.ts";

const root = { uid: 0, gid: 0, time: 0n };

function holder(mount?: number): Holder {
  return { host: "host", pid: 1, mountPoint: "/mnt", mount, shared: mount !== undefined };
}

function file(inode: number, nlink = 1): InodeRow {
  return {
    inode,
    mode: S_IFREG | 0o644,
    uid: 0,
    gid: 0,
    nlink,
    size: 0,
    allocated: 0,
    rdev: 0,
    atime: 0n,
    mtime: 0n,
    ctime: 0n,
    btime: 0n,
    target: null,
    xattrs: null,
  };
}

function batch(inodes: InodeRow[], names: string[] = []): Batch {
  return {
    nextInode: 100,
    nextCookie: 100,
    inodes,
    deadInodes: [],
    dentries: names.map((name, i) => ({
      parent: 1,
      name: utf8(name),
      child: inodes[i]!.inode,
      cookie: i + 1,
    })),
    deadDentries: [],
    blocks: [],
    deadBlocks: [],
    contents: [],
  };
}

const NOTHING = { version: 0, lockVersion: 0 };

const CHECKS: readonly { name: string; run: (store: Store) => Promise<void> }[] = [
  {
    name: "the lease goes from one mount to another, and epochs grow",
    async run(store) {
      const { id } = await store.createWorkspace("turns", null, root);
      const [one, two] = [await store.joinMount(id, holder()), await store.joinMount(id, holder())];
      const options = { staleSeconds: 15 };
      const first = await store.tryAttach(id, holder(one), options);
      assert.equal(await store.tryAttach(id, holder(two), options), null);
      assert.equal(await store.tryAttach(id, holder(two), { ...options, alone: true }), null);
      await store.detach(id, first!.lease!.epoch);
      assert.equal(await store.tryAttach(id, holder(two), { ...options, alone: true }), null);
      const second = await store.tryAttach(id, holder(two), options);
      assert.equal(second!.lease!.epoch, first!.lease!.epoch + 1);
      assert.equal(second!.lease!.holder.mount, two);
      await assert.rejects(
        store.commit(id, first!.lease!.epoch, first!.head, 1, batch([])),
        FencedError,
      );
    },
  },
  {
    name: "what published commits touched is told, what others touched is not known",
    async run(store) {
      const { id, head } = await store.createWorkspace("changes", null, root);
      const [one, two] = [await store.joinMount(id, holder()), await store.joinMount(id, holder())];
      const lease = (await store.tryAttach(id, holder(one), { staleSeconds: 15 }))!.lease!;
      const before = await store.look(id, two, NOTHING);
      assert.deepEqual(before.changed, { inodes: [], dentries: [] });
      await store.commit(id, lease.epoch, head, 1, batch([file(7)], ["a"]), true);
      await store.commit(id, lease.epoch, head, 2, batch([file(8), file(7)], ["b"]), true);
      const seen = await store.look(id, two, before);
      assert.equal(seen.version, before.version + 2);
      assert.deepEqual(seen.changed!.inodes.toSorted(), [7, 7, 8]);
      assert.deepEqual(
        seen.changed!.dentries.map(({ parent, name }) => [parent, new TextDecoder().decode(name)]),
        [[1, "a"], [1, "b"]],
      );
      assert.equal(seen.counters.nextInode, 100);
      // The same batch again, as after a lost connection: no version of its own.
      await store.commit(id, lease.epoch, head, 2, batch([file(8)], ["b"]), true);
      assert.equal((await store.look(id, two, seen)).version, seen.version);
      await store.commit(id, lease.epoch, head, 3, batch([]), true);
      const nothing = await store.look(id, two, seen);
      assert.deepEqual(nothing.changed, { inodes: [], dentries: [] });
      await store.commit(id, lease.epoch, head, 4, batch([file(9)], ["c"]));
      assert.equal((await store.look(id, two, seen)).changed, null);
    },
  },
  {
    name: "a holder that is gone is fenced with its mount and its locks; others are not",
    async run(store) {
      const { id } = await store.createWorkspace("fencing", null, root);
      const [one, two] = [await store.joinMount(id, holder()), await store.joinMount(id, holder())];
      const lease = (await store.tryAttach(id, holder(one), { staleSeconds: 15 }))!.lease!;
      const lock: LockRow = {
        mount: one,
        inode: 5,
        flock: false,
        owner: 0xffff_ffff_ffff_fff0n,
        start: 0n,
        end: 0x7fff_ffff_ffff_ffffn,
        type: "write",
        pid: 12,
      };
      await store.putLocks(id, one, [5], [lock]);
      const seen = await store.look(id, two, NOTHING);
      assert.deepEqual(seen.locks, [lock]);
      assert.equal((await store.look(id, two, seen)).locks, null);
      assert.deepEqual((await store.look(id, one, NOTHING)).locks, []);
      const wrong = { staleSeconds: 15, gone: lease.epoch - 1 };
      assert.equal(await store.tryAttach(id, holder(two), wrong), null);
      assert.ok(
        await store.tryAttach(id, holder(two), { staleSeconds: 15, gone: lease.epoch }) !== null,
      );
      await assert.rejects(store.beatMount(id, one, 15), FencedError);
      await assert.rejects(store.look(id, one, NOTHING), FencedError);
      await assert.rejects(store.tryAttach(id, holder(one), { staleSeconds: 15 }), FencedError);
      assert.deepEqual((await store.look(id, two, seen)).locks, []);
    },
  },
  {
    name: "a heartbeat counts the others, hears of who wants the lease, takes the stale away",
    async run(store) {
      const { id } = await store.createWorkspace("beats", null, root);
      const [one, two] = [await store.joinMount(id, holder()), await store.joinMount(id, holder())];
      assert.deepEqual(await store.beatMount(id, one, 15), { others: 1, wanted: false });
      await store.wantLease(id, two);
      assert.deepEqual(await store.beatMount(id, one, 15), { others: 1, wanted: true });
      assert.deepEqual(await store.beatMount(id, one, 0), { others: 0, wanted: false });
      assert.deepEqual((await store.mounts(id)).map((mount) => mount.id), [one]);
      await store.leaveMount(id, one);
      assert.deepEqual(await store.mounts(id), []);
    },
  },
  {
    name: "an inode without a name stays while another mount may have it open",
    async run(store) {
      const { id, head } = await store.createWorkspace("orphans", null, root);
      const [one, two] = [await store.joinMount(id, holder()), await store.joinMount(id, holder())];
      const fresh = { staleSeconds: 0, fresh: true };
      const lease = (await store.tryAttach(id, holder(one), fresh))!.lease!;
      await store.commit(id, lease.epoch, head, 1, batch([file(7, 0)]), true);
      const chain = await store.chain(head);
      const rows = async () => (await store.inodes(chain, [7])).length;
      await store.detach(id, lease.epoch);
      // A command that takes the lease must not end what a mount has open.
      const command = await store.attach(id, holder(), 0);
      await store.detach(id, command.epoch);
      assert.equal(await rows(), 1);
      await store.leaveMount(id, one);
      await store.tryAttach(id, holder(two), fresh);
      assert.equal(await rows(), 0);
    },
  },
  {
    name: "a quota is kept, and usage counts what a state shows",
    async run(store) {
      const { id, head } = await store.createWorkspace("quota", null, root);
      assert.deepEqual(await store.limits(id), { bytes: null, inodes: null });
      await store.setLimits(id, { bytes: 2 ** 40, inodes: 7 });
      assert.deepEqual(await store.limits(id), { bytes: 2 ** 40, inodes: 7 });
      await store.setLimits(id, { bytes: null, inodes: 7 });
      assert.deepEqual(await store.limits(id), { bytes: null, inodes: 7 });
      const { epoch } = await store.attach(id, holder(), 15);
      const big = { ...file(7), size: 5000, allocated: 8192 };
      await store.commit(id, epoch, head, 1, batch([big, file(8)], ["a", "b"]));
      const before = await store.usage(await store.chain(head));
      assert.deepEqual(before, { inodes: 3, bytes: 8192 });
      const { layer } = await store.seal(id, epoch, {
        uid: "ab".repeat(16),
        name: "sealed",
        message: "",
      });
      const fork = await store.createWorkspace("quota-fork", layer, root);
      const lease = await store.attach(fork.id, holder(), 15);
      const gone = { ...batch([file(9)], ["c"]), deadInodes: [7] };
      await store.commit(fork.id, lease.epoch, fork.head, 1, gone);
      const after = await store.usage(await store.chain(fork.head));
      assert.deepEqual(after, { inodes: 3, bytes: 0 });
      assert.deepEqual(await store.usage(await store.chain(layer.point)), before);
    },
  },
  {
    name: "who watches is told when the lease is wanted and when it is free",
    async run(store) {
      const { id } = await store.createWorkspace("watching", null, root);
      const one = await store.joinMount(id, holder());
      const two = await store.joinMount(id, holder());
      const lease = (await store.tryAttach(id, holder(one), { staleSeconds: 15 }))!.lease!;
      let told = Promise.withResolvers<void>();
      const stop = await store.watch(id, () => told.resolve());
      for (
        const act of [
          () => store.wantLease(id, two),
          () => store.detach(id, lease.epoch),
          () => store.leaveMount(id, two),
        ]
      ) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        told = Promise.withResolvers<void>();
        await act();
        await told.promise;
      }
      await stop();
    },
  },
];

for (const { name, run } of CHECKS) {
  Deno.test(`memory: ${name}`, () => run(memoryStore()));
}

for (const version of VERSIONS) {
  Deno.test(`PostgreSQL ${version}`, async (test) => {
    const server = await startServer(version);
    try {
      await initDatabase(server.options, { createDatabase: false });
      const store = await openStore(server.options, "default");
      for (const { name, run } of CHECKS) await test.step(name, () => run(store));
      await store.close();
    } finally {
      await server.stop();
    }
  });
}
