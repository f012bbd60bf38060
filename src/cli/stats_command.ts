import type { Command } from "commander";
import { formatSize } from "../layer/format.ts";
import { openDatabase } from "../mount/database.ts";
import { leaseHolds } from "../mount/lease.ts";
import { type StorageFigures, storageFigures } from "../store/postgres/figures.ts";
import { examples } from "./examples.ts";
import { alone, type GlobalOptions, print } from "./session.ts";

/** Seconds that a mount has to write what it holds before it is measured. */
const FLUSH_TIMEOUT_SECONDS = 120;

/** `stats`. */
export function addStatsCommand(program: Command): void {
  program
    .command("stats")
    .description(
      "what the tenant takes in the database, by kind and by layer, and what sharing saves",
    )
    .addHelpText("after", examples("tarbox stats", "tarbox --json stats | jq .deduplication"))
    .action((_options: unknown, command: Command) => alone(command, stats));
}

async function stats(globals: GlobalOptions): Promise<void> {
  const database = await openDatabase(globals);
  try {
    for (const { id, lease } of await database.store.workspaces()) {
      if (!leaseHolds(lease) || lease!.holder.mountPoint === null) continue;
      await database.store.ask(id, "flush", {}, FLUSH_TIMEOUT_SECONDS);
    }
    const figures = await storageFigures(database.options, globals.tenant);
    if (globals.json) return await print(JSON.stringify(figures, null, 2) + "\n");
    await print(figuresText(figures));
  } finally {
    await database.close();
  }
}

function figuresText(figures: StorageFigures): string {
  const { deduplication, unneeded } = figures;
  const kinds = figures.kinds.map(({ kind, rows, bytes, tableBytes, indexBytes }) => [
    kind,
    `${rows}`,
    formatSize(bytes),
    formatSize(tableBytes),
    formatSize(indexBytes),
  ]);
  const layers = figures.layers.map(({ layer, workspace, rows, bytes, contents, contentBytes }) => [
    workspace === null ? "(summaries, imports)" : `${workspace}/${layer?.name ?? "head"}`,
    `${rows}`,
    formatSize(bytes),
    `${contents}`,
    formatSize(contentBytes),
  ]);
  return table([["kind", "rows", "data", "tables", "indexes"], ...kinds]) + "\n" +
    table([["layer", "rows", "data", "new contents", "data"], ...layers]) + "\n" +
    `deduplication: ${formatSize(deduplication.referencedBytes)} of blocks in ` +
    `${formatSize(deduplication.storedBytes)}, ${formatSize(deduplication.savedBytes)} saved\n` +
    (unneeded.contents === 0
      ? ""
      : `unneeded: ${unneeded.contents} contents, ${formatSize(unneeded.bytes)}; ` +
        "`tarbox gc` removes them\n") +
    `database: ${formatSize(figures.databaseBytes)} with all tenants, as are tables and indexes\n`;
}

/** Columns in line, the first to the left. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows.map((row) =>
    row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join("  ") +
    "\n"
  ).join("");
}
