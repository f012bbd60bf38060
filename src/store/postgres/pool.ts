import { UnavailableError } from "../errors.ts";
import { Connection, type Parameter, type Row } from "./connection.ts";
import type { DatabaseOptions } from "./options.ts";
import type { Statement } from "./applying.ts";

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

  /**
   * Runs statements in one transaction, sent without waiting for each other's answers.
   * @returns the rows of each
   * @throws what the first that failed threw; then nothing was done, unless the connection was lost
   * around the commit, when nobody knows
   */
  transaction(statements: readonly Statement[]): Promise<Row[][]> {
    const result = this.#transactions.then(() => this.#run(statements));
    this.#transactions = result.catch(() => {});
    return result;
  }

  async #run(statements: readonly Statement[]): Promise<Row[][]> {
    await this.#writer.connected();
    const all: Statement[] = [["begin", []], ...statements, ["commit", []]];
    const sent = all.map(([text, parameters]) => this.#writer.query(text, parameters));
    const results = await Promise.allSettled(sent);
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    return results.slice(1, -1).map((result) => (result as PromiseFulfilledResult<Row[]>).value);
  }

  /** Ends all connections, after what was sent. */
  async close(): Promise<void> {
    await this.#transactions;
    await Promise.all([...this.#readers, this.#writer].map((connection) => connection.close()));
  }
}
