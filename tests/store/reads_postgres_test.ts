/**
 * The plans of all reads, on a tree of 100,000 inodes after 10,000 layers of one lineage: by index, and
 * no row is touched that died before the state that is read.
 */
import assert from "node:assert/strict";
import { Connection } from "../../src/store/postgres/connection.ts";
import { initDatabase } from "../../src/store/postgres/init.ts";
import { Reading } from "../../src/store/postgres/reading.ts";
import { type Plan, touched } from "./plan.ts";
import { startServer } from "./server.ts";
import { bytes } from "./suite/rows.ts";

const LAYERS = 10_000;
const HEAD = { lineage: 1, ordinal: LAYERS + 1 };
const FORK = { lineage: 2, ordinal: 1 };

/** Rows that PostgreSQL may touch beside those that are asked for. */
const SLACK = 12;

const INODE = "33188, 0, 0, 1, 4, 4096, 0, 1, 1, 1, 1, null, null";

/** 100 directories of 1000 files; in directory 2 the name `busy` and its file change in each layer. */
const TREE = [
  "insert into lineages (tenant_id, next_inode, next_cookie) values (1, 200000, 200000)",
  `insert into lineages (tenant_id, parent_lineage, parent_ordinal, next_inode, next_cookie)
   values (1, 1, ${LAYERS}, 200000, 200000)`,
  `insert into inodes select 1, 1, n, 1, 2147483647, false, ${INODE}
     from generate_series(1, 100102) n where n <> 102`,
  `insert into dentries select 1, 1, 1, convert_to('dir-' || n, 'UTF8'), 1, 2147483647, false, n, n
     from generate_series(2, 101) n`,
  `insert into dentries select 1, 1, 2 + n % 100, convert_to('file-' || n, 'UTF8'), 1, 2147483647,
          false, n, n from generate_series(103, 100102) n`,
  `insert into blocks select 1, 1, n, 0, 1, 2147483647, false, sha256(n::text::bytea), 4
     from generate_series(103, 100102) n`,
  "insert into contents select 1, sha256(n::text::bytea), 'data' from generate_series(103, 100102) n",
  `insert into inodes select 1, 1, 102, n, died, false, ${INODE}
     from generate_series(1, ${LAYERS}) n,
          lateral (select case n when ${LAYERS} then 2147483647 else n + 1 end died) d`,
  `insert into dentries select 1, 1, 2, 'busy', n, died, false, 102, 200000 + n
     from generate_series(1, ${LAYERS}) n,
          lateral (select case n when ${LAYERS} then 2147483647 else n + 1 end died) d`,
  `insert into blocks select 1, 1, 102, 0, n, died, false, sha256(n::text::bytea), 4
     from generate_series(1, ${LAYERS}) n,
          lateral (select case n when ${LAYERS} then 2147483647 else n + 1 end died) d`,
  `insert into inodes select 1, 2, n, 1, 2147483647, false, ${INODE}
     from generate_series(103, 202) n`,
  "insert into dentries values (1, 2, 2, 'busy', 1, 2147483647, true, 0, 0)",
];

/** The planner of the embedded engine; TARBOX_POSTGRES=14 asks for that of the oldest. */
const version = Deno.env.get("TARBOX_POSTGRES") === "14" ? "14" : "18";

Deno.test(`PostgreSQL ${version}: reads go by index and skip what has died`, async (t) => {
  const server = await startServer(version);
  const connection = new Connection(server.options);
  try {
    await initDatabase(server.options, { createDatabase: false });
    for (const statement of TREE) await connection.query(statement);
    await connection.query("vacuum analyze inodes, dentries, blocks, contents");
    const plans: Plan[] = [];
    const reading = new Reading(1, async (text, parameters) => {
      const explain = `explain (analyze, timing off, format json) ${text}`;
      const [row] = await connection.query(explain, parameters);
      plans.push(row!["QUERY PLAN"][0].Plan);
      return [];
    });
    const hash = new Uint8Array(32);
    const busy = { parent: 2, name: bytes("busy") };
    const file = { parent: 3, name: bytes("file-50001") };
    const some = [102, 103, 5000, 99_999];
    const old = { lineage: 1, ordinal: LAYERS / 2 };
    const reads: readonly (readonly [string, number, () => Promise<unknown>])[] = [
      ["inodes of the head", 4, () => reading.inodes([HEAD], some)],
      ["names of the head", 4, () => reading.lookup([HEAD], [busy, file])],
      ["a first page", 100, () => reading.list([HEAD], 2, 0, 50)],
      ["a later page", 100, () => reading.list([HEAD], 2, 50_000, 50)],
      ["the last page", 2, () => reading.list([HEAD], 2, 100_102, 50)],
      ["blocks of the head", 4, () => reading.blocks([HEAD], some)],
      ["names of inodes", 4, () => reading.names([HEAD], some)],
      ["contents", 1, () => reading.contents([hash]).catch(() => {})],
      ["what one layer changed", 2, () => reading.changedKeys(1, LAYERS - 1, LAYERS)],
      ["what the head changed", 0, () => reading.changedKeys(1, LAYERS, LAYERS + 1)],
      ["inodes of an old layer", 4, () => reading.inodes([old], some)],
      ["names of an old layer", 4, () => reading.lookup([old], [busy, file])],
      ["inodes of a fork", 6, () => reading.inodes([FORK, HEAD], some)],
      ["names of a fork", 6, () => reading.lookup([FORK, HEAD], [busy, file])],
      ["a page of a fork", 150, () => reading.list([FORK, HEAD], 2, 0, 50)],
      ["blocks of a fork", 8, () => reading.blocks([FORK, HEAD], some)],
      ["names of inodes in a fork", 8, () => reading.names([FORK, HEAD], some)],
    ];
    for (const [name, asked, read] of reads) {
      await t.step(name, async () => {
        plans.length = 0;
        await read();
        assert.ok(plans.length > 0);
        for (const plan of plans) {
          const { rows, sequential } = touched(plan);
          assert.deepEqual(sequential, [], JSON.stringify(plan, null, 1));
          const text = `${rows} rows for ${asked}: ${JSON.stringify(plan, null, 1)}`;
          assert.ok(rows <= asked + SLACK, text);
        }
      });
    }
  } finally {
    await connection.close();
    await server.stop();
  }
});
