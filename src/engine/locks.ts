import { join } from "node:path";
import type { Layout } from "./layout.ts";

/** A lock that ends with its process, however that ends (man 2 flock). */
export interface HeldLock {
  release(): Promise<void>;
}

/** Takes the exclusive lock of a file, or null when somebody has it. */
export async function tryLock(path: string): Promise<HeldLock | null> {
  const file = await Deno.open(path, { create: true, write: true });
  if (!await file.tryLock(true)) {
    file.close();
    return null;
  }
  return { release: async () => file.close() };
}

/** Signs this process in as a user of the engine, until released or dead. */
export async function signIn(layout: Layout): Promise<HeldLock> {
  const path = join(layout.users, `${Deno.pid}-${crypto.randomUUID()}`);
  const file = await Deno.open(path, { createNew: true, write: true });
  await file.lock(true);
  return {
    async release() {
      await Deno.remove(path).catch(() => {});
      file.close();
    },
  };
}

/** Whether any user lives; forgets those that are gone. */
export async function anyUser(layout: Layout): Promise<boolean> {
  for await (const { name } of Deno.readDir(layout.users)) {
    const path = join(layout.users, name);
    const lock = await tryLock(path).catch(() => null);
    if (lock === null) return true;
    // A user that was just made is locked a moment later: give it that moment.
    const { mtime } = await Deno.stat(path);
    if (Date.now() - (mtime?.getTime() ?? 0) < 1_000) {
      await lock.release();
      return true;
    }
    await Deno.remove(path).catch(() => {});
    await lock.release();
  }
  return false;
}
