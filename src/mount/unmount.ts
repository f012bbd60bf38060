import { resolve } from "node:path";
import { TarboxError } from "../base/errors.ts";
import { processAlive } from "../base/process.ts";
import { detachMount, isMountPoint } from "../fuse/mount.ts";
import { readRecord, removeRecord } from "./record.ts";

/** Longest wait for the daemon to write back what is left and end. */
const END_LIMIT_MS = 120_000;

/**
 * Unmounts a directory and returns once its daemon has committed everything and ended. A mount
 * whose daemon is dead is cleared. `force`: detaches also a busy mount, and ends a daemon that
 * hangs.
 * @throws {TarboxError} when nothing of Tarbox is mounted there, or it is busy.
 */
export async function unmount(home: string, path: string, force: boolean): Promise<void> {
  const directory = await realOrAbsolute(path);
  const record = await readRecord(home, directory);
  const mounted = await isMountPoint(directory);
  const alive = record !== null && processAlive(record.pid);
  if (!mounted && !alive) {
    if (record !== null) await removeRecord(home, directory, record.pid);
    throw new TarboxError(`umount ${directory}: no Tarbox mount is there`);
  }
  if (mounted) await detachMount(directory, force || !alive);
  if (!alive) {
    if (record !== null) await removeRecord(home, directory, record.pid);
    return;
  }
  const deadline = Date.now() + (force ? 5_000 : END_LIMIT_MS);
  while (processAlive(record.pid)) {
    if (Date.now() > deadline) {
      if (force) {
        Deno.kill(record.pid, "SIGKILL");
        return;
      }
      throw new TarboxError(
        `umount ${directory}: unmounted, but process ${record.pid} still writes back`,
        `wait for it (see ${record.log}), or \`tarbox umount --force\` to give up what is not committed`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const after = await readRecord(home, directory);
  if (after?.pid === record.pid && after.error !== undefined) {
    await removeRecord(home, directory, record.pid);
    throw new TarboxError(after.error.message, after.error.hint);
  }
  await removeRecord(home, directory, record.pid);
}

/** A dead mount cannot be resolved (ENOTCONN), only named. */
async function realOrAbsolute(path: string): Promise<string> {
  try {
    return await Deno.realPath(path);
  } catch {
    return resolve(path);
  }
}
