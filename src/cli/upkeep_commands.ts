import type { Command } from "commander";
import { TarboxError } from "../base/errors.ts";
import { parseDuration } from "../base/quantity.ts";
import { formatSize } from "../layer/format.ts";
import { openDatabase } from "../mount/database.ts";
import { leaseHolds } from "../mount/lease.ts";
import { backupTenant, recoverTenant } from "../store/postgres/backup.ts";
import { examples } from "./examples.ts";
import { alone, type GlobalOptions, print, type Run } from "./session.ts";

/** Seconds that a mount has to write what it holds before a backup. */
const FLUSH_TIMEOUT_SECONDS = 120;

/** `gc`, `backup` and `recover`. */
export function addUpkeepCommands(program: Command, run: Run): void {
  program
    .command("gc")
    .description("remove what no layer, workspace, fork or unfinished import needs")
    .option("--grace <DURATION>", "spare what was written to this lately", "1h")
    .addHelpText("after", examples("tarbox gc", "tarbox gc --grace 10m"))
    .action((options: { grace: string }, command: Command) =>
      run(command, async (session) => {
        const grace = parseDuration("--grace", options.grace);
        const collected = await session.store.collectGarbage(grace);
        if (session.json) return await session.out(JSON.stringify(collected, null, 2) + "\n");
        if (session.quiet) return;
        const { lineages, rows, contents, bytes } = collected;
        await session.out(
          `removed ${contents} contents (${formatSize(bytes)}), ${rows} rows, ` +
            `${lineages} abandoned heads and imports\n`,
        );
      })
    );

  program
    .command("backup")
    .description("write the whole tenant, as of one moment, while it is in use")
    .option("--to <FILE>", "where to (default: standard output)")
    .addHelpText(
      "after",
      examples("tarbox backup --to tenant.backup", "tarbox backup | zstd > tenant.backup.zst"),
    )
    .action((options: { to?: string }, command: Command) =>
      alone(command, (globals) => backup(globals, options.to))
    );

  program
    .command("recover")
    .description("make the tenant (--tenant: under another name) of a backup, all or nothing")
    .argument("<FILE>", "the backup; - for standard input")
    .addHelpText(
      "after",
      examples("tarbox recover tenant.backup", "tarbox --tenant copy recover tenant.backup"),
    )
    .action((file: string, _options: unknown, command: Command) =>
      alone(command, (globals) => {
        // A tenant that nobody named is the one of the backup.
        const named = command.parent?.getOptionValueSource("tenant") === "cli";
        return recover(globals, file, named ? globals.tenant : null);
      })
    );
}

async function backup(globals: GlobalOptions, to: string | undefined): Promise<void> {
  if (to === undefined && Deno.stdout.isTerminal()) {
    throw new TarboxError(
      "backup: standard output is a terminal, and a backup is no text",
      "name a file with --to",
    );
  }
  const database = await openDatabase(globals);
  try {
    const { store } = database;
    for (const { id, lease } of await store.workspaces()) {
      if (!leaseHolds(lease) || lease!.holder.mountPoint === null) continue;
      await store.ask(id, "flush", {}, FLUSH_TIMEOUT_SECONDS);
    }
    if (to === undefined) {
      await backupTenant(database.options, globals.tenant, print);
      return;
    }
    const partial = `${to}.partial`;
    const file = await Deno.open(partial, { write: true, create: true, truncate: true });
    try {
      const facts = await backupTenant(database.options, globals.tenant, async (data) => {
        for (let at = 0; at < data.length;) at += await file.write(data.subarray(at));
      });
      await file.sync();
      await Deno.rename(partial, to);
      if (globals.json) await print(JSON.stringify(facts, null, 2) + "\n");
      else if (!globals.quiet) {
        await print(`${to}: ${facts.rows} rows, ${facts.contents} contents\n`);
      }
    } finally {
      file.close();
      await Deno.remove(partial).catch(() => {});
    }
  } finally {
    await database.close();
  }
}

async function recover(
  globals: GlobalOptions,
  path: string,
  tenant: string | null,
): Promise<void> {
  const source = path === "-" ? Deno.stdin.readable : (await Deno.open(path)).readable;
  const database = await openDatabase({ ...globals, tenant: "default" });
  try {
    const facts = await recoverTenant(database.options, tenant, source);
    if (globals.json) await print(JSON.stringify(facts, null, 2) + "\n");
    else if (!globals.quiet) {
      const { rows, contents } = facts;
      await print(`tenant ${facts.tenant}: ${rows} rows, ${contents} contents\n`);
    }
  } finally {
    await database.close();
  }
}
