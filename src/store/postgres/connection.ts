import { Buffer } from "node:buffer";
import { type Client, connect, DatabaseError, type PreparedStatement, SSLMode } from "ts-postgres";
import { TarboxError } from "../../base/errors.ts";
import { UnavailableError } from "../errors.ts";
import type { DatabaseOptions } from "./options.ts";

/** A value of a query's parameter. Bytes must be `Buffer`s: see {@link bytea}. */
export type Parameter =
  | string
  | number
  | bigint
  | boolean
  | null
  | Date
  | Buffer
  | readonly Parameter[]
  | object;

/** One row of a result, by column name. */
// deno-lint-ignore no-explicit-any -- what a column holds is known to the statement alone
export type Row = Record<string, any>;

/** SQLSTATE classes and codes after which the connection is of no use but the server may be. */
const LOST = /^(08|57P0|53300|25006|26000)/;

/** Milliseconds for which a connection may be set up. */
const CONNECT_TIMEOUT_MS = 5_000;

/**
 * What the statements count on, whatever the server's defaults: commits that are durable, plans made
 * for the tables as they are (a table fills within a minute of its creation), and the isolation that
 * waits for a lock instead of failing.
 */
const SETTINGS = `select set_config('plan_cache_mode', 'force_custom_plan', false),
  set_config('default_transaction_isolation', 'read committed', false),
  set_config('synchronous_commit', case current_setting('synchronous_commit')
             when 'off' then 'on' else current_setting('synchronous_commit') end, false)`;

