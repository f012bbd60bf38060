import assert from "node:assert/strict";
import { readyPostmaster } from "../../src/engine/cluster.ts";
import { layoutOf } from "../../src/engine/layout.ts";
import { UnavailableError } from "../../src/store/errors.ts";
import { Connection, pause } from "../../src/store/postgres/connection.ts";
import { startEngine } from "./engine.ts";

/** A span of silence; the connection is given up after six of them, or one without a server. */
const SPAN_MS = 1000;

Deno.test("a silent server is told from a slow one, and results are let go", async (t) => {
  const engine = await startEngine();
  const connection = new Connection(engine.database, SPAN_MS);
  const stopped = new Set<number>();
  const stop = (pid: number) => {
    stopped.add(pid);
    Deno.kill(pid, "SIGSTOP");
  };
  const wake = () => {
    for (const pid of stopped) Deno.kill(pid, "SIGCONT");
    stopped.clear();
  };
  try {
    const backend = async () => (await connection.query("select pg_backend_pid() as pid"))[0]!.pid;

    await t.step("a backend that is slow for spans is waited for", async () => {
      const pid = await backend();
      stop(pid);
      const answer = backend();
      await pause(3 * SPAN_MS);
      wake();
      assert.equal(await answer, pid);
    });

    await t.step("a server that answers nobody is lost, and the next query connects", async () => {
      const pid = await backend();
      const postmaster = await readyPostmaster(layoutOf(engine.home));
      assert(postmaster !== null);
      stop(postmaster);
      stop(pid);
      await assert.rejects(
        backend(),
        (error) => error instanceof UnavailableError && /no answer for/.test(error.message),
      );
      wake();
      assert.notEqual(await backend(), pid);
    });

    await t.step("a connection keeps no result", async () => {
      const megabytes = 256;
      const result = (await connection.query(
        "select convert_to(repeat('x', 1048576), 'UTF8') as data where 1 = $1::int",
        [1],
      ))[0]!.data;
      assert.equal(result.length, 2 ** 20);
      for (let i = 0; i < megabytes; i++) {
        await connection.query(
          "select convert_to(repeat('x', 1048576), 'UTF8') as data where 1 = $1::int",
          [1],
        );
      }
      const { external } = Deno.memoryUsage();
      assert(external < megabytes / 2 * 2 ** 20, `${external} bytes are still there`);
    });
  } finally {
    wake();
    await connection.close();
    await engine.close();
  }
});
