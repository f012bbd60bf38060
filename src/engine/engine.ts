import { join } from "node:path";
import { TarboxError } from "../base/errors.ts";
import { processAlive, selfCommand, spawnDetached } from "../base/process.ts";
import {
  ENGINE_DATABASE,
  ENGINE_PORT,
  ENGINE_USER,
  readyPostmaster,
  stopOrphans,
} from "./cluster.ts";
import { fullDisk } from "./full_disk.ts";
import { type Layout, layoutOf, makeLayout } from "./layout.ts";
import { holderOf, isHeld, signIn, takeLock } from "./locks.ts";
import { kill } from "./processes.ts";
import { livingState, readState } from "./state.ts";

/** Longest wait for the engine: a first start unpacks it and makes a cluster. */
const START_LIMIT_MS = 60_000;

/** Longest wait while PostgreSQL replays its log after a crash. */
const REPLAY_LIMIT_MS = 600_000;

/** Time in which a supervisor that lives says something, and in which its PostgreSQL answers if it does not. */
const MUTE_MS = 3_000;
const MUTE_LIMIT_MS = 15_000;

/** Most supervisors that one process starts in vain. */
const SPAWNS_MAX = 5;

/** Milliseconds between looks whether the supervisor lives. */
const WATCH_MS = 1_000;

/** Longest wait for the engine to stop. */
const STOP_LIMIT_MS = 60_000;

/** A running engine, until released. */
export interface Engine {
  readonly database: {
    /** Directory of its unix socket. */
    readonly host: string;
    readonly port: number;
    readonly database: string;
    readonly user: string;
  };
  release(): Promise<void>;
}

/** Whether a home's engine runs. */
export interface EngineStatus {
  readonly running: boolean;
  /** Process id of the postmaster. */
  readonly pid: number | null;
  readonly supervisor: number | null;
  readonly host: string;
  readonly data: string;
}

/**
 * Has the home's engine running for as long as this process lives or until released. Starts it
 * when need be; any number of processes may ask at once.
 * @throws {TarboxError} when it does not start; its log is named
 */
export async function useEngine(home: string): Promise<Engine> {
  const layout = layoutOf(home);
  await makeLayout(layout);
  const user = await signIn(layout);
  try {
    await running(layout);
  } catch (error) {
    await user.release();
    throw error;
  }
  const unwatch = watchSupervisor(layout);
  return {
    database: {
      host: layout.socket,
      port: ENGINE_PORT,
      database: ENGINE_DATABASE,
      user: ENGINE_USER,
    },
    release() {
      unwatch();
      return user.release();
    },
  };
}

/**
 * Returns once a supervisor lives and its PostgreSQL takes connections; starts one where there is none.
 * A start that takes long is waited for while PostgreSQL replays its log.
 */
async function running(layout: Layout): Promise<void> {
  const started = Date.now();
  let spawned: number | null = null;
  let failures = 0;
  /** Since when a supervisor has lived and said nothing. */
  let mute: number | null = null;
  for (;;) {
    const waited = Date.now() - started;
    if (await isHeld(layout.supervisorLock)) {
      const state = await livingState(layout);
      if (state !== null) {
        mute = null;
        if (state.phase === "serving" && await answers(layout)) return;
        if (waited > (state.postmaster === null ? START_LIMIT_MS : REPLAY_LIMIT_MS)) break;
      } else {
        const silence = Date.now() - (mute ??= Date.now());
        if (silence > MUTE_MS && await servesUntold(layout) !== null) return;
        if (silence > MUTE_LIMIT_MS) throw await otherSupervisor(layout);
      }
    } else {
      mute = null;
      const died = spawned !== null && !processAlive(spawned);
      if (died) {
        const state = await readState(layout);
        if (state?.pid === spawned && state?.failure !== undefined) {
          throw new TarboxError(state.failure.message, state.failure.hint);
        }
        // It may have found another one at work, which has ended since: try again, within bounds.
        if (++failures > SPAWNS_MAX) break;
      }
      if (spawned === null || died) spawned = spawnSupervisor(layout);
      if (waited > START_LIMIT_MS) break;
    }
    await pause(10);
  }
  const full = await fullDisk(layout.home);
  if (full !== null) throw full;
  const log = await Deno.readTextFile(layout.supervisorLog).catch(() => "");
  const last = log.trim().split("\n").slice(-2).join(" / ");
  throw new TarboxError(
    `the embedded engine does not start: ${last || "no answer"}`,
    `see ${layout.supervisorLog} and ${layout.log}`,
  );
}

