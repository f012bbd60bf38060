import { join } from "node:path";
import { TarboxError } from "../base/errors.ts";
import { processAlive, selfCommand, spawnDetached } from "../base/process.ts";
import { ENGINE_DATABASE, ENGINE_PORT, ENGINE_USER, kill, readyPostmaster } from "./cluster.ts";
import { type Layout, layoutOf, makeLayout } from "./layout.ts";
import { signIn, tryLock } from "./locks.ts";

/** Longest wait for the engine: a first start unpacks it and makes a cluster. */
const START_LIMIT_MS = 60_000;

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
  return {
    database: {
      host: layout.socket,
      port: ENGINE_PORT,
      database: ENGINE_DATABASE,
      user: ENGINE_USER,
    },
    release: () => user.release(),
  };
}

async function running(layout: Layout): Promise<void> {
  const deadline = Date.now() + START_LIMIT_MS;
  let supervisor: number | null = null;
  while (Date.now() < deadline) {
    const lock = await tryLock(layout.supervisorLock);
    if (lock !== null) {
      await lock.release();
      if (supervisor !== null && Date.now() > deadline - START_LIMIT_MS + 5_000) break;
      if (supervisor === null || !processAlive(supervisor)) {
        const { command, args } = selfCommand(["engine-supervisor", layout.home]);
        supervisor = spawnDetached(command, args, layout.supervisorLog);
      }
      await pause(30);
      continue;
    }
    if (await answers(layout)) return;
    await pause(10);
  }
  const log = await Deno.readTextFile(layout.supervisorLog).catch(() => "");
  const last = log.trim().split("\n").slice(-2).join(" / ");
  throw new TarboxError(
    `the embedded engine does not start: ${last || "no answer"}`,
    `see ${layout.supervisorLog} and ${layout.log}`,
  );
}

/** Whether the postmaster says that it is ready and its socket takes a connection. */
async function answers(layout: Layout): Promise<boolean> {
  if (await readyPostmaster(layout) === null) return false;
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

/** Stops the engine, whoever uses it. Returns once it has ended. */
export async function stopEngine(home: string): Promise<void> {
  const layout = layoutOf(home);
  await Deno.remove(layout.keep).catch(() => {});
  const { supervisor } = await engineStatus(home);
  if (supervisor === null) return;
  kill(supervisor, "SIGTERM");
  const deadline = Date.now() + STOP_LIMIT_MS;
  while (Date.now() < deadline) {
    const lock = await tryLock(layout.supervisorLock);
    if (lock !== null) return await lock.release();
    await pause(20);
  }
  throw new TarboxError("the embedded engine does not stop", `see ${layout.log}`);
}

/** What is true of a home's engine now. */
export async function engineStatus(home: string): Promise<EngineStatus> {
  const layout = layoutOf(home);
  const lock = await tryLock(layout.supervisorLock).catch(() => undefined);
  await lock?.release();
  const held = lock === null;
  const text = await Deno.readTextFile(join(layout.run, "supervisor.pid")).catch(() => "");
  const pid = held ? await readyPostmaster(layout) : null;
  return {
    running: pid !== null,
    pid,
    supervisor: held && text !== "" ? Number(text) : null,
    host: layout.socket,
    data: layout.data,
  };
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
