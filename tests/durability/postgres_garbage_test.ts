import assert from "node:assert/strict";
import { arm } from "../../src/base/failpoints.ts";
import { checkState } from "../../src/layer/check.ts";
import { drop, switchTo } from "../../src/layer/checkpoint.ts";
import { readWhole } from "../../src/layer/file.ts";
import { memoryStore } from "../../src/store/memory/store.ts";
import { Connection, pause } from "../../src/store/postgres/connection.ts";
import { openStore } from "../../src/store/postgres/store.ts";
import type { Point } from "../../src/store/rows.ts";
import type { Store } from "../../src/store/store.ts";
import { TreeFixture } from "../layer/fixture.ts";
import { startEngine } from "./engine.ts";
import { Random } from "./simulation_store.ts";

/** Every name, row and byte of a state. */
async function dump(store: Store, point: Point): Promise<string> {
  const chain = await store.chain(point);
  const lines: string[] = [];
  const walk = async (inode: number, path: string) => {
    for (const entry of await store.list(chain, inode, 0, 1e6)) {
      const name = `${path}/${new TextDecoder().decode(entry.dentry.name)}`;
      const { mode, nlink, size } = entry.inode;
      const data = new TextDecoder().decode(await readWhole(store, chain, entry.inode));
      lines.push(`${name} ${mode} ${nlink} ${size} ${data}`);
      await walk(entry.inode.inode, name);
    }
  };
  await walk(1, "");
  return lines.join("\n");
}

/** Every layer's and head's state, and that the heads are sound. */
async function states(store: Store): Promise<string[]> {
  const heads = (await store.workspaces()).map(({ head }) => head);
  for (const head of heads) assert.deepEqual((await checkState(store, head)).violations, []);
  const layers = (await store.layers()).map(({ point }) => point);
  return await Promise.all([...layers, ...heads].map((point) => dump(store, point)));
}

/** Random work: files, layers, forks, dropped layers, abandoned heads. */
async function work(store: Store, random: Random, rounds: number): Promise<TreeFixture[]> {
  const trees = [await TreeFixture.make(store, "main")];
  let number = 0;
  for (let round = 0; round < rounds; round++) {
    const tree = random.pick(trees);
    const layers = await store.layers();
    const own = layers;
    const roll = random.below(12);
    if (roll < 5) await tree.write(`/f${random.below(6)}`, `text ${random.below(9)}`);
    else if (roll < 8) await tree.seal(`layer-${number++}`);
    else if (roll === 8 && trees.length < 4 && own.length > 0) {
      trees.push(await TreeFixture.make(store, `fork-${number++}`, random.pick(own)));
    } else if (roll === 9 && own.length > 2) {
      const layer = random.pick(own);
      const name = (await store.workspaces()).find(({ id }) => id === layer.workspace)!.name;
      await drop(store, name, layer.name);
    } else if (roll === 10) {
      const row = await tree.row();
      const layer = layers.findLast(({ workspace }) => workspace === row.id);
      if (layer === undefined) continue;
      await switchTo(store, row, tree.epoch, layer.name, { discard: true });
    } else if (roll === 11) {
      await store.openLineage(own.length === 0 ? null : random.pick(own).point);
    }
  }
  return trees;
}

Deno.test("gc of a store in memory changes no state that can be seen", async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const store = memoryStore();
    await work(store, new Random(seed), 60);
    const before = await states(store);
    await store.collectGarbage(0);
    assert.deepEqual(await states(store), before, `seed ${seed}`);
    const again = await store.collectGarbage(0);
    assert.deepEqual(again, { lineages: 0, rows: 0, contents: 0, bytes: 0 });
  }
});

