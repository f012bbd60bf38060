/** The schema's steps: in order, each whole or not at all, one init at a time, from any version. */
import assert from "node:assert/strict";
import { Connection } from "../../src/store/postgres/connection.ts";
import { initDatabase } from "../../src/store/postgres/init.ts";
import type { DatabaseOptions } from "../../src/store/postgres/options.ts";
import { MIGRATIONS } from "../../src/store/postgres/schema.ts";
import { openStore } from "../../src/store/postgres/store.ts";
import { startServer, VERSIONS } from "./server.ts";
import type { Chain } from "../../src/store/rows.ts";
import { bytes, dentry, dentryText, Held, inode } from "./suite/rows.ts";

const LATEST = MIGRATIONS.length;

async function ask(options: DatabaseOptions, text: string): Promise<Record<string, unknown>[]> {
  const connection = new Connection(options);
  try {
    return (await connection.query(text)).map((row) => ({ ...row }));
  } finally {
    await connection.close();
  }
}

async function versions(options: DatabaseOptions): Promise<unknown[]> {
  const rows = await ask(options, "select version from schema_migrations order by version");
  return rows.map(({ version }) => version);
}

/** Columns, indexes, constraints and functions of a schema, as texts. */
async function shape(options: DatabaseOptions): Promise<unknown[]> {
  const rows = await ask(
    options,
    `select x from (
       select format('%s.%s %s %s %s', table_name, column_name, data_type, is_nullable,
                     column_default) x
         from information_schema.columns where table_schema = 'public'
       union all
       select indexdef from pg_indexes where schemaname = 'public'
       union all
       select format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
         from pg_constraint where connamespace = 'public'::regnamespace and contype <> 'n'
       union all
       select pg_get_functiondef(oid) from pg_proc where pronamespace = 'public'::regnamespace
     ) shape order by x`,
  );
  return rows.map(({ x }) => x);
}

/** What a program of schema version 1 wrote. */
const VERSION_1_DATA = [
  "insert into lineages (tenant_id, next_inode, next_cookie) values (1, 3, 2)",
  "insert into workspaces (tenant_id, name, head_lineage, head_ordinal) values (1, 'main', 1, 2)",
  `insert into layers (tenant_id, uid, workspace_id, name, lineage, ordinal, message)
   values (1, 'aa', 1, 'one', 1, 1, 'm')`,
  "update workspaces set base_layer = 1",
  `insert into inodes select 1, 1, n, 1, 2147483647, false, 16877, 1000, 1001, 2, 4096, 0, 0, t, t,
          t, t, null, null from unnest(array[1, 2]) n, cast(1700000000123456789 as bigint) t`,
  "insert into dentries values (1, 1, 1, 'x', 1, 2, false, 2, 1)",
  "insert into dentries values (1, 1, 1, 'y', 2, 2147483647, false, 2, 2)",
  "insert into blocks values (1, 1, 2, 0, 1, 2147483647, false, '\\xabcd', 4)",
  "insert into contents values (1, '\\xabcd', 'data')",
  `insert into requests (tenant_id, workspace_id, command, argument)
   values (1, 1, 'seal', '{"a": [1, null]}')`,
];

for (const version of VERSIONS) {
  Deno.test(`PostgreSQL ${version}: the steps of the schema`, async (t) => {
    const server = await startServer(version);
    const create = { createDatabase: true };
    const database = (name: string) => ({ ...server.options, database: name });
    try {
      await t.step("several init at once end with each step taken once", async () => {
        const here = database("racing");
        await Promise.all(Array.from({ length: 4 }, () => initDatabase(here, create)));
        await initDatabase(here, create);
        assert.deepEqual(await versions(here), MIGRATIONS.map((_, i) => i + 1));
        assert.equal((await ask(here, "select 1 from tenants")).length, 1);
      });
      const fresh = await shape(database("racing"));
      await t.step("a step that fails leaves nothing, and is taken when it is mended", async () => {
        const here = database("racing");
        const step = "create table extra (a integer);\ninsert into extra values (1);\n";
        const failing = [
          ...MIGRATIONS,
          `${step}insert into extra select 1 / (a - a) from extra;\n`,
        ];
        const broken = initDatabase(here, { createDatabase: false, migrations: failing });
        await assert.rejects(broken, /division by zero/);
        assert.deepEqual(await shape(here), fresh);
        assert.equal((await versions(here)).length, LATEST);
        await initDatabase(here, { createDatabase: false, migrations: [...MIGRATIONS, step] });
        assert.equal((await ask(here, "select a from extra")).length, 1);
        assert.equal((await versions(here)).length, LATEST + 1);
        await assert.rejects(initDatabase(here, create), /newer than this program/);
        await assert.rejects(openStore(here, "default"), /newer than this program/);
      });
      await t.step("from every version the same schema comes out", async () => {
        for (let from = 1; from < LATEST; from++) {
          const here = database(`from${from}`);
          await initDatabase(here, { ...create, migrations: MIGRATIONS.slice(0, from) });
          await assert.rejects(openStore(here, "default"), /this program needs/);
          await initDatabase(here, create);
          assert.deepEqual(await shape(here), fresh, `from version ${from}`);
        }
      });
      await t.step("what version 1 wrote is read and written on", async () => {
        const here = database("old");
        await initDatabase(here, { ...create, migrations: MIGRATIONS.slice(0, 1) });
        for (const statement of VERSION_1_DATA) await ask(here, statement);
        await initDatabase(here, create);
        const store = await openStore(here, "default");
        try {
          const [layer] = await store.layers();
          const names = async (chain: Chain) =>
            (await store.list(chain, 1, 0, 9)).map((entry) => dentryText(entry.dentry));
          assert.deepEqual(await names(await store.chain(layer!.point)), ["1/x -> 2 @1"]);
          const held = await Held.attach(store, (await store.workspace("main"))!);
          assert.deepEqual(await names(await held.chain()), ["1/y -> 2 @2"]);
          const [block] = await store.blocks(await held.chain(), [2]);
          assert.deepEqual(await store.contents([block!.hash]), [bytes("data")]);
          await held.commit({ inodes: [inode(3)], dentries: [dentry(1, "z", 3, 3)] });
          assert.deepEqual(await names(await held.chain()), ["1/y -> 2 @2", "1/z -> 3 @3"]);
        } finally {
          await store.close();
        }
        assert.deepEqual(await ask(here, "select argument from requests"), [
          { argument: { a: [1, null] } },
        ]);
      });
    } finally {
      await server.stop();
    }
  });
}
