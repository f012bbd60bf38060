import { UnavailableError } from "../errors.ts";
import { Connection, type Parameter, type Row, type Statement } from "./connection.ts";
import type { DatabaseOptions } from "./options.ts";

/** Connections for reads beside the one that writes and the one that listens. */
const READERS = 3;

/** Connections of one store: reads go round, transactions go one after the other over one. */
export class Pool {
  readonly #readers: readonly Connection[];
  readonly #writer: Connection;
  #next = 0;
  #transactions: Promise<unknown> = Promise.resolve();

  constructor(options: DatabaseOptions) {
    const readers = Math.max(1, Math.min(READERS, (options.poolSize ?? READERS + 2) - 2));
    this.#readers = Array.from({ length: readers }, () => new Connection(options));
    this.#writer = new Connection(options);
  }

  /** The connection on which transactions run. */
  get writer(): Connection {
    return this.#writer;
  }

  /** A read; once more on a fresh connection when the first was lost. */
  async read(text: string, parameters: readonly Parameter[]): Promise<Row[]> {
    const connection = this.#readers[this.#next++ % this.#readers.length]!;
    try {
      return await connection.query(text, parameters);
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error;
      return await connection.query(text, parameters);
    }
  }

  /** {@link Connection.transaction}, after all that were asked for before. */
  transaction(statements: readonly Statement[]): Promise<Row[][]> {
    const result = this.#transactions.then(() => this.#writer.transaction(statements));
    this.#transactions = result.catch(() => {});
    return result;
  }

  /** Ends all connections, after what was sent. */
  async close(): Promise<void> {
    await this.#transactions;
    await Promise.all([...this.#readers, this.#writer].map((connection) => connection.close()));
  }
}
