import { join } from "node:path";
import type { Layout } from "./layout.ts";

/** A lock that ends with its process, however that ends (man 2 flock). */
export interface HeldLock {
  release(): Promise<void>;
}

/** Longest time for which those who only look may keep a lock from its taker. */
const LOOKERS_MS_MAX = 5_000;

/** Age after which a sign-in that was never finished is a dead one's. */
const UNFINISHED_MS = 60_000;

/**
 * Takes the exclusive lock of a file, or null when somebody has it. Whoever only looks
 * ({@link isHeld}) has it shared for a moment, which is waited for.
 */
export async function takeLock(path: string): Promise<HeldLock | null> {
  const file = await Deno.open(path, { create: true, write: true });
  const deadline = Date.now() + LOOKERS_MS_MAX;
  while (!await file.tryLock(true)) {
    // Shared succeeds where everybody else has it shared, too.
    const onlyLookers = await file.tryLock(false);
    if (onlyLookers) await file.unlock();
    if (!onlyLookers || Date.now() > deadline) {
      file.close();
      return null;
    }
    await new Promise((resolve) => setTimeout(resolve, 1 + Math.random() * 5));
  }
  return { release: async () => file.close() };
}

/** Whether somebody has the exclusive lock of a file. */
export async function isHeld(path: string): Promise<boolean> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path, { read: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
  const free = await file.tryLock(false);
  file.close();
  return !free;
}

/**
 * Process id of whoever has the exclusive lock of a file (man 5 proc_locks). Null: nobody has, or the
 * system does not tell.
 */
export async function holderOf(path: string): Promise<number | null> {
  const stat = await Deno.stat(path).catch(() => null);
  const locks = await Deno.readTextFile("/proc/locks").catch(() => "");
  for (const line of locks.split("\n")) {
    const [, kind, , mode, pid, file] = line.split(/\s+/);
    // The device is another number on some filesystems: what the process has open tells.
    const same = kind === "FLOCK" && mode === "WRITE" && file?.split(":")[2] === String(stat?.ino);
    if (same && hasOpen(Number(pid), path)) return Number(pid);
  }
  return null;
}

function hasOpen(pid: number, path: string): boolean {
  try {
    const real = Deno.realPathSync(path);
    return [...Deno.readDirSync(`/proc/${pid}/fd`)].some(({ name }) => {
      try {
        return Deno.readLinkSync(`/proc/${pid}/fd/${name}`) === real;
      } catch {
        return false;
      }
    });
  } catch {
    return false;
  }
}

/**
 * Signs this process in as a user of the engine, until released or dead. Waits while the engine is
 * about to stop, so that it never stops under a new user. The file has its name only once it is
 * locked: a name without a lock is a user that is gone.
 */
export async function signIn(layout: Layout): Promise<HeldLock> {
  using gate = await Deno.open(layout.gate, { create: true, write: true, read: true });
  await gate.lock(false);
  const name = `${Deno.pid}-${crypto.randomUUID()}`;
  const path = join(layout.users, name);
  const unfinished = join(layout.users, `.${name}`);
  const file = await Deno.open(unfinished, { createNew: true, write: true });
  try {
    await file.lock(true);
    await Deno.rename(unfinished, path);
  } catch (error) {
    file.close();
    throw error;
  }
  return {
    async release() {
      await Deno.remove(path).catch(() => {});
      file.close();
    },
  };
}

/** Whether any user lives; forgets those that are gone. */
export async function anyUser(layout: Layout): Promise<boolean> {
  let any = false;
  for await (const { name } of Deno.readDir(layout.users)) {
    const path = join(layout.users, name);
    const age = Date.now() - ((await Deno.stat(path).catch(() => null))?.mtime?.getTime() ?? 0);
    if (name.startsWith(".") && age < UNFINISHED_MS) continue;
    if (await isHeld(path)) any = true;
    else await Deno.remove(path).catch(() => {});
  }
  return any;
}
