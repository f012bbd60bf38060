/** Runs workloads on targets, interleaved, and keeps times and counts. */
import { join } from "node:path";
import { run } from "./tarbox.ts";
import { type Counts, makeCold, settle, type Target } from "./targets.ts";
import type { Workload } from "./workloads.ts";

/** What a Tarbox mount did for one run of a workload. */
export interface Work {
  /** Requests of the kernel by kind. */
  readonly requests: Readonly<Record<string, number>>;
  readonly statements: number;
  readonly roundTrips: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly copiedBytes: number;
  /** Resident memory of the daemon at its highest during the run. */
  readonly peakBytes: number;
}

/** One row of the results. */
export interface Row {
  readonly name: string;
  /** Milliseconds of each run, by target. */
  readonly milliseconds: Readonly<Record<string, readonly number[]>>;
  /** Of Tarbox, in the last run. */
  readonly work: Work | null;
}

/** The difference of two looks at the counters. Looking itself adds about ten requests. */
export function workBetween(before: Counts, after: Counts): Work {
  const requests: Record<string, number> = {};
  for (const [kind, count] of Object.entries(after.requests)) {
    const more = count - (before.requests[kind] ?? 0);
    if (more > 0) requests[kind] = more;
  }
  const less = (key: "statements" | "roundTrips" | "bytesSent" | "bytesReceived") =>
    after.sql[key] - before.sql[key];
  return {
    requests,
    statements: less("statements"),
    roundTrips: less("roundTrips"),
    bytesSent: less("bytesSent"),
    bytesReceived: less("bytesReceived"),
    copiedBytes: after.copiedBytes - before.copiedBytes,
    peakBytes: after.memory.peakBytes,
  };
}

/** Runs one workload on all targets in turn, `runs` times. */
export async function measure(
  workload: Workload,
  targets: readonly Target[],
  runs: number,
): Promise<Row> {
  const milliseconds: Record<string, number[]> = {};
  let work: Work | null = null;
  for (let i = 0; i < runs; i++) {
    for (const target of targets) {
      const directory = join(target.directory, "work");
      await Deno.mkdir(directory);
      try {
        if (workload.before !== undefined) {
          await run(["sh", "-c", workload.before], { cwd: directory });
        }
        if (workload.cold) await makeCold(target);
        else await settle(target);
        target.resetPeak();
        const before = target.counts();
        const timed = await run(["sh", "-c", workload.command], {
          cwd: directory,
          status: [0, ...workload.status ?? []],
        });
        const after = target.counts();
        (milliseconds[target.name] ??= []).push(timed.milliseconds);
        if (before !== null && after !== null) work = workBetween(before, after);
      } finally {
        await run(["rm", "-rf", directory]);
      }
      await settle(target);
    }
  }
  return { name: workload.name, milliseconds, work };
}
