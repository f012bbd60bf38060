import assert from "node:assert/strict";
import { arm } from "../../src/base/failpoints.ts";
import { Pool } from "../../src/store/postgres/pool.ts";
import { startEngine } from "./engine.ts";

Deno.test("a transaction is one: all of it or nothing, at one moment", async (t) => {
  const engine = await startEngine();
  const pool = new Pool(engine.database);
  const one = (text: string, ...parameters: number[]) => [text, parameters] as const;
  const rows = async () =>
    (await pool.read("select a from t order by a", [])).map(({ a }) => a as number);
  try {
    await pool.transaction([one("create table t (a int primary key)")], "test");

    await t.step("statements with parameters are in it", async () => {
      const text = "select pg_current_xact_id()::text as id, $1::int as a";
      const both = await pool.transaction([one(text, 1), one(text, 2)], "test");
      assert.equal(both[0]![0]!.id, both[1]![0]!.id);
      assert.deepEqual(both.map(([row]) => row!.a), [1, 2]);
    });

    await t.step("one that fails undoes those before it", async () => {
      const insert = "insert into t values ($1)";
      await assert.rejects(
        pool.transaction([one(insert, 1), one(insert, 2), one(insert, 1), one(insert, 3)], "test"),
        /duplicate key/,
      );
      assert.deepEqual(await rows(), []);
      await pool.transaction([one(insert, 1), one(insert, 2)], "test");
      assert.deepEqual(await rows(), [1, 2]);
    });

    await t.step("a parameter that cannot be encoded undoes all", async () => {
      await assert.rejects(pool.transaction([
        one("insert into t values ($1)", 7),
        ["insert into t select cardinality($1::int[])", ["no array" as never]],
        one("insert into t values ($1)", 8),
      ], "test"));
      assert.deepEqual(await rows(), [1, 2]);
    });

    await t.step("a failure before the commit undoes all, and the next one works", async () => {
      arm("test.commit:1=error");
      await assert.rejects(
        pool.transaction([one("insert into t values ($1)", 9)], "test"),
        /failpoint test.commit/,
      );
      arm(null);
      assert.deepEqual(await rows(), [1, 2]);
      await pool.transaction([one("insert into t values ($1)", 10)], "test");
      assert.deepEqual(await rows(), [1, 2, 10]);
    });

    await t.step("the server's defaults do not weaken it", async () => {
      for (
        const setting of [
          "synchronous_commit = off",
          "default_transaction_isolation = 'serializable'",
        ]
      ) {
        await pool.transaction([one(`alter role tarbox set ${setting}`)], "test");
      }
      const fresh = new Pool(engine.database);
      try {
        const [[row]] = await fresh.transaction([one(
          "select current_setting('synchronous_commit') as c, $1::int as one, " +
            "current_setting('transaction_isolation') as i",
          1,
        )], "test") as [[Record<string, string>]];
        assert.deepEqual([row.c, row.i], ["on", "read committed"]);
      } finally {
        await fresh.close();
      }
    });
  } finally {
    arm(null);
    await pool.close();
    await engine.close();
  }
});
