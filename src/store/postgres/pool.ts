import { failpoint, isArmed } from "../../base/failpoints.ts";
import { UnavailableError } from "../errors.ts";
import { Connection, type Statement } from "./connection.ts";
import type { Parameter, Row } from "./session.ts";
import type { DatabaseOptions } from "./options.ts";

/** Milliseconds of silence after which a server that owes an answer is looked for. */
const SILENCE_MS = 20_000;

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
    this.#readers = Array.from({ length: readers }, () => new Connection(options, SILENCE_MS));
    this.#writer = new Connection(options, SILENCE_MS);
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
   * Runs statements in one transaction, sent without waiting for each other's answers. Transactions
   * of one pool run one after the other.
   * @param name of its failpoints: `name.begin` before anything is sent, `name.commit` when all but
   * the commit is done, `name.done` once it is committed and nobody knows yet
   * @returns the rows of each
   * @throws what the first that failed threw; then nothing was done, unless the connection was lost
   * around the commit, when nobody knows
   */
  transaction(statements: readonly Statement[], name = "transaction"): Promise<Row[][]> {
    const result = this.#transactions.then(() => named(this.#writer, statements, name));
    this.#transactions = result.catch(() => {});
    return result;
  }

  /** Ends all connections, after what was sent. */
  async close(): Promise<void> {
    await this.#transactions;
    await Promise.all([...this.#readers, this.#writer].map((connection) => connection.close()));
  }
}

/** A transaction on a connection, with the failpoints of a name: see {@link Pool.transaction}. */
export async function named(
  connection: Connection,
  statements: readonly Statement[],
  name: string,
): Promise<Row[][]> {
  await failpoint(`${name}.begin`);
  const held = isArmed(`${name}.commit`);
  const rows = await connection.transaction(
    statements,
    held ? () => failpoint(`${name}.commit`) : undefined,
  );
  await failpoint(`${name}.done`);
  return rows;
}
