/** Results as a table for people, JSON, and a chart. */
import type { Row } from "./measure.ts";
import { median, threeDigits } from "./statistics.ts";

/** Everything about one run of the bench. */
export interface Results {
  readonly commit: string;
  readonly date: string;
  readonly machine: {
    readonly cores: number;
    readonly memoryBytes: number;
    readonly kernel: string;
    readonly load: number;
  };
  readonly size: string;
  readonly runs: number;
  readonly rows: readonly Row[];
}

/** What the machine is, without a name. */
export function machine(): Results["machine"] {
  return {
    cores: navigator.hardwareConcurrency,
    memoryBytes: Deno.systemMemoryInfo().total,
    kernel: Deno.osRelease().replace(/^(\d+\.\d+\.\d+).*/, "$1"),
    load: Deno.loadavg()[0]!,
  };
}

/** The median of a target, or null where it was not measured. */
export function medianOf(row: Row, target: string): number | null {
  const all = row.milliseconds[target];
  return all === undefined ? null : median(all);
}

function ratio(row: Row, target: string, to: string): string {
  const [a, b] = [medianOf(row, target), medianOf(row, to)];
  return a === null || b === null ? "" : threeDigits(a / b);
}

function megabytes(bytes: number): string {
  return threeDigits(bytes / 2 ** 20);
}

/** One line that tells what Tarbox did: requests, round trips, bytes, memory. */
function workLine({ work }: Row): string {
  if (work === null) return "";
  const requests = Object.entries(work.requests).sort(([, a], [, b]) => b - a);
  const total = requests.reduce((sum, [, count]) => sum + count, 0);
  const kinds = requests.slice(0, 5).map(([kind, count]) => `${kind} ${count}`).join(", ");
  return `${total} requests (${kinds}); ${work.statements} statements in ${work.roundTrips} round ` +
    `trips, ${megabytes(work.bytesSent)} MB sent, ${megabytes(work.bytesReceived)} MB received; ` +
    `${megabytes(work.copiedBytes)} MB copied; peak ${megabytes(work.peakBytes)} MB`;
}

/** The table: times in milliseconds, then ratios of medians. */
export function table(rows: readonly Row[]): string {
  const head = [
    "workload",
    "native ms",
    "bindfs",
    "fuse-overlayfs",
    "tarbox",
    "to native",
    "to overlayfs",
  ];
  const shown = (row: Row, target: string) => {
    const value = medianOf(row, target);
    return value === null ? "" : threeDigits(value);
  };
  const body = rows.map((row) => [
    row.name,
    shown(row, "native") || shown(row, "null_server.c"),
    shown(row, "bindfs"),
    shown(row, "fuse-overlayfs"),
    shown(row, "tarbox"),
    ratio(row, "tarbox", "native") || ratio(row, "tarbox", "null_server.c"),
    ratio(row, "tarbox", "fuse-overlayfs"),
  ]);
  const widths = head.map((title, i) =>
    Math.max(title.length, ...body.map((cells) => cells[i]!.length))
  );
  const line = (cells: readonly string[]) =>
    cells.map((cell, i) => i === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[i]!)).join("  ")
      .trimEnd();
  return [line(head), ...body.map(line)].join("\n");
}

/** Counts of every row that has them. */
export function workTable(rows: readonly Row[]): string {
  return rows.filter((row) => row.work !== null)
    .map((row) => `${row.name}: ${workLine(row)}`).join("\n");
}
