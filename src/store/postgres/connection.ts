import { isIP } from "node:net";
import { Buffer } from "node:buffer";
import { type Client, connect, DatabaseError, SSLMode } from "./client.ts";
import { TarboxError } from "../../base/errors.ts";
import { DatabaseMissingError, UnavailableError } from "../errors.ts";
import { type DatabaseOptions, hostsOf } from "./options.ts";
import { type Parameter, type Row, Session } from "./session.ts";
import { countBytes } from "./traffic.ts";
import { serverAnswers, SilenceWatch } from "./silence_watch.ts";

/**
 * What the server says when the same call may succeed later, as classes and codes of SQLSTATE
 * (PostgreSQL manual, appendix A): spec/durability.md has them one by one.
 */
const PASSING = /^(08|40001|40P01|53|55P03|57014|57P01|57P02|57P03|57P05|25006|25P03|58)/;

/** Those of them after which another connection, maybe to another server, is the remedy. */
const LOST = /^(08|53300|57P0|25006|25P03|0A000|58)/;

/** A pooler handed this session's statements to another one. */
const NO_SESSION = /^(26000|42P05)/;

/** Milliseconds for which a connection may be set up. */
const CONNECT_TIMEOUT_MS = 10_000;

/** Bytes as the client wants them; no copy. */
export function bytea(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Bytes as the client gives them, in memory of their own. */
export function bytes(value: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(value);
}

/** The isolation that waits for a lock instead of failing, whatever the server's default is. */
const BEGIN = "begin isolation level read committed";

/**
 * What the statements count on, whatever the server's defaults: commits that are durable, and plans
 * made for the tables as they are (a table fills within a minute of its creation).
 */
const SETTINGS = `select set_config('plan_cache_mode', 'force_custom_plan', false),
  set_config('synchronous_commit', case current_setting('synchronous_commit')
             when 'off' then 'on' else current_setting('synchronous_commit') end, false)`;

/** Turns of the microtask queue within which the client tells a parameter that it cannot encode. */
const ENCODING_TURNS = 16;

/** A statement with its parameters. */
export type Statement = readonly [text: string, parameters: readonly Parameter[]];

/**
 * One connection to PostgreSQL, made anew when it was lost. Queries that are sent without waiting
 * for each other go over the wire together.
 *
 * A statement with parameters is prepared once for each connection: the client needs the types of
 * the parameters from the server before it can send them, so that without it a statement goes in
 * two round trips, and whatever was sent meanwhile (a `commit`) overtakes it.
 */
export class Connection {
  readonly #options: DatabaseOptions;
  #session: Promise<Session> | null = null;
  #live: Session | null = null;
  readonly #silenceMs: number | null;
  /** Whether it ever was connected: what fails afterwards may pass. */
  #proven = false;
  #closed = false;
  /** Called with each new connection, before its first query: for LISTEN. */
  onConnect: (client: Client) => void = () => {};

  /**
   * @param silenceMs milliseconds without a byte after which it is found out whether a server that
   * owes an answer is there at all ({@link SilenceWatch}): a cut network says nothing. Null for
   * statements that may take long.
   */
  constructor(options: DatabaseOptions, silenceMs: number | null = null) {
    this.#options = options;
    this.#silenceMs = silenceMs;
  }

  /**
   * Runs a statement.
   * @throws {UnavailableError} when the server cannot be reached, broke the connection, or cannot now
   * @throws {DatabaseError} what else the server answered
   */
  async query(text: string, parameters: readonly Parameter[] = []): Promise<Row[]> {
    const session = await this.#connected();
    try {
      const statement = parameters.length > 0 ? await session.prepare(text) : null;
      return await session.run(statement, text, parameters);
    } catch (error) {
      throw this.#explain(error, session);
    }
  }

  /**
   * Runs statements in one transaction (read committed, commit synchronous), in one round trip once
   * they are prepared.
   * @param hold passed when all is done but the commit, which then waits for it
   * @returns the rows of each
   * @throws as {@link Connection.query} what the first that failed threw; then nothing was done,
   * unless the connection was lost around the commit, when nobody knows
   */
  async transaction(
    statements: readonly Statement[],
    hold?: () => Promise<void> | undefined,
  ): Promise<Row[][]> {
    const session = await this.#connected();
    try {
      const prepared = await Promise.all(
        statements.map(([text, parameters]) =>
          parameters.length > 0 ? session.prepare(text) : null
        ),
      );
      let failure: { readonly error: unknown } | null = null;
      const note = (error: unknown): Row[] => {
        failure ??= { error };
        return [];
      };
      const send = (text: string) => session.run(null, text, []).catch(note);
      const all = [send(BEGIN)];
      for (const [i, [text, parameters]] of statements.entries()) {
        all.push(session.run(prepared[i]!, text, parameters).catch(note));
      }
      // A parameter that cannot be encoded is told within these turns, and its statement was not
      // sent: the commit must not be, either.
      for (let turn = 0; turn < ENCODING_TURNS; turn++) await null;
      if (hold !== undefined) {
        await Promise.all(all);
        await Promise.resolve().then(hold).catch(note);
      }
      const end = failure === null ? "commit" : "rollback";
      const rows = await Promise.all([...all, send(end)]);
      if (failure !== null) throw (failure as { error: unknown }).error;
      return rows.slice(1, -1);
    } catch (error) {
      throw this.#explain(error, session);
    }
  }

  /** Ends the connection for good. */
  async close(): Promise<void> {
    this.#closed = true;
    const session = await this.#session?.catch(() => null);
    this.#session = null;
    if (session) await end(session.client);
  }

  #connected(): Promise<Session> {
    if (this.#closed) return Promise.reject(new UnavailableError("the store was closed"));
    return this.#session ??= this.#connect().catch((error) => {
      this.#session = null;
      throw this.#explain(error, null);
    });
  }

  async #connect(): Promise<Session> {
    const places = hostsOf(this.#options);
    const refusals: unknown[] = [];
    for (const place of places) {
      const options = { ...this.#options, ...place };
      let client: Client;
      try {
        client = await open(options);
      } catch (error) {
        refusals.push(error);
        continue;
      }
      if (places.length > 1 && await readOnly(client).catch(() => true)) {
        void end(client);
        refusals.push(new Error(`${nameOf(options)} is read-only`));
        continue;
      }
      const session = this.#adopt(client, options);
      await session.run(null, SETTINGS, []);
      this.onConnect(client);
      return session;
    }
    if (places.length === 1) throw refusals[0];
    throw new UnavailableError(
      `database: none of its hosts takes writes: ${refusals.map(messageOf).join("; ")}`,
      "is one of them a primary that runs?",
    );
  }

  #adopt(client: Client, options: DatabaseOptions): Session {
    const where = nameOf(options);
    const session = new Session(client);
    const watch = this.#silenceMs === null ? null : new SilenceWatch(
      session,
      this.#silenceMs,
      () => serverAnswers(options, Math.min(CONNECT_TIMEOUT_MS, this.#silenceMs!)),
      (seconds) => {
        session.lose(new UnavailableError(`database at ${where}: no answer for ${seconds} s`));
        this.#discard(session);
      },
    );
    client.on("end", () => {
      watch?.end();
      this.#discard(session);
      session.lose(new UnavailableError(`database at ${where}: the connection was lost`));
    });
    countBytes(client);
    this.#live = session;
    this.#proven = true;
    return session;
  }

  /** The next query makes a new connection. */
  #discard(session: Session | null): void {
    if (session === null) return;
    if (this.#live === session) {
      this.#live = null;
      this.#session = null;
    }
    void end(session.client);
  }

  /** The error for people; a connection that may be broken is thrown away. */
  #explain(error: unknown, session: Session | null): unknown {
    if (error instanceof TarboxError) return error;
    const { database, user } = this.#options;
    const where = nameOf(this.#options);
    const code = (error as { code?: string }).code ?? "";
    const message = messageOf(error);
    if (error instanceof DatabaseError) {
      if (LOST.test(code)) this.#discard(session);
      if (PASSING.test(code)) {
        return new UnavailableError(`database at ${where}: ${message}`, hintOf(code));
      }
      if (code === "0A000" && /cached plan/.test(message)) {
        return new UnavailableError(`database at ${where}: ${message}`);
      }
      if (NO_SESSION.test(code)) {
        this.#discard(session);
        return new TarboxError(
          `database at ${where}: a pooler hands one connection's statements to another`,
          "use PgBouncer with pool_mode = session, or 1.21 or newer with max_prepared_statements",
        );
      }
    }
    // While a client connects it tells what the server said without its code.
    const refused = code === "28P01" || code === "28000" ||
      /authentication failed|no pg_hba.conf entry|pg_hba.conf rejects|role .* (does not exist|is not permitted)/
        .test(message);
    const missing = code === "3D000" || /^database .* does not exist/.test(message);
    if (!this.#proven && refused) {
      return new TarboxError(
        `database at ${where}: user ${user} is not let in: ${message}`,
        /no encryption/.test(message)
          ? "the server wants TLS: set sslmode to require or verify-full"
          : "set PGPASSWORD, or `password_file` in tarbox.toml",
      );
    }
    if (!this.#proven && missing) {
      return new DatabaseMissingError(
        `database at ${where}: there is no database ${database}`,
        "`tarbox init --create-database` creates it",
      );
    }
    if (code === "42501") {
      return new TarboxError(
        `database at ${where}: user ${user} has not the right: ${message}`,
        "connect as the owner of the database, or have its owner grant the right",
      );
    }
    if (error instanceof DatabaseError && !refused && !missing) return error;
    if (!this.#proven && /certificate|self.signed|hostname|altname/i.test(`${code} ${message}`)) {
      return new TarboxError(
        `database at ${where}: its certificate is not trusted: ${message}`,
        "set sslrootcert to the authority's file, or another sslmode",
      );
    }
    // Deno before 2.8 tells the reason only after a write that fails for it.
    if (!this.#proven && this.#options.tls?.startsWith("verify") && /write UNKNOWN/.test(message)) {
      return new TarboxError(
        `database at ${where}: its certificate is not trusted, or TLS failed: ${message}`,
        "set sslrootcert to the authority's file, or another sslmode",
      );
    }
    if (!this.#proven && /does not support SSL/.test(message)) {
      return new TarboxError(
        `database at ${where}: the server does not offer TLS`,
        "switch it on there (ssl = on), or set sslmode to prefer or disable",
      );
    }
    this.#discard(session);
    return new UnavailableError(
      `database at ${where}: it cannot be reached: ${message}`,
      "is the server running, and are host and port right?",
    );
  }
}

