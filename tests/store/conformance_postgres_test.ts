import assert from "node:assert/strict";
import { initDatabase } from "../../src/store/postgres/init.ts";
import { Connection } from "../../src/store/postgres/connection.ts";
import { openStore } from "../../src/store/postgres/store.ts";
import { startServer, VERSIONS } from "./server.ts";
import { batch, dentry, Held, inode } from "./suite/rows.ts";
import { agrees, conforms } from "./suite/suite.ts";

/** Random programs that CI runs; TARBOX_SEED and TARBOX_PROGRAMS ask for others. */
const FIRST_SEED = Number(Deno.env.get("TARBOX_SEED") ?? 1);
const PROGRAMS = Number(Deno.env.get("TARBOX_PROGRAMS") ?? 4);
const STEPS = 60;

for (const version of VERSIONS) {
  Deno.test(`the store on PostgreSQL ${version}`, async (t) => {
    const server = await startServer(version);
    try {
      await initDatabase(server.options, { createDatabase: false });
      let tenants = 0;
      const open = async () => {
        const tenant = `t${++tenants}`;
        const connection = new Connection(server.options);
        await connection.query("insert into tenants (name) values ($1)", [tenant]);
        await connection.close();
        return await openStore(server.options, tenant);
      };
      await t.step("keeps every promise", (t) => conforms(t, open));
      await t.step("a batch that fails leaves nothing", async () => {
        const store = await open();
        try {
          const held = await Held.create(store);
          const broken = { ...inode(2), mode: 2 ** 40 };
          const names = [dentry(1, "x", 1, 1)];
          const { row: { id }, epoch, head } = held;
          const failing = batch({ dentries: names, inodes: [broken], nextInode: 9 });
          await assert.rejects(store.commit(id, epoch, head, 1, failing));
          assert.deepEqual(await store.list([head], 1, 0, 9), []);
          assert.equal((await store.counters(head.lineage)).nextInode, 2);
          await store.commit(id, epoch, head, 1, batch({ inodes: [inode(2)], dentries: names }));
          assert.equal((await store.list([head], 1, 0, 9)).length, 1);
        } finally {
          await store.close();
        }
      });
      const seeds = Array.from({ length: PROGRAMS }, (_, i) => FIRST_SEED + i);
      await t.step("agrees with the memory store", (t) => agrees(t, open, seeds, STEPS));
    } finally {
      await server.stop();
    }
  });
}
