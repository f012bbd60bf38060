import { join } from "node:path";
import { ensureCluster, kill, startPostgres } from "./cluster.ts";
import { layoutOf, makeLayout } from "./layout.ts";
import { anyUser, tryLock } from "./locks.ts";
import { unpackEngine } from "./unpack.ts";

/** Milliseconds between looks at who still uses the engine. */
const LOOK_MS = 500;

/** Milliseconds without a user after which the engine stops. */
const LINGER_MS = 2_000;

/** Most restarts in a row of a PostgreSQL that ends within a second of its start. */
const FAILED_STARTS_MAX = 5;

/**
 * The process that runs a home's PostgreSQL as its child: starts it, starts it again when it dies
 * while somebody uses it, stops it when nobody does. One for a home: the lock says who.
 */
export async function runSupervisor(home: string): Promise<void> {
  const layout = layoutOf(home);
  await makeLayout(layout);
  const lock = await tryLock(layout.supervisorLock);
  if (lock === null) return;
  await Deno.writeTextFile(join(layout.run, "supervisor.pid"), String(Deno.pid));
  let stopping = false;
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => stopping = true);
  }
  const programs = await unpackEngine(home);
  await ensureCluster(layout, programs);
  let unused = 0;
  for (let failures = 0; failures < FAILED_STARTS_MAX && !stopping;) {
    const started = Date.now();
    const postgres = await startPostgres(layout, programs);
    let ended = false;
    const end = postgres.status.then(() => ended = true);
    while (!ended && !stopping) {
      await Promise.race([end, new Promise((resolve) => setTimeout(resolve, LOOK_MS))]);
      const kept = await Deno.stat(layout.keep).then(() => true, () => false);
      if (kept || await anyUser(layout)) unused = 0;
      else if (unused === 0) unused = Date.now();
      else if (Date.now() - unused > LINGER_MS) stopping = true;
    }
    if (!ended) {
      // SIGINT is PostgreSQL's fast shutdown: sessions are ended, everything is written.
      kill(postgres.pid, "SIGINT");
      const timer = setTimeout(() => kill(postgres.pid, "SIGQUIT"), 30_000);
      await end;
      clearTimeout(timer);
    } else {
      console.error(`${new Date().toISOString()} PostgreSQL ended by itself; see ${layout.log}`);
      failures = Date.now() - started < 1_000 ? failures + 1 : 0;
    }
  }
  await lock.release();
  Deno.exit(0);
}
