import { checkRoundTrips } from "../../src/oci/round_trip_fixture.ts";
import { Connection } from "../../src/store/postgres/connection.ts";
import { initDatabase } from "../../src/store/postgres/init.ts";
import { openStore } from "../../src/store/postgres/store.ts";
import type { Store } from "../../src/store/store.ts";
import { startServer, type TestServer } from "../store/server.ts";

/** Random programs that CI runs; TARBOX_PROGRAMS asks for more. */
const PROGRAMS = Number(Deno.env.get("TARBOX_PROGRAMS") ?? 12);

Deno.test("random layered trees go from one cluster to another, and give the same archive", async () => {
  const servers: TestServer[] = [];
  const stores: Store[] = [];
  try {
    for (let i = 0; i < 2; i++) {
      servers.push(await startServer("18"));
      await initDatabase(servers[i]!.options, { createDatabase: false });
    }
    let opened = 0;
    await checkRoundTrips(async () => {
      // Source and target in turn: each in its own cluster, each run in tenants of its own.
      const { options } = servers[opened % 2]!;
      const tenant = `t${++opened}`;
      const connection = new Connection(options);
      await connection.query("insert into tenants (name) values ($1)", [tenant]);
      await connection.close();
      // Of the run before nothing is needed any more.
      if (stores.length >= 2) await stores.shift()!.close();
      const store = await openStore(options, tenant);
      stores.push(store);
      return store;
    }, PROGRAMS);
  } finally {
    for (const store of stores) await store.close();
    for (const server of servers) await server.stop();
  }
});
