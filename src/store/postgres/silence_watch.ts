import { createConnection } from "node:net";

/** What is watched: whether a server owes an answer, and how much it ever sent. */
export interface Debtor {
  /** Queries without an answer. */
  readonly owed: number;
  /** Bytes received so far. */
  readonly received: number;
}

/** Looks at the connection within one span of silence. */
const LOOKS = 20;

/** Spans of silence after which an answer is not waited for, although the server is there. */
const SPANS_MAX = 6;

/**
 * Finds out that a server is gone which says nothing, as after a cut of the network. What counts is
 * silence that this process could have heard: looks are counted and not the clock, so that a process
 * which got no processor, or was stopped, does not blame the server. After a span of it the server is
 * asked over a new connection: one that only is slow answers there, and is waited for, up to
 * {@link SPANS_MAX} spans (the old connection alone may be dead, behind a router that forgot it).
 */
export class SilenceWatch {
  readonly #debtor: Debtor;
  readonly #spanMs: number;
  readonly #answers: () => Promise<boolean>;
  readonly #onGone: (seconds: number) => void;
  readonly #timer: ReturnType<typeof setInterval>;
  #received = 0;
  #looks = 0;
  #spans = 0;
  #asking = false;
  #ended = false;

  /**
   * @param spanMs milliseconds of a span of silence
   * @param answers whether the server says anything to a new connection; must end in bounded time
   * @param onGone called once, with the seconds of silence, when the server counts as gone
   */
  constructor(
    debtor: Debtor,
    spanMs: number,
    answers: () => Promise<boolean>,
    onGone: (seconds: number) => void,
  ) {
    this.#debtor = debtor;
    this.#spanMs = spanMs;
    this.#answers = answers;
    this.#onGone = onGone;
    this.#timer = setInterval(() => void this.look(), spanMs / LOOKS);
  }

  /** Looks once; the timer does it. */
  async look(): Promise<void> {
    const { owed, received } = this.#debtor;
    if (owed === 0 || received !== this.#received) {
      this.#received = received;
      this.#looks = this.#spans = 0;
      return;
    }
    if (this.#asking || ++this.#looks < LOOKS) return;
    this.#looks = 0;
    this.#spans++;
    this.#asking = true;
    const there = await this.#answers();
    this.#asking = false;
    if (this.#ended || this.#spans === 0 || there && this.#spans < SPANS_MAX) return;
    if (this.#debtor.owed === 0 || this.#debtor.received !== received) return;
    this.end();
    this.#onGone(this.#spans * this.#spanMs / 1000);
  }

  /** Ends the watch. */
  end(): void {
    this.#ended = true;
    clearInterval(this.#timer);
  }
}

/** SSLRequest: a server says S or N to it before it asks who is there (PostgreSQL manual, 54.7). */
const SSL_REQUEST = Uint8Array.of(0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f);

/** Whether a server says anything within some milliseconds to somebody who just came. */
export function serverAnswers(
  { host, port }: { readonly host: string; readonly port: number },
  timeoutMs: number,
): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = host.startsWith("/")
      ? createConnection(`${host}/.s.PGSQL.${port}`)
      : createConnection(port, host);
    const timer = setTimeout(() => done(false), timeoutMs);
    const done = (there: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(there);
    };
    socket.on("connect", () => socket.write(SSL_REQUEST));
    socket.on("data", () => done(true));
    socket.on("error", () => done(false));
    socket.on("close", () => done(false));
  });
}