async function open(options: DatabaseOptions): Promise<Client> {
  const { host, port, database, user, password } = options;
  return await connect({
    host,
    port,
    database,
    user,
    password,
    bigints: true,
    keepAlive: true,
    connectionTimeout: CONNECT_TIMEOUT_MS,
    ssl: await tls(options),
  });
}

/** Whether a server takes no writes: a standby, or one that is told so by default. */
async function readOnly(client: Client): Promise<boolean> {
  const lost = new Promise<never>((_, reject) => client.on("end", () => reject(new Error("lost"))));
  lost.catch(() => {});
  const limit = Promise.withResolvers<never>();
  const timer = setTimeout(() => limit.reject(new Error("no answer")), CONNECT_TIMEOUT_MS);
  try {
    const asked = client.query<Row>("select current_setting('transaction_read_only') as value");
    const [row] = [...await Promise.race([asked, lost, limit.promise])];
    return row!.value === "on";
  } finally {
    clearTimeout(timer);
  }
}

async function end(client: Client): Promise<void> {
  if (client.closed) return;
  const timer = Promise.withResolvers<void>();
  const id = setTimeout(timer.resolve, 1000);
  await Promise.race([Promise.resolve().then(() => client.end()).catch(() => {}), timer.promise]);
  clearTimeout(id);
}

