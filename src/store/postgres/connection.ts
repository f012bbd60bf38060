import { Buffer } from "node:buffer";
import { type Client, connect, DatabaseError, SSLMode } from "ts-postgres";
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
const LOST = /^(08|57P0|53300)/;

/** Milliseconds for which a connection may be set up. */
const CONNECT_TIMEOUT_MS = 5_000;

/** Bytes as the client wants them; no copy. */
export function bytea(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Bytes as the client gives them, in memory of their own. */
export function bytes(value: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(value);
}

/**
 * One connection to PostgreSQL, made anew when it was lost. Queries that are sent without waiting
 * for each other go over the wire together.
 */
export class Connection {
  readonly #options: DatabaseOptions;
  #client: Promise<Client> | null = null;
  /** Rejects when the connection ends; the client itself leaves queries hanging then. */
  #lost: Promise<never> = new Promise(() => {});
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
    const client = await this.#connected();
    const lost = this.#lost;
    try {
      const result = client.query<Row>(text, parameters as unknown[]);
      return [...await Promise.race([result, lost])];
    } catch (error) {
      throw this.#explain(error);
    }
  }

  /** Has a connection, so that the queries that follow are sent in one go. */
  async connected(): Promise<void> {
    await this.#connected();
  }

  /** Ends the connection for good. */
  async close(): Promise<void> {
    this.#closed = true;
    const client = await this.#client?.catch(() => null);
    this.#client = null;
    if (client && !client.closed) {
      await Promise.race([client.end().catch(() => {}), pause(1000)]);
    }
  }

  #connected(): Promise<Client> {
    if (this.#closed) return Promise.reject(new UnavailableError("the store was closed"));
    return this.#client ??= this.#connect().catch((error) => {
      this.#client = null;
      throw this.#explain(error);
    });
  }

  async #connect(): Promise<Client> {
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
    this.#lost = lost.promise;
    client.on("end", () => {
      this.#client = null;
      lost.reject(new UnavailableError(`database at ${host}: the connection was lost`));
    });
    this.onConnect(client);
    return client;
  }

  /** The error for people; a connection that may be broken is thrown away. */
  #explain(error: unknown): unknown {
    if (error instanceof TarboxError) return error;
    const { host, port, database, user } = this.#options;
    const where = host.startsWith("/") ? host : `${host}:${port}`;
    if (error instanceof DatabaseError) {
      if (LOST.test(error.code)) {
        this.#client = null;
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
    this.#client = null;
    return new UnavailableError(
      `database at ${where}: it cannot be reached: ${message}`,
      "is the server running, and are host and port right?",
    );
  }
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
