/** `tarbox stats`: what each layer and kind takes, against what is known of a small tree. */
import assert from "node:assert/strict";
import { Connection } from "../../src/store/postgres/connection.ts";
import { type StorageFigures, storageFigures } from "../../src/store/postgres/figures.ts";
import { initDatabase } from "../../src/store/postgres/init.ts";
import { openStore } from "../../src/store/postgres/store.ts";
import { TreeFixture } from "../layer/fixture.ts";
import { startServer, VERSIONS } from "./server.ts";

/** Bytes that do not shrink, and are kept out of line. */
function noise(seed: number, length: number): Uint8Array {
  const out = new Uint8Array(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    out[i] = state >>> 16;
  }
  return out;
}

/** Bytes before a value: its length, and a hash's digits of slack. */
const HEADER = 64;

const LARGE = 100_000;

for (const version of VERSIONS) {
  Deno.test(`PostgreSQL ${version}: figures by layer and kind`, async (t) => {
    const server = await startServer(version);
    try {
      const { options } = server;
      await initDatabase(options, { createDatabase: false });
      const store = await openStore(options, "default");
      try {
        const tree = await TreeFixture.make(store, "main");
        await tree.write("/a", noise(1, LARGE));
        await tree.write("/same", noise(1, LARGE));
        await tree.seal("one");
        await tree.write("/b", noise(2, LARGE));
        await tree.seal("two");
        await tree.write("/again", noise(2, LARGE));
        await store.detach((await tree.row()).id, tree.epoch);
      } finally {
        await store.close();
      }
      const figures = await storageFigures(options, "default");
      await t.step("by layer", () => {
        const [one, two, head] = figures.layers;
        assert.equal(figures.layers.length, 3);
        assert.deepEqual(figures.layers.map(({ layer }) => layer?.name), ["one", "two", undefined]);
        assert.deepEqual(figures.layers.map(({ workspace }) => workspace), [
          "main",
          "main",
          "main",
        ]);
        assert.deepEqual([one!.contents, two!.contents, head!.contents], [1, 1, 0]);
        for (const { contentBytes } of [one!, two!]) {
          assert.ok(contentBytes >= LARGE && contentBytes < LARGE + HEADER, `${contentBytes}`);
        }
        assert.equal(head!.contentBytes, 0, "its content is that of another file");
        // The inode, its name and its block.
        assert.equal(head!.rows, 3);
        assert.ok(head!.bytes > 100 && head!.bytes < 2000, `${head!.bytes}`);
      });
      await t.step("by kind, and as the server counts", async () => {
        const connection = new Connection(options);
        try {
          for (const { kind, rows, bytes, tableBytes, indexBytes } of figures.kinds) {
            const [row] = await connection.query(
              `select count(*)::int as rows, pg_total_relation_size('${kind}')::float8 as bytes
                 from ${kind}`,
            );
            assert.equal(rows, row!.rows, kind);
            assert.equal(tableBytes + indexBytes, row!.bytes, kind);
            assert.ok(bytes > 0 && bytes < tableBytes, `${kind}: ${bytes} of ${tableBytes}`);
          }
          const born = figures.layers.reduce((sum, { rows }) => sum + rows, 0);
          const kinds = figures.kinds.filter(({ kind }) => kind !== "contents");
          assert.equal(
            born,
            kinds.reduce((sum, { rows }) => sum + rows, 0),
            "each row in one layer",
          );
        } finally {
          await connection.close();
        }
      });
      await t.step("what sharing saves", () => {
        const { referencedBytes, storedBytes, savedBytes } = figures.deduplication;
        assert.equal(referencedBytes, 2 * storedBytes);
        assert.equal(savedBytes, storedBytes);
        assert.deepEqual(figures.unneeded, { contents: 0, bytes: 0 });
      });
      await t.step("a tenant that is not there", async () => {
        await assert.rejects(storageFigures(options, "other"), /tenant other: there is none/);
      });
      await t.step("the command", async () => {
        const { host, port, user, database } = options;
        const url = `postgres://${user}@/${database}?host=${encodeURIComponent(host)}&port=${port}`;
        const stats = async (...args: string[]) => {
          const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
            args: ["run", "-A", "--frozen", "main.ts", ...args, "stats"],
            env: { TARBOX_DATABASE_URL: url },
          }).output();
          assert.equal(code, 0, new TextDecoder().decode(stderr));
          return new TextDecoder().decode(stdout);
        };
        const told = JSON.parse(await stats("--json")) as StorageFigures;
        assert.deepEqual(told.layers, figures.layers);
        assert.deepEqual(told.deduplication, figures.deduplication);
        const shown = await stats();
        assert.match(shown, /^contents +2 +195\.\d\dKB/m);
        assert.match(shown, /^main\/two +\d+ +\S+ +1 +97\.\d\dKB$/m);
        assert.match(shown, /^main\/head +3 .* 0 +0B$/m);
        assert.match(
          shown,
          /^deduplication: 390\.\d\dKB of blocks in 195\.\d\dKB, 195\.\d\dKB saved$/m,
        );
      });
    } finally {
      await server.stop();
    }
  });
}
