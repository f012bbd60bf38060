import assert from "node:assert/strict";
import { Pool } from "../../src/store/postgres/pool.ts";
import { startServer, VERSIONS } from "./server.ts";

for (const version of VERSIONS) {
  Deno.test(`PostgreSQL ${version}: the statements of a transaction are one`, async (t) => {
    const server = await startServer(version);
    const pool = new Pool(server.options);
    try {
      await pool.transaction([["create table numbers (n integer primary key)", []]]);
      const insert = "insert into numbers values ($1)";
      await t.step("all of them take effect, in one transaction", async () => {
        const rows = await pool.transaction([
          [insert, [1]],
          ["select pg_current_xact_id()::text as id, $1::int as x", [1]],
          ["select pg_current_xact_id()::text as id, $1::int as x", [2]],
        ]);
        assert.equal(rows[1]![0]!.id, rows[2]![0]!.id);
        assert.deepEqual(rows.map(([row]) => row?.x), [undefined, 1, 2]);
      });
      await t.step("none of them when one fails", async () => {
        const failing = pool.transaction([[insert, [2]], [insert, [1]], [insert, [3]]]);
        await assert.rejects(failing, /duplicate key/);
        const rows = await pool.read("select n from numbers order by n", []);
        assert.deepEqual(rows.map(({ n }) => n), [1]);
      });
      await t.step("none of them when a statement cannot be read", async () => {
        await assert.rejects(pool.transaction([[insert, [2]], ["selec $1", [1]]]), /syntax/);
        await assert.rejects(pool.transaction([[insert, [2]], ["select $1::int8", [1.5]]]));
        const rows = await pool.read("select n from numbers order by n", []);
        assert.deepEqual(rows.map(({ n }) => n), [1]);
      });
      await t.step("the connection serves on", async () => {
        await Promise.all([pool.transaction([[insert, [4]]]), pool.transaction([[insert, [5]]])]);
        const rows = await pool.read("select n from numbers order by n", []);
        assert.deepEqual(rows.map(({ n }) => n), [1, 4, 5]);
      });
    } finally {
      await pool.close();
      await server.stop();
    }
  });
}