function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/: undefined$/, "");
}

function nameOf({ host, port }: DatabaseOptions): string {
  return host.startsWith("/") || host.includes(",") ? host : `${host}:${port}`;
}

function hintOf(code: string): string | undefined {
  if (code === "53300") return "raise max_connections, or lower database.pool_size";
  if (code === "53100") return "make room on the database's disk";
  if (code === "25006") {
    return "the server is a standby or read-only; name all hosts in database.host, with commas";
  }
  return undefined;
}

async function readAuthorities(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    throw new TarboxError(
      `sslrootcert ${path}: ${(error as Error).message}`,
      "set sslrootcert to the PEM file of the authority",
    );
  }
}

async function tls({ tls, caFile, host }: DatabaseOptions) {
  const mode = tls ?? (host.startsWith("/") ? "disable" : "prefer");
  if (mode === "disable") return SSLMode.Disable as const;
  const ca = caFile === undefined ? undefined : await readAuthorities(caFile);
  const verify = mode === "verify-ca" || mode === "verify-full";
  return {
    mode: mode === "prefer" ? SSLMode.Prefer as const : SSLMode.Require as const,
    options: {
      ca,
      host,
      // An address has no name to ask a server for (RFC 6066, section 3).
      ...(isIP(host) === 0 ? { servername: host } : {}),
      rejectUnauthorized: verify,
      ...(mode === "verify-ca" ? { checkServerIdentity: () => undefined } : {}),
    },
  };
}

/** Resolves after some milliseconds. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
