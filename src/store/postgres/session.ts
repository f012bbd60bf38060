import type { Buffer } from "node:buffer";
import type { UnavailableError } from "../errors.ts";
import type { Client, PreparedStatement } from "./client.ts";
import { bytesRead, sent } from "./traffic.ts";

/** A value of a query's parameter. Bytes must be `Buffer`s. */
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

/** Statements that a connection keeps prepared; beyond, it forgets them all and starts again. */
const PREPARED_MAX = 500;

/** One connected client with the statements that its server has prepared. */
export class Session {
  readonly #prepared = new Map<string, Promise<PreparedStatement>>();
  /**
   * Who waits for an answer. Not `Promise.race` with a promise of the loss: that lives as long as the
   * connection, and would keep every result that was ever raced with it.
   */
  readonly #waiting = new Set<(why: UnavailableError) => void>();
  #lost: UnavailableError | null = null;
  #owed = 0;

  constructor(readonly client: Client) {}

  /** Queries without an answer. */
  get owed(): number {
    return this.#owed;
  }

  /** Bytes that the server sent so far. */
  get received(): number {
    return bytesRead(this.client);
  }

  /** Fails all that waits and will wait: the client itself leaves queries hanging when it ends. */
  lose(why: UnavailableError): void {
    this.#lost ??= why;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const reject of waiting) reject(this.#lost);
  }

  /** Runs one statement; `prepared` where it has parameters. */
  async run(
    prepared: PreparedStatement | null,
    text: string,
    parameters: readonly Parameter[],
  ): Promise<Row[]> {
    sent.statements++;
    if (this.#owed++ === 0) sent.roundTrips++;
    try {
      const result = prepared === null
        ? this.client.query<Row>(text)
        : prepared.execute(parameters as unknown[]);
      return [...await this.#unlessLost(result)];
    } finally {
      this.#owed--;
    }
  }

  /** A statement as the server has prepared it; prepared once. */
  async prepare(text: string): Promise<PreparedStatement> {
    const known = this.#prepared.get(text);
    if (known !== undefined) return await known;
    if (this.#prepared.size >= PREPARED_MAX) {
      const old = [...this.#prepared.values()];
      this.#prepared.clear();
      // Their closing is sent after everything that still uses them.
      setTimeout(() => {
        for (const statement of old) void statement.then((made) => made.close()).catch(() => {});
      }, 60_000);
    }
    sent.statements++;
    if (this.#owed === 0) sent.roundTrips++;
    const made = this.#unlessLost(this.client.prepare(text));
    this.#prepared.set(text, made);
    made.catch(() => this.#prepared.delete(text));
    return await made;
  }

  /** What a promise gives, or the loss. */
  #unlessLost<T>(result: PromiseLike<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#lost !== null) return reject(this.#lost);
      this.#waiting.add(reject);
      result.then((value) => {
        this.#waiting.delete(reject);
        resolve(value);
      }, (error) => {
        this.#waiting.delete(reject);
        reject(error);
      });
    });
  }
}
