/** Finding layers, and moving the head, cost the same with 10 layers in a workspace and with 10,000. */
import assert from "node:assert/strict";
import { checkpoint, fork, switchTo, undo } from "../../src/layer/checkpoint.ts";
import { resolve } from "../../src/layer/references.ts";
import { Connection } from "../../src/store/postgres/connection.ts";
import { initDatabase } from "../../src/store/postgres/init.ts";
import { LayerReads } from "../../src/store/postgres/layers.ts";
import { openStore } from "../../src/store/postgres/store.ts";
import { traffic } from "../../src/store/postgres/traffic.ts";
import type { LayerRow, WorkspaceRow } from "../../src/store/rows.ts";
import type { Store } from "../../src/store/store.ts";
import { type Plan, touched } from "./plan.ts";
import { startServer } from "./server.ts";
import { ROOT } from "./suite/rows.ts";

const COUNTS = [10, 10_000] as const;

/** What all queries of one row touch: itself, its workspace, a lineage or two for the chain. */
const ROWS_MAX = 12;

/** The planner of the embedded engine; TARBOX_POSTGRES=14 asks for that of the oldest. */
const version = Deno.env.get("TARBOX_POSTGRES") === "14" ? "14" : "18";

interface Tenant {
  readonly store: Store;
  readonly main: WorkspaceRow;
  /** Stands on the fifth layer of `main`, which has gone on since. */
  readonly fork: WorkspaceRow;
  readonly newest: LayerRow;
  close(): Promise<void>;
}

/** A tenant with layers `ckpt-1` to `ckpt-N`, a second apart, in one workspace. */
async function tenantOf(
  connection: Connection,
  open: (tenant: string) => Promise<Store>,
  count: number,
): Promise<Tenant> {
  const name = `of-${count}`;
  await connection.query("insert into tenants (name) values ($1)", [name]);
  const store = await open(name);
  const { id, head: { lineage } } = await store.createWorkspace("main", null, ROOT);
  const [first] = await connection.query(
    "select tenant_id, coalesce((select max(layer_id) from layers), 0) as last from tenants where name = $1",
    [name],
  );
  const { tenant_id: tenant, last } = first!;
  await connection.query(
    `insert into layers (tenant_id, layer_id, uid, workspace_id, name, lineage, ordinal, parent,
            message, created_at)
     overriding system value
     select $1::int, $2::int + n, md5('uid' || n), $3::int, 'ckpt-' || n, $4::int, n,
            case n when 1 then null else $2::int + n - 1 end, '', '2020-01-01Z'::timestamptz + n * interval '1 s'
       from generate_series(1, $5::int) n`,
    [tenant, last, id, lineage, count],
  );
  await connection.query(
    `update workspaces set head_ordinal = $3::int + 1, base_layer = $4::int + $3::int
      where tenant_id = $1 and workspace_id = $2`,
    [tenant, id, count, last],
  );
  await connection.query(
    "select setval(pg_get_serial_sequence('layers', 'layer_id'), max(layer_id)) from layers",
  );
  const newest = (await store.layer(last + count))!;
  const fork = await store.createWorkspace("fork", (await store.layer(last + 5))!, ROOT);
  const main = (await store.workspace("main"))!;
  return { store, main, fork, newest, close: () => store.close() };
}

async function planOf(
  connection: Connection,
  tenant: number,
  read: (reads: LayerReads) => Promise<unknown>,
): Promise<Plan> {
  let plan: Plan | undefined;
  await read(
    new LayerReads(tenant, async (text, parameters) => {
      const explain = `explain (analyze, timing off, format json) ${text}`;
      const [row] = await connection.query(explain, parameters);
      plan = row!["QUERY PLAN"][0].Plan;
      return [];
    }),
  );
  return plan!;
}

