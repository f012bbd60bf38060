import { hostname } from "node:os";
import { machineId, processAlive, processStarted } from "../base/process.ts";
import type { Holder, Lease } from "../store/rows.ts";

/** Milliseconds between heartbeats of a lease. */
export const HEARTBEAT_MS = 2_000;

/** Seconds without a heartbeat after which another mount may take the workspace over. */
export const STALE_SECONDS = 15;

/** This process as a holder; `mountPoint` null for a command without a mount. */
export function selfHolder(mountPoint: string | null): Holder {
  return {
    host: hostname(),
    pid: Deno.pid,
    mountPoint,
    machine: machineId(),
    started: processStarted(Deno.pid) ?? "",
  };
}

/** Whether the holder is known to live no more: a process of this very system that is gone. */
export function holderIsDead({ holder }: Pick<Lease, "holder">): boolean {
  if (holder.machine === undefined || holder.machine === "") return false;
  if (holder.machine !== machineId()) return false;
  if (!processAlive(holder.pid)) return true;
  return holder.started !== "" && holder.started !== processStarted(holder.pid);
}

/** The epoch to give as dead to `attach`: of a holder that is known to live no more, else undefined. */
export function deadEpoch(lease: Lease | null): number | undefined {
  return lease !== null && holderIsDead(lease) ? lease.epoch : undefined;
}

/** Whether a lease is held by somebody who may live: its heartbeat is fresh and nobody saw him die. */
export function leaseHolds(lease: Lease | null): boolean {
  return lease !== null && lease.ageSeconds < STALE_SECONDS && !holderIsDead(lease);
}
