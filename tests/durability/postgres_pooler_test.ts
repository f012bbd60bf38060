import assert from "node:assert/strict";
import { join } from "node:path";
import { initDatabase } from "../../src/store/postgres/init.ts";
import { pause } from "../../src/store/postgres/connection.ts";
import { openStore } from "../../src/store/postgres/store.ts";
import { startServer } from "../store/server.ts";

Deno.test("behind PgBouncer: session mode works, transaction mode is refused by name", async () => {
  const server = await startServer("18");
  await initDatabase(server.options, { createDatabase: false });
  const { host, port, database, user } = server.options;
  try {
    for (const mode of ["session", "transaction"]) {
      const directory = await Deno.makeTempDir({ prefix: "tarbox-pooler-" });
      const file = join(directory, "ini");
      await Deno.writeTextFile(
        file,
        `[databases]\n${database} = host=${host} port=${port} dbname=${database} user=${user}\n` +
          `[pgbouncer]\nlisten_addr=\nunix_socket_dir=${directory}\nlisten_port=6432\n` +
          `auth_type=any\npool_mode=${mode}\ndefault_pool_size=${mode === "session" ? 20 : 3}\n`,
      );
      const owner = Deno.uid() === 0 ? { uid: 65534, gid: 65534 } : {};
      if (owner.uid !== undefined) await Deno.chown(directory, owner.uid, owner.gid);
      const pooler = new Deno.Command("/usr/sbin/pgbouncer", {
        args: ["-q", file],
        stdin: "null",
        stdout: "null",
        stderr: "null",
        ...owner,
      }).spawn();
      try {
        const socket = join(directory, ".s.PGSQL.6432");
        while (!await Deno.lstat(socket).then(() => true, () => false)) await pause(10);
        const use = async () => {
          const store = await openStore(
            { ...server.options, host: directory, port: 6432 },
            "default",
          );
          try {
            for (let i = 0; i < 20; i++) {
              await Promise.all([store.workspaces(), store.layers(), store.openLineage(null)]);
            }
          } finally {
            await store.close();
          }
        };
        if (mode === "session") await use();
        else await assert.rejects(use(), /a pooler hands one connection's statements to another/);
      } finally {
        Deno.kill(pooler.pid, "SIGKILL");
        await pooler.status;
        await Deno.remove(directory, { recursive: true });
      }
    }
  } finally {
    await server.stop();
  }
});