/** Each way to find a layer; times are of the middle of the list. */
function reads({ main, fork, newest }: Tenant) {
  const early = new Date("2020-01-01T00:00:03Z");
  const late = new Date("2999-01-01");
  return {
    "by number": (reads) => reads.layer(newest.id),
    "by id": (reads) => reads.layerOfUid(newest.uid),
    "by name": (reads) => reads.layerNamed(main.id, newest.name),
    "by a name below a fork": (reads) => reads.layerNamed(fork.id, "ckpt-2"),
    "by a name that is not there": (reads) => reads.layerNamed(main.id, "nothing"),
    "by a name that a fork does not see": (reads) => reads.layerNamed(fork.id, newest.name),
    "by prefix": (reads) => reads.layersOfPrefix(main.id, newest.uid.slice(0, 12), 9),
    "by prefix from a fork": (reads) => reads.layersOfPrefix(fork.id, newest.uid.slice(0, 12), 9),
    "by an early time": (reads) => reads.layerAt(main.id, early),
    "by a late time": (reads) => reads.layerAt(main.id, late),
    "by an early time from a fork": (reads) => reads.layerAt(fork.id, early),
    "by a late time from a fork": (reads) => reads.layerAt(fork.id, late),
    "two below": (reads) => reads.layerBelow(newest.id, 2),
    "the highest number": (reads) => reads.highestNumber(main.id, "ckpt"),
    "no number": (reads) => reads.highestNumber(main.id, "auto-20200101-000000"),
  } satisfies Record<string, (reads: LayerReads) => Promise<unknown>> as Record<
    string,
    (reads: LayerReads) => Promise<unknown>
  >;
}

Deno.test(`PostgreSQL ${version}: a layer is found and a head moved at one cost`, async (t) => {
  const server = await startServer(version);
  const connection = new Connection(server.options);
  const tenants: Tenant[] = [];
  try {
    await initDatabase(server.options, { createDatabase: false });
    const open = (tenant: string) => openStore(server.options, tenant);
    for (const count of COUNTS) tenants.push(await tenantOf(connection, open, count));
    const ids = await connection.query(
      "select tenant_id from tenants where name like 'of-%' order by 1",
    );
    for (const statistics of ["without statistics", "with statistics"]) {
      if (statistics === "with statistics") await connection.query("vacuum analyze");
      for (const name of Object.keys(reads(tenants[0]!))) {
        await t.step(`${name}, ${statistics}`, async () => {
          for (const [i, tenant] of tenants.entries()) {
            const plan = await planOf(connection, ids[i]!.tenant_id, reads(tenant)[name]!);
            const { rows } = touched(plan);
            const text = `${COUNTS[i]} layers: ${rows} rows: ${JSON.stringify(plan, null, 1)}`;
            assert.ok(rows <= ROWS_MAX, text);
          }
        });
      }
    }
    const actions: Record<string, (tenant: Tenant, round: number) => Promise<unknown>> = {
      "head~2": ({ store }) => resolve(store, "main", "head~2"),
      "a name": ({ store, newest }) => resolve(store, "main", newest.name),
      "an id": ({ store, newest }) => resolve(store, "fork", newest.uid.slice(0, 16)),
      "a time": ({ store }) => resolve(store, "main", "@{2020-01-01T00:00:05Z}"),
      "checkpoint": ({ store, main }) => checkpoint(store, main, null),
      "switch": ({ store, main }) => switchTo(store, main, null, "ckpt-7"),
      "fork": ({ store, main }, round) => fork(store, main, null, { name: `fork-${round}` }),
      "undo": ({ store, main }) => undo(store, main, null),
    };
    for (const [name, act] of Object.entries(actions)) {
      await t.step(`${name}: round trips and bytes`, async () => {
        const costs = [];
        for (const tenant of tenants) {
          // The first prepares the statements on each connection.
          for (let round = 0; round < 4; round++) await act(tenant, round);
          const before = traffic();
          await act(tenant, 4);
          const { roundTrips, statements, bytesReceived } = traffic();
          costs.push({
            roundTrips: roundTrips - before.roundTrips,
            statements: statements - before.statements,
            // A number has more digits there, an id another length: some bytes, not rows.
            halfKilobytes: Math.round((bytesReceived - before.bytesReceived) / 512),
          });
        }
        assert.deepEqual(costs[0], costs[1]);
      });
    }
  } finally {
    for (const tenant of tenants) await tenant.close();
    await connection.close();
    await server.stop();
  }
});