/**
 * The postmaster that serves under a supervisor which says nothing that this version understands: one
 * that was started by another version.
 */
async function servesUntold(layout: Layout): Promise<number | null> {
  const postmaster = await readyPostmaster(layout);
  return postmaster !== null && processAlive(postmaster) && await answers(layout)
    ? postmaster
    : null;
}

async function otherSupervisor(layout: Layout): Promise<TarboxError> {
  const pid = await holderOf(layout.supervisorLock);
  return new TarboxError(
    `the embedded engine of ${layout.home} is held by ${
      pid === null ? "a process" : `process ${pid}`
    } that does not serve: it is of another version of tarbox, or hangs`,
    pid === null ? `see ${layout.supervisorLog}` : `end it: kill ${pid}`,
  );
}

function spawnSupervisor(layout: Layout): number {
  const { command, args } = selfCommand(["engine-supervisor", layout.home]);
  return spawnDetached(command, args, layout.supervisorLog);
}

/**
 * Starts the supervisor again when it dies while this process uses the engine: nobody else would
 * bring PostgreSQL back. Not when it was told to stop.
 * @returns what ends this
 */
function watchSupervisor(layout: Layout): () => void {
  let spawned: number | null = null;
  const timer = setInterval(async () => {
    try {
      if (await isHeld(layout.supervisorLock)) return;
      if (spawned !== null && processAlive(spawned)) return;
      if ((await readState(layout))?.phase !== "stopped") spawned = spawnSupervisor(layout);
    } catch {
      // The home is gone, and the engine with it.
    }
  }, WATCH_MS);
  Deno.unrefTimer(timer);
  return () => clearInterval(timer);
}

/** Whether the socket takes a connection. */
async function answers(layout: Layout): Promise<boolean> {
  try {
    const path = join(layout.socket, `.s.PGSQL.${ENGINE_PORT}`);
    const connection = await Deno.connect({ transport: "unix", path });
    connection.close();
    return true;
  } catch {
    return false;
  }
}

/** Starts the engine and keeps it without users until {@link stopEngine}. */
export async function keepEngine(home: string): Promise<void> {
  const engine = await useEngine(home);
  await Deno.writeTextFile(layoutOf(home).keep, "");
  await engine.release();
}

/** Stops the engine, whoever uses it, also one without a supervisor. Returns once it has ended. */
export async function stopEngine(home: string): Promise<void> {
  const layout = layoutOf(home);
  await Deno.remove(layout.keep).catch(() => {});
  const deadline = Date.now() + STOP_LIMIT_MS;
  let told = 0;
  while (Date.now() < deadline) {
    if (!await isHeld(layout.supervisorLock)) return await stopUnsupervised(layout);
    const pid = (await livingState(layout))?.pid ?? await holderOf(layout.supervisorLock);
    if (pid !== null && pid !== told) kill(told = pid, "SIGTERM");
    await pause(20);
  }
  throw new TarboxError("the embedded engine does not stop", `see ${layout.log}`);
}

/** PostgreSQL lives on when its supervisor is killed. */
async function stopUnsupervised(layout: Layout): Promise<void> {
  const made = await Deno.stat(layout.data).then(() => true, () => false);
  const lock = made ? await takeLock(layout.supervisorLock) : null;
  if (lock === null) return;
  await stopOrphans(layout);
  await lock.release();
}

/** What is true of a home's engine now. */
export async function engineStatus(home: string): Promise<EngineStatus> {
  const layout = layoutOf(home);
  const held = await isHeld(layout.supervisorLock);
  const state = held ? await livingState(layout) : null;
  const untold = held && state === null ? await servesUntold(layout) : null;
  const pid = state?.phase === "serving" ? state.postmaster : untold;
  return {
    running: pid !== null,
    pid,
    supervisor: state?.pid ?? (held ? await holderOf(layout.supervisorLock) : null),
    host: layout.socket,
    data: layout.data,
  };
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
