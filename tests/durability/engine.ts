import { stopEngine, useEngine } from "../../src/engine/engine.ts";
import { initDatabase } from "../../src/store/postgres/init.ts";
import type { DatabaseOptions } from "../../src/store/postgres/options.ts";

/** An engine of its own for one test file. */
export interface TestEngine {
  readonly database: DatabaseOptions;
  readonly home: string;
  close(): Promise<void>;
}

/** Starts an embedded engine in a home of its own, with the schema. */
export async function startEngine(): Promise<TestEngine> {
  const home = await Deno.makeTempDir({ prefix: "tarbox-durability-" });
  // The engine's user walks through it.
  await Deno.chmod(home, 0o755);
  const engine = await useEngine(home);
  await initDatabase(engine.database, { createDatabase: false });
  return {
    database: engine.database,
    home,
    async close() {
      await engine.release();
      await stopEngine(home);
      await Deno.remove(home, { recursive: true });
    },
  };
}
