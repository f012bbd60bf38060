import { TarboxError } from "../base/errors.ts";
import { resolveHome } from "../base/home.ts";
import { useEngine } from "../engine/engine.ts";
import { loadSettings } from "../mount/database.ts";
import { type DatabaseOptions, hostsOf } from "../store/postgres/options.ts";
import type { GlobalOptions } from "./session.ts";

/**
 * Runs the machine's `psql` on the database that commands use, with these arguments. The embedded engine
 * runs for as long as it does.
 * @returns the exit status of `psql`
 * @throws {TarboxError} when there is none
 */
export async function psql(globals: GlobalOptions, args: readonly string[]): Promise<number> {
  const { own } = await loadSettings(globals);
  if (own !== null) return await runPsql(own, args);
  const engine = await useEngine(resolveHome());
  try {
    return await runPsql(engine.database, args);
  } finally {
    await engine.release();
  }
}

async function runPsql(database: DatabaseOptions, args: readonly string[]): Promise<number> {
  // An interrupt is for psql, which ends its statement and goes on.
  const ignore = () => {};
  Deno.addSignalListener("SIGINT", ignore);
  try {
    const child = new Deno.Command("psql", {
      args: [...args],
      env: environment(database),
      stdin: "inherit",
      stdout: "inherit",
      stderr: "inherit",
    }).spawn();
    return (await child.status).code;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new TarboxError(
      "db psql: psql is not on this machine",
      "install the package postgresql-client, or give another client what `tarbox db url` prints",
    );
  } finally {
    Deno.removeSignalListener("SIGINT", ignore);
  }
}

/** What libpq reads (PostgreSQL manual, "Environment Variables"): no password in an argument. */
function environment(database: DatabaseOptions): Record<string, string> {
  const places = hostsOf(database);
  const { user, password, tls, caFile } = database;
  return {
    PGHOST: places.map(({ host }) => host).join(","),
    PGPORT: places.map(({ port }) => port).join(","),
    PGDATABASE: database.database,
    PGUSER: user,
    ...(password === undefined ? {} : { PGPASSWORD: password }),
    ...(tls === undefined ? {} : { PGSSLMODE: tls }),
    ...(caFile === undefined ? {} : { PGSSLROOTCERT: caFile }),
  };
}
