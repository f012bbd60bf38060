import { DatabaseError } from "./client.ts";
import { TarboxError } from "../../base/errors.ts";
import { UnavailableError } from "../errors.ts";
import { Connection, pause, type Statement } from "./connection.ts";
import type { DatabaseOptions } from "./options.ts";
import { named } from "./pool.ts";
import { MIGRATIONS } from "./schema.ts";

/** Oldest server that the statements work on: `server_version_num`. */
const OLDEST_SERVER = 140000;

/** Key of the advisory lock under which the schema is changed: "tarbox" in ASCII. */
const MIGRATION_LOCK = 0x746172626f78n;

/** Milliseconds for which a server that is starting up is waited for. */
const STARTING_LIMIT_MS = 10_000;

/**
 * Creates or upgrades the schema, and the tenant `default`. Idempotent; two at once wait for each
 * other.
 * @throws {TarboxError} server not there, password wrong, database missing, too old, schema newer
 */
export async function initDatabase(
  options: DatabaseOptions,
  { createDatabase, migrations = MIGRATIONS }: {
    readonly createDatabase: boolean;
    /** The steps of the schema; all of them, but for tests. */
    readonly migrations?: readonly string[];
  },
): Promise<void> {
  if (createDatabase) await ensureDatabase(options);
  const connection = new Connection(options);
  try {
    await serverReady(connection);
    await connection.query("select pg_advisory_lock($1)", [MIGRATION_LOCK]);
    await connection.query(
      "create table if not exists schema_migrations (" +
        "version integer primary key, applied_at timestamptz not null default now())",
    );
    const version = await schemaVersion(connection);
    if (version > migrations.length) throw newer(version);
    for (let step = version; step < migrations.length; step++) {
      await migrate(connection, migrations[step]!, step);
    }
    await connection.query("insert into tenants (name) values ('default') on conflict do nothing");
  } finally {
    await connection.close();
  }
}

/** One step, whole or not at all. */
async function migrate(connection: Connection, sql: string, step: number): Promise<void> {
  const statements = splitStatements(sql).map((text): Statement => [text, []]);
  statements.push(["insert into schema_migrations (version) values ($1)", [step + 1]]);
  await named(connection, statements, "migration");
}

/** The statements of a step; `;` within `$$` does not end one. */
function splitStatements(sql: string): string[] {
  return sql.split("$$")
    .map((part, i) => i % 2 === 0 ? part.replaceAll(";\n", "\0") : part).join("$$")
    .split("\0").map((statement) => statement.trim()).filter((statement) => statement !== "");
}

/**
 * Waits for a server that is there and starting up, and holds its schema against this program's.
 * @throws {TarboxError} when the schema is missing, older or newer
 */
export async function checkSchema(connection: Connection): Promise<void> {
  await serverReady(connection);
  let version: number;
  try {
    version = await schemaVersion(connection);
  } catch (error) {
    if (!(error instanceof DatabaseError) || error.code !== "42P01") throw error;
    throw new TarboxError("the database has no Tarbox schema", "`tarbox init` creates it");
  }
  if (version > MIGRATIONS.length) throw newer(version);
  if (version < MIGRATIONS.length) {
    throw new TarboxError(
      `the database's schema is version ${version}, this program needs ${MIGRATIONS.length}`,
      "`tarbox init` upgrades it",
    );
  }
}

async function serverReady(connection: Connection): Promise<void> {
  const deadline = Date.now() + STARTING_LIMIT_MS;
  for (;;) {
    try {
      const [row] = await connection.query(
        "select current_setting('server_version_num')::int as number, version() as text",
      );
      if (row!.number >= OLDEST_SERVER) return;
      throw new TarboxError(
        `PostgreSQL 14 or newer is needed; the server is ${String(row!.text).split(" ")[1]}`,
      );
    } catch (error) {
      const starting = error instanceof UnavailableError &&
        /starting up|recovery/.test(error.message);
      if (!starting || Date.now() > deadline) throw error;
      await pause(100);
    }
  }
}

async function schemaVersion(connection: Connection): Promise<number> {
  const [row] = await connection.query(
    "select coalesce(max(version), 0) as version from schema_migrations",
  );
  return row!.version;
}

function newer(version: number): TarboxError {
  return new TarboxError(
    `the database's schema is version ${version}, newer than this program (${MIGRATIONS.length})`,
    "use a newer tarbox",
  );
}

async function ensureDatabase(options: DatabaseOptions): Promise<void> {
  const connection = new Connection({ ...options, database: "postgres" });
  try {
    await serverReady(connection);
    const found = await connection.query(
      "select 1 as one from pg_database where datname = $1",
      [options.database],
    );
    if (found.length > 0) return;
    const name = options.database.replaceAll('"', '""');
    await connection.query(`create database "${name}"`).catch((error) => {
      // Another init was faster.
      if (!(error instanceof DatabaseError) || !["42P04", "23505"].includes(error.code)) {
        throw error;
      }
    });
  } finally {
    await connection.close();
  }
}
