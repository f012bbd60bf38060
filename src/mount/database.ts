import { type Config, loadConfig } from "../base/config.ts";
import { TarboxError } from "../base/errors.ts";
import { resolveHome } from "../base/home.ts";
import { nowNanoseconds } from "../base/clock.ts";
import { useEngine } from "../engine/engine.ts";
import { initDatabase } from "../store/postgres/init.ts";
import { type DatabaseOptions, parseDatabaseUrl, tlsMode } from "../store/postgres/options.ts";
import { passwordFromPassfile } from "../store/postgres/passfile.ts";
import { openStore } from "../store/postgres/store.ts";
import type { Store } from "../store/store.ts";

/** Which database a command is about. */
export interface DatabaseChoice {
  /** Configuration file, when named. */
  readonly config?: string;
  readonly tenant: string;
  readonly workspace: string;
  /** TARBOX_HOME; the environment's when absent. */
  readonly home?: string;
  /** The embedded engine, whatever the configuration says. */
  readonly embedded?: boolean;
}

/** The configuration, and the user's own database when it names one. */
export interface Settings {
  readonly config: Config;
  readonly own: DatabaseOptions | null;
}

/** An open store; close it, and the engine beneath may stop. */
export interface OpenDatabase {
  readonly store: Store;
  readonly settings: Settings;
  /** Where the database is. */
  readonly options: DatabaseOptions;
  close(): Promise<void>;
}

/** Reads the configuration. @throws {TarboxError} naming the key that is wrong. */
export async function loadSettings(choice: { readonly config?: string }): Promise<Settings> {
  const config = await loadConfig(choice.config ?? null);
  const url = Deno.env.get("TARBOX_DATABASE_URL");
  if (url !== undefined && url !== "") {
    const own = parseDatabaseUrl(url);
    const password = own.password ?? Deno.env.get("PGPASSWORD");
    return { config, own: await withPassword({ ...own, password }) };
  }
  if (config.database === null) return { config, own: null };
  const { sslmode, sslrootcert, ...rest } = config.database;
  const tls = sslmode === undefined ? undefined : tlsMode(sslmode);
  return { config, own: await withPassword({ ...rest, tls, caFile: sslrootcert }) };
}

async function withPassword(options: DatabaseOptions): Promise<DatabaseOptions> {
  return { ...options, password: options.password ?? await passwordFromPassfile(options) };
}

/**
 * Opens the tenant's store: on the user's own PostgreSQL when the configuration or
 * `TARBOX_DATABASE_URL` names one, else on the embedded engine, which starts by need and gets its
 * schema and the workspace `main` by itself.
 */
export async function openDatabase(choice: DatabaseChoice): Promise<OpenDatabase> {
  const settings = await loadSettings(choice);
  if (settings.own !== null && !choice.embedded) {
    const store = await openStore(settings.own, choice.tenant);
    return { store, settings, options: settings.own, close: () => store.close() };
  }
  const engine = await useEngine(choice.home ?? resolveHome());
  try {
    let store: Store;
    try {
      store = await openStore(engine.database, choice.tenant);
    } catch (error) {
      if (!(error instanceof TarboxError)) throw error;
      await initDatabase(engine.database, { createDatabase: false });
      store = await openStore(engine.database, choice.tenant);
    }
    if (await store.workspace("main") === null) await createMain(store);
    return {
      store,
      settings,
      options: engine.database,
      async close() {
        await store.close();
        await engine.release();
      },
    };
  } catch (error) {
    await engine.release();
    throw error;
  }
}

/** Two first commands at the same time both want it; one of them makes it. */
async function createMain(store: Store): Promise<void> {
  await createWorkspace(store, "main").catch(async (error) => {
    if (await store.workspace("main") === null) throw error;
  });
}

async function createWorkspace(store: Store, name: string): Promise<void> {
  await store.createWorkspace(name, null, {
    uid: Deno.uid() ?? 0,
    gid: Deno.gid() ?? 0,
    time: nowNanoseconds(),
  });
}

/** `tarbox init`: schema, tenant and workspace, each only when missing. */
export async function initialize(
  choice: DatabaseChoice & { readonly createDatabase: boolean },
): Promise<{ workspace: string; where: string }> {
  const { own } = await loadSettings(choice);
  if (own !== null && !choice.embedded) {
    await initDatabase(own, { createDatabase: choice.createDatabase });
  }
  const database = await openDatabase(choice);
  try {
    if (await database.store.workspace(choice.workspace) === null) {
      await createWorkspace(database.store, choice.workspace);
    }
  } finally {
    await database.close();
  }
  const where = own === null || choice.embedded
    ? "the embedded engine"
    : `${own.database} at ${own.host}`;
  return { workspace: choice.workspace, where };
}