Deno.test("gc in PostgreSQL", async (t) => {
  const engine = await startEngine();
  const admin = new Connection(engine.database);
  const fresh = async (tenant: string) => {
    await admin.query("insert into tenants (name) values ($1)", [tenant]);
    return await openStore(engine.database, tenant);
  };
  const count = async (table: string, tenant: string) => {
    const [row] = await admin.query(
      `select count(*)::int as count from ${table} join tenants using (tenant_id) where name = $1`,
      [tenant],
    );
    return row!.count as number;
  };
  try {
    await t.step("changes no state that can be seen, and leaves nothing for a second", async () => {
      for (let seed = 101; seed <= 102; seed++) {
        const store = await fresh(`seed-${seed}`);
        await work(store, new Random(seed), 45);
        const before = await states(store);
        await store.collectGarbage(0);
        assert.deepEqual(await states(store), before, `seed ${seed}`);
        const again = await store.collectGarbage(0);
        assert.deepEqual(again, { lineages: 0, rows: 0, contents: 0, bytes: 0 });
        const [lost] = await admin.query(
          `select count(*)::int as count from contents c join tenants t using (tenant_id)
            where t.name = $1 and not exists (select 1 from blocks b
                  where b.tenant_id = c.tenant_id and b.hash = c.hash)`,
          [`seed-${seed}`],
        );
        assert.equal(lost!.count, 0);
        await store.close();
      }
    });

    await t.step("spares what was written to lately: an import that is not published", async () => {
      const store = await fresh("young");
      const tree = await TreeFixture.make(store, "main");
      await tree.write("/f", "old");
      const point = await store.openLineage((await tree.seal("one")).point);
      assert.equal((await store.collectGarbage(3600)).lineages, 0);
      assert.equal((await store.chain(point)).length, 2);
      assert.equal((await store.collectGarbage(0)).lineages, 1);
      await store.close();
    });

    // Whatever stands still while the other goes on: the content is there afterwards.
    for (
      const [name, failpoints] of [
        ["while it searches", "gc-start.done:1=delay400"],
        ["after its search", "gc-search.done:1=delay400"],
        ["while it removes", "gc-contents.commit:1=delay400"],
        ["at its end", "gc-end.commit:1=delay400"],
        ["before it starts, slowly", "gc-roots.begin:1=delay150;commit.commit:1=delay400"],
        ["slowly, while it removes", "gc-search.done:1=delay200;commit.commit:1=delay400"],
      ] as const
    ) {
      await t.step(`a commit that brings a content anew ${name}`, async () => {
        const tenant = name.replaceAll(/[^a-z]/g, "");
        const store = await fresh(tenant);
        const tree = await TreeFixture.make(store, "main");
        await tree.write("/f", "the content");
        await tree.write("/f", "another");
        arm(failpoints);
        const collecting = store.collectGarbage(0);
        await pause(100);
        await tree.write("/g", "the content");
        await collecting;
        arm(null);
        const [state] = await states(store);
        assert.match(state!, /the content/);
        assert.equal(await count("content_uses", tenant), 0);
        await store.close();
      });
    }

    await t.step("ended anywhere, the next one finishes", async () => {
      const points = ["lineage", "rows", "start", "search", "contents", "end"];
      for (const [i, point] of points.entries()) {
        for (const moment of i % 2 === 0 ? ["begin", "done"] : ["commit"]) {
          const tenant = `crash-${i}-${moment}`;
          const store = await fresh(tenant);
          await work(store, new Random(i + 1), 20);
          const before = await states(store);
          arm(`gc-${point}.${moment}:1=error`);
          await assert.rejects(store.collectGarbage(0), /failpoint gc-/);
          arm(null);
          await store.collectGarbage(0);
          assert.deepEqual(await states(store), before);
          assert.equal(await count("content_uses", tenant), 0);
          await store.close();
        }
      }
    });

    await t.step("one at a time in a tenant", async () => {
      const store = await fresh("twice");
      arm("gc-roots.begin:1=delay300");
      const first = store.collectGarbage(0);
      await pause(150);
      await assert.rejects(store.collectGarbage(0), /another collection .* is running/);
      await first;
      await store.close();
    });
  } finally {
    arm(null);
    await admin.close();
    await engine.close();
  }
});
