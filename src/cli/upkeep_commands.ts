import type { Command } from "commander";
import { parseDuration } from "../base/quantity.ts";
import { formatSize } from "../layer/format.ts";
import type { Run } from "./session.ts";

/** `gc`. */
export function addUpkeepCommands(program: Command, run: Run): void {
  program
    .command("gc")
    .description("remove what no layer, workspace, fork or unfinished import needs")
    .option("--grace <DURATION>", "spare what was written to this lately", "1h")
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
}
