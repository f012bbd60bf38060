/** What a commit reads in PostgreSQL does not grow with the tree, also before there are statistics. */
import assert from "node:assert/strict";
import { utf8 } from "../../src/base/bytes.ts";
import { S_IFREG } from "../../src/base/modes.ts";
import { initDatabase } from "../../src/store/postgres/init.ts";
import type { DatabaseOptions } from "../../src/store/postgres/options.ts";
import { Pool } from "../../src/store/postgres/pool.ts";
import { openStore } from "../../src/store/postgres/store.ts";
import type { Batch, InodeRow } from "../../src/store/rows.ts";
import { startServer, VERSIONS } from "./server.ts";

const FILES = 5000;

function inode(number: number): InodeRow {
  const times = { atime: 1n, mtime: 1n, ctime: 1n, btime: 1n };
  const nothing = { uid: 0, gid: 0, rdev: 0, target: null, xattrs: null };
  return {
    inode: number,
    mode: S_IFREG | 0o644,
    nlink: 1,
    size: 4,
    allocated: 4096,
    ...nothing,
    ...times,
  };
}

/** Files with one block each, all of one content. */
function files(from: number, to: number): Batch {
  const numbers = Array.from({ length: to - from }, (_, i) => from + i);
  const hash = new Uint8Array(32).fill(7);
  return {
    nextInode: to + 1000,
    nextCookie: to + 1000,
    inodes: numbers.map(inode),
    deadInodes: [],
    dentries: numbers.map((n) => ({ parent: 1, name: utf8(`file-${n}`), child: n, cookie: n })),
    deadDentries: [],
    blocks: numbers.map((n) => ({ inode: n, index: 0, hash, length: 4 })),
    deadBlocks: [],
    contents: [{ hash, data: utf8("data") }],
  };
}

const REMOVAL: Batch = {
  ...files(0, 0),
  contents: [],
  deadInodes: [2001],
  deadDentries: [{ parent: 1, name: utf8("file-2001") }],
  deadBlocks: [{ inode: 2002, index: 0 }],
};

/** Rows of the tree's tables that the server read by now; a session that ended has told of its own. */
async function rowsRead(options: DatabaseOptions): Promise<number> {
  const pool = new Pool(options);
  try {
    const [row] = await pool.read(
      `select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::float8 as read
         from pg_stat_user_tables where relname in ('inodes', 'dentries', 'blocks')`,
      [],
    );
    return row!.read;
  } finally {
    await pool.close();
  }
}

/** The same when all sessions that ended have told: twice the same in a row. */
async function settledRowsRead(options: DatabaseOptions): Promise<number> {
  for (let before = -1;;) {
    const now = await rowsRead(options);
    if (now === before) return now;
    before = now;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

for (const version of VERSIONS) {
  Deno.test(`PostgreSQL ${version}: a commit reads no more than it changes`, async (t) => {
    const server = await startServer(version);
    try {
      const { options } = server;
      await initDatabase(options, { createDatabase: false });
      const withStore = async (batch: Batch) => {
        const store = await openStore(options, "default");
        try {
          const row = await store.workspace("main") ??
            await store.createWorkspace("main", null, { uid: 0, gid: 0, time: 1n });
          const { epoch } = await store.attach(
            row.id,
            { host: "test", pid: 1, mountPoint: null },
            0,
          );
          const { head } = (await store.workspace("main"))!;
          await store.commit(row.id, epoch, head, 1, batch);
          await store.detach(row.id, epoch);
          return { store, row };
        } finally {
          await store.close();
        }
      };
      await withStore(files(1000, 1000 + FILES));
      const steps = [
        ["one file in the same layer", files(1500, 1501)],
        ["removals in the same layer", REMOVAL],
        ["a thousand new files", files(10_000, 11_000)],
      ] as const;
      for (const [name, batch] of steps) {
        await t.step(name, async () => {
          const before = await settledRowsRead(options);
          await withStore(batch);
          const read = await settledRowsRead(options) - before;
          assert.ok(read <= 10 * (batch.inodes.length + 10), `${read} rows were read`);
        });
      }
    } finally {
      await server.stop();
    }
  });
}