/** Bytes as the client wants them; no copy. */
export function bytea(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Bytes as the client gives them, in memory of their own. */
export function bytes(value: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(value);
}

/** A statement with its parameters. */
export type Statement = readonly [text: string, parameters: readonly Parameter[]];

/** A connection that is up. */
interface Session {
  readonly client: Client;
  /** Rejects when the connection ends; the client itself leaves queries hanging then. */
  readonly lost: Promise<never>;
  /**
   * Statements by their texts, which are a fixed set. The client waits for a statement's description
   * before it sends its parameters; of a prepared one it knows it, so that such statements go over
   * the wire at once and in order, and cost one round trip.
   */
  readonly prepared: Map<string, Promise<PreparedStatement<Row>>>;
}

/** One connection to PostgreSQL, made anew when it was lost. */
export class Connection {
  readonly #options: DatabaseOptions;
  #session: Promise<Session> | null = null;
  #closed = false;
  /** Called with each new connection, before its first query: for LISTEN. */
  onConnect: (client: Client) => void = () => {};

  constructor(options: DatabaseOptions) {
    this.#options = options;
  }

  /**
   * Runs a statement.
   * @throws {UnavailableError} when the server cannot be reached or the connection broke
   * @throws {DatabaseError} what the server answered
   */
  async query(text: string, parameters: readonly Parameter[] = []): Promise<Row[]> {
    const session = await this.#connected();
    try {
      const { execute } = await prepare(session, text);
      const result = execute(parameters as unknown[]);
      return [...await Promise.race([result, session.lost])];
    } catch (error) {
      throw this.#explain(error);
    }
  }

  /**
   * Runs statements in one transaction, in one round trip: none waits for another's answer. All of
   * them go to the same session, or none; nobody else may use this connection meanwhile.
   * @returns the rows of each
   * @throws what the first that failed threw; then nothing was done, unless the connection was lost
   * around the commit, when nobody knows
   */
  async transaction(statements: readonly Statement[]): Promise<Row[][]> {
    const session = await this.#connected();
    try {
      const texts = new Set(["begin", "commit", "rollback", ...statements.map(([text]) => text)]);
      await Promise.race([
        Promise.all([...texts].map((text) => prepare(session, text))),
        session.lost,
      ]);
      const [begin, ...running] = await Promise.all(
        ([["begin", []], ...statements] as const).map(async ([text, parameters]) => ({
          ...await prepare(session, text),
          parameters,
        })),
      );
      const commit = await prepare(session, "commit");
      const rollback = await prepare(session, "rollback");
      let failed: { readonly error: unknown } | null = null;
      const results = [begin!, ...running].map(({ execute, parameters }) => {
        const result = execute(parameters as unknown[]);
        result.catch((error) => failed ??= { error });
        return result;
      });
      // Parameters that cannot be encoded have failed by now, unseen by the server, which would
      // commit the rest.
      await undefined;
      const end = (failed === null ? commit : rollback).execute();
      const settled = await Promise.race([Promise.allSettled([...results, end]), session.lost]);
      if (failed !== null) throw (failed as { readonly error: unknown }).error;
      const last = settled.at(-1)!;
      if (last.status === "rejected") throw last.reason;
      return settled.slice(1, -1).map((
        result,
      ) => [...(result as PromiseFulfilledResult<Iterable<Row>>).value]);
    } catch (error) {
      throw this.#explain(error);
    }
  }

  /** Ends the connection for good. */
  async close(): Promise<void> {
    this.#closed = true;
    const client = (await this.#session?.catch(() => null))?.client;
    this.#session = null;
    if (client && !client.closed) {
      await Promise.race([client.end().catch(() => {}), pause(1000)]);
    }
  }

  #connected(): Promise<Session> {
    if (this.#closed) return Promise.reject(new UnavailableError("the store was closed"));
    return this.#session ??= this.#connect().catch((error) => {
      this.#session = null;
      throw this.#explain(error);
    });
  }

  async #connect(): Promise<Session> {
    const { host, port, database, user, password } = this.#options;
    const client = await connect({
      host,
      port,
      database,
      user,
      password,
      bigints: true,
      keepAlive: true,
      connectionTimeout: CONNECT_TIMEOUT_MS,
      ssl: await tls(this.#options),
    });
    const lost = Promise.withResolvers<never>();
    lost.promise.catch(() => {});
    const session: Session = { client, lost: lost.promise, prepared: new Map() };
    client.on("end", () => {
      this.#session = null;
      lost.reject(new UnavailableError(`database at ${host}: the connection was lost`));
    });
    const { execute } = await prepare(session, SETTINGS);
    await Promise.race([execute(), session.lost]);
    this.onConnect(client);
    return session;
  }

  /** The error for people; a connection that may be broken is thrown away. */
  #explain(error: unknown): unknown {
    if (error instanceof TarboxError) return error;
    const { host, port, database, user } = this.#options;
    const where = host.startsWith("/") ? host : `${host}:${port}`;
    if (error instanceof DatabaseError) {
      if (LOST.test(error.code)) {
        this.#session = null;
        return new UnavailableError(`database at ${where}: ${error.message}`);
      }
      if (error.code === "28P01" || error.code === "28000") {
        return new TarboxError(
          `database at ${where}: user ${user} is not let in: ${error.message}`,
          "set PGPASSWORD, or `password_file` in tarbox.toml",
        );
      }
      if (error.code === "3D000") {
        return new TarboxError(
          `database at ${where}: there is no database ${database}`,
          "`tarbox init --create-database` creates it",
        );
      }
      return error;
    }
    const code = (error as { code?: string }).code ?? "";
    const message = error instanceof Error ? error.message : String(error);
    if (/certificate|self.signed|hostname|altname/i.test(`${code} ${message}`)) {
      return new TarboxError(
        `database at ${where}: its certificate is not trusted: ${message}`,
        "set sslrootcert to the authority's file, or another sslmode",
      );
    }
    this.#session = null;
    return new UnavailableError(
      `database at ${where}: it cannot be reached: ${message}`,
      "is the server running, and are host and port right?",
    );
  }
}

/** The statement of a text, prepared once in a session. */
function prepare({ client, prepared, lost }: Session, text: string) {
  let statement = prepared.get(text);
  if (statement === undefined) {
    statement = Promise.race([client.prepare<Row>(text), lost]);
    prepared.set(text, statement);
    statement.catch(() => prepared.delete(text));
  }
  return statement;
}

async function tls({ tls, caFile, host }: DatabaseOptions) {
  const mode = tls ?? (host.startsWith("/") ? "disable" : "prefer");
  if (mode === "disable") return SSLMode.Disable as const;
  const ca = caFile === undefined ? undefined : await Deno.readTextFile(caFile);
  const verify = mode === "verify-ca" || mode === "verify-full";
  return {
    mode: mode === "prefer" ? SSLMode.Prefer as const : SSLMode.Require as const,
    options: {
      ca,
      host,
      servername: host,
      rejectUnauthorized: verify,
      ...(mode === "verify-ca" ? { checkServerIdentity: () => undefined } : {}),
    },
  };
}

/** Resolves after some milliseconds. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
