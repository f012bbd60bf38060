/**
 * Crashes under load: what was fsynced is there byte for byte, and the rest is a prefix of what was
 * answered (spec/durability.md, rules 1, 2 and 4). A run is named by its seed: TARBOX_SEED repeats it,
 * as far as moments can be repeated. TARBOX_KILLS makes it longer.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { checkPrefix, type Found, type Log, readLog, readTree } from "./crash_check.ts";
import { random } from "./crash_model.ts";
import { Installation, sendKill, until } from "./installation.ts";

/** Kills in each test: one of each kind, at least. */
const KILLS = Number(Deno.env.get("TARBOX_KILLS") ?? 10);

const WRITERS = ["w0", "w1", "w2"];

/** What a writer's system calls say once the mount's daemon is dead. */
const MOUNT_DIED = /os error (103|107)\b/;

const SEED = Number(Deno.env.get("TARBOX_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);

/** Writers at work in a folder of their own. */
export class Load {
  readonly #folder: string;
  readonly #logs: string;
  readonly #stop: string;
  readonly #writers: Deno.ChildProcess[];

  constructor(
    tarbox: Installation,
    readonly round: string,
    next: () => number,
    fsyncOneIn: number,
  ) {
    this.#folder = join(tarbox.mountPoint, round);
    this.#logs = join(tarbox.directory, "logs", round);
    this.#stop = join(this.#logs, "stop");
    Deno.mkdirSync(this.#logs, { recursive: true });
    Deno.mkdirSync(join(this.#folder, "common"), { recursive: true });
    this.#writers = WRITERS.map((name) =>
      new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "-A",
          "--frozen",
          "tests/e2e/crash_writer.ts",
          this.#folder,
          join(this.#logs, name),
          this.#stop,
          name,
          String(next()),
          String(fsyncOneIn),
        ],
        stdin: "null",
      }).spawn()
    );
  }

  logs(): Log[] {
    return WRITERS.map((name) => readLog(name, join(this.#logs, name)));
  }

  /** Waits until each writer had so many answers, or an fsync, after those that `logs` has. */
  async goesOn(since: readonly Log[] | null = null): Promise<void> {
    await until(`writers of ${this.round} go on`, () =>
      WRITERS.every((name, index) => {
        try {
          const { done, failed } = readLog(name, join(this.#logs, name));
          const more = done.slice(since?.[index]?.done.length ?? 0);
          return failed !== null || more.filter(({ end }) => end !== null).length > 10;
        } catch (error) {
          if (error instanceof Deno.errors.NotFound) return false;
          throw error;
        }
      }));
  }

  /** Has the writers end by themselves, and waits for that. */
  async stop(): Promise<Log[]> {
    Deno.writeTextFileSync(this.#stop, "");
    return await this.ended();
  }

  /** Waits until the writers ended, of whatever. */
  async ended(): Promise<Log[]> {
    for (const writer of this.#writers) {
      const { success } = await writer.status;
      if (!success) throw new Error("a writer failed by itself");
    }
    return this.logs();
  }

  found(): Map<string, Found> {
    const tree = readTree(this.#folder);
    tree.delete("common");
    return tree;
  }

  kill(): void {
    for (const { pid } of this.#writers) sendKill(pid);
  }
}

/** Waits. */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** After a daemon died: what there is to see of it, a clean state beneath, and the mount again. */
export async function mountAgain(tarbox: Installation): Promise<void> {
  await tarbox.tarbox("umount", tarbox.mountPoint);
  await tarbox.tarbox("fsck");
  await tarbox.tarbox("mount", tarbox.mountPoint);
}

/** @throws {Error} unless every writer saw the mount die, and nothing else */
export function assertDiedOnly(logs: readonly Log[]): void {
  for (const { name, failed } of logs) {
    if (failed === null || !MOUNT_DIED.test(failed)) {
      throw new Error(`${name} ended of something else than the crash: ${failed}`);
    }
  }
}

/** @throws {Error} unless all that was done is there, and no writer saw a failure */
export function assertAllThere(logs: readonly Log[], found: ReadonlyMap<string, Found>): void {
  for (const { name, failed } of logs) {
    if (failed !== null) throw new Error(`${name} saw a failure: ${failed}`);
  }
  const all = logs.map((log) => ({
    ...log,
    // As if each had fsynced at its end.
    done: [...log.done, {
      operation: { call: "fsync" as const, path: log.name },
      start: Infinity,
      end: Infinity,
    }],
  }));
  checkPrefix(all, found);
}

/** Runs rounds of a crash each, and looks after each at what the round before it left, too. */
export async function crashes(
  name: string,
  crash: (
    tarbox: Installation,
    load: Load,
    next: () => number,
    round: number,
  ) => Promise<readonly Log[]>,
): Promise<void> {
  console.log(`TARBOX_SEED=${SEED}`);
  const next = random(SEED);
  const tarbox = await Installation.create();
  let load: Load | null = null;
  let kept: Load | null = null;
  let keptLogs: readonly Log[] = [];
  try {
    await tarbox.tarbox("mount", "--create", tarbox.mountPoint);
    for (let round = 0; round < KILLS; round++) {
      // With few fsyncs it is the commit interval that cuts batches.
      load = new Load(tarbox, `${name}-${round}`, next, round % 2 === 0 ? 30 : 300);
      await load.goesOn();
      await pause(next() % 1500);
      const logs = await crash(tarbox, load, next, round);
      const there = checkPrefix(logs, load.found());
      if (kept !== null) {
        checkPrefix(keptLogs, kept.found());
        await rm(join(tarbox.mountPoint, kept.round), { recursive: true, force: true });
      }
      const counts = logs.map(({ done }, index) => `${there[index]} of ${done.length}`);
      console.log(`${load.round}: there are at least ${counts.join(", ")}`);
      // What is there now stays there.
      kept = load;
      keptLogs = logs.map((log, index) => ({
        ...log,
        done: log.done.slice(0, Math.ceil(there[index]!)),
      }));
    }
    await tarbox.tarbox("umount", tarbox.mountPoint);
    await tarbox.tarbox("fsck");
  } catch (error) {
    console.error(`TARBOX_SEED=${SEED}`);
    throw error;
  } finally {
    load?.kill();
    await tarbox.remove();
  }
}
