import { join } from "node:path";
import { TarboxError } from "../base/errors.ts";
import { processAlive, selfCommand, spawnDetached } from "../base/process.ts";
import { isMountPoint } from "../fuse/mount.ts";
import { readRecord, recordPath } from "./record.ts";
import type { MountSpec } from "./spec.ts";

/** Longest wait for a daemon to serve: a first start unpacks and creates a cluster. */
const START_LIMIT_MS = 120_000;

/**
 * Starts a daemon that serves `spec` in the background and waits until it does.
 * @throws {TarboxError} what the daemon failed of, or that the directory is a Tarbox mount already.
 */
export async function spawnDaemon(spec: MountSpec): Promise<void> {
  const before = await readRecord(spec.home, spec.directory);
  if (await isMountPoint(spec.directory)) {
    if (before !== null && !processAlive(before.pid)) {
      throw new TarboxError(
        `mount ${spec.directory}: a dead Tarbox mount is there`,
        `\`tarbox umount ${spec.directory}\` clears it`,
      );
    }
    if (before !== null) {
      throw new TarboxError(
        `mount ${spec.directory}: workspace ${before.workspace} is mounted there already`,
      );
    }
  }
  await Deno.remove(recordPath(spec.home, spec.directory)).catch(() => {});
  await Deno.mkdir(join(spec.home, "logs"), { recursive: true });
  const log = join(spec.home, "logs", `mount-${spec.tenant}-${spec.workspace}.log`);
  const { command, args } = selfCommand(["mount-daemon", JSON.stringify(spec)]);
  const pid = await spawnDetached(command, args, log);
  const deadline = Date.now() + START_LIMIT_MS;
  while (Date.now() < deadline) {
    const record = await readRecord(spec.home, spec.directory);
    if (record?.state === "serving") return;
    if (record?.state === "failed") {
      throw new TarboxError(
        record.error?.message ?? `mount ${spec.directory} failed`,
        record.error?.hint,
      );
    }
    if (!processAlive(pid)) {
      throw new TarboxError(
        `mount ${spec.directory}: its daemon ended before it served`,
        `see ${log}`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new TarboxError(
    `mount ${spec.directory}: not served within ${START_LIMIT_MS / 1000} s`,
    `see ${log}`,
  );
}
