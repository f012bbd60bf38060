import { TarboxError } from "../base/errors.ts";
import { ensureCluster, readyPostmaster, startPostgres, stopOrphans } from "./cluster.ts";
import { fullDisk } from "./full_disk.ts";
import { type Layout, layoutOf, makeLayout } from "./layout.ts";
import { anyUser, type HeldLock, takeLock } from "./locks.ts";
import { kill } from "./processes.ts";
import { writeState } from "./state.ts";
import { unpackEngine } from "./unpack.ts";

/** Milliseconds between looks at who still uses the engine. */
const LOOK_MS = 500;

/** Milliseconds between looks whether PostgreSQL takes connections. */
const READY_MS = 10;

/** Milliseconds without a user after which the engine stops. */
const LINGER_MS = 2_000;

/** Milliseconds after which a shutdown that hangs is an immediate one. */
const SHUTDOWN_MS = 30_000;

/** Most restarts in a row of a PostgreSQL that ends within a second of its start. */
const FAILED_STARTS_MAX = 5;

/**
 * The process that runs a home's PostgreSQL as its child: starts it, starts it again when it dies
 * while somebody uses it, stops it when nobody does. One for a home: the lock says who.
 * @returns exit status
 */
export async function runSupervisor(home: string): Promise<number> {
  const layout = layoutOf(home);
  await makeLayout(layout);
  const lock = await takeLock(layout.supervisorLock);
  if (lock === null) return 0;
  const supervisor = new Supervisor(layout);
  try {
    await supervisor.run();
    await writeState(layout, { phase: "stopped", postmaster: null });
    return 0;
  } catch (error) {
    console.error(`${new Date().toISOString()}`, error);
    const { message, hint } = await explained(layout, error);
    await writeState(layout, {
      phase: "failed",
      postmaster: null,
      failure: { message: `the embedded engine does not start: ${message}`, hint },
    }).catch(() => {});
    return 1;
  } finally {
    await lock.release();
  }
}

/** A failure as it is told to whoever wants the engine. */
async function explained(layout: Layout, error: unknown): Promise<TarboxError> {
  const text = error instanceof Error ? error.message : String(error);
  const full = await fullDisk(layout.home, /No space left/i.test(text));
  if (full !== null) return full;
  if (error instanceof TarboxError) return error;
  return new TarboxError(text, `see ${layout.supervisorLog}`);
}

class Supervisor {
  readonly #layout: Layout;
  /** Resolves when this process is told to stop. */
  readonly #told = Promise.withResolvers<void>();
  #stopping = false;
  #unused: number | null = null;

  constructor(layout: Layout) {
    this.#layout = layout;
    Deno.addSignalListener("SIGTERM", () => {
      this.#stopping = true;
      this.#told.resolve();
    });
  }

  async run(): Promise<void> {
    const layout = this.#layout;
    await writeState(layout, { phase: "starting", postmaster: null });
    const programs = await unpackEngine(layout.home);
    await ensureCluster(layout, programs);
    await stopOrphans(layout);
    for (let failures = 0; failures < FAILED_STARTS_MAX;) {
      const started = Date.now();
      const postgres = await startPostgres(layout, programs);
      const stopped = await this.#watch(postgres);
      if (stopped) return;
      console.error(`${new Date().toISOString()} PostgreSQL ended by itself; see ${layout.log}`);
      failures = Date.now() - started < 1_000 ? failures + 1 : 0;
      // Children of a postmaster that was killed may live, with its shared memory.
      await stopOrphans(layout);
    }
    throw new TarboxError(
      `PostgreSQL ended ${FAILED_STARTS_MAX} times directly after its start`,
      `see ${layout.log}`,
    );
  }

  /** Until PostgreSQL ended by itself (false), or was stopped because nobody uses it (true). */
  async #watch(postgres: Deno.ChildProcess): Promise<boolean> {
    const layout = this.#layout;
    let ended = false;
    const end = postgres.status.then(() => {
      ended = true;
    });
    await writeState(layout, { phase: "starting", postmaster: postgres.pid });
    let serving = false;
    let gate: HeldLock | null = null;
    try {
      while (!ended && gate === null) {
        if (!serving && await readyPostmaster(layout) === postgres.pid) {
          serving = true;
          await writeState(layout, { phase: "serving", postmaster: postgres.pid });
        }
        if (this.#stopping) break;
        gate = await this.#closedGate();
        const wait = serving ? LOOK_MS : READY_MS;
        const elapsed = new Promise((resolve) => setTimeout(resolve, wait));
        await Promise.race([end, this.#told.promise, elapsed]);
      }
    } catch (error) {
      // The home is gone, or cannot be read: nobody could use what runs in it.
      await this.#shutDown(postgres, end);
      throw error;
    }
    if (ended) return false;
    await this.#shutDown(postgres, end);
    return true;
  }

  /** SIGINT is PostgreSQL's fast shutdown: sessions are ended, everything is written. */
  async #shutDown(postgres: Deno.ChildProcess, end: Promise<void>): Promise<void> {
    await writeState(this.#layout, { phase: "starting", postmaster: postgres.pid }).catch(() => {});
    kill(postgres.pid, "SIGINT");
    const timer = setTimeout(() => kill(postgres.pid, "SIGQUIT"), SHUTDOWN_MS);
    await end;
    clearTimeout(timer);
  }

  /**
   * When nobody has used the engine for a while: the lock that new users wait for, held from now on
   * until this process ends. Else null.
   */
  async #closedGate(): Promise<HeldLock | null> {
    const layout = this.#layout;
    const kept = await Deno.stat(layout.keep).then(() => true, () => false);
    if (kept || await anyUser(layout)) {
      this.#unused = null;
      return null;
    }
    this.#unused ??= Date.now();
    if (Date.now() - this.#unused < LINGER_MS) return null;
    const gate = await takeLock(layout.gate);
    if (gate === null || !await anyUser(layout)) return gate;
    await gate.release();
    return null;
  }
}
