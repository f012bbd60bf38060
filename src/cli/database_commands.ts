import type { Command } from "commander";
import { TarboxError } from "../base/errors.ts";
import { resolveHome } from "../base/home.ts";
import { engineStatus, keepEngine, stopEngine, useEngine } from "../engine/engine.ts";
import { initialize, loadSettings } from "../mount/database.ts";
import { readRecords } from "../mount/record.ts";
import { examples } from "./examples.ts";
import { doctor } from "./doctor.ts";
import { DatabaseMissingError } from "../store/errors.ts";
import { psql } from "./psql.ts";
import { alone, print, type Run } from "./session.ts";

/** `init`, `db` and `doctor`. */
export function addDatabaseCommands(program: Command, _run: Run): void {
  program
    .command("init")
    .description("create or upgrade the schema, and create the workspace")
    .option("--embedded", "start the embedded engine, whatever the configuration says")
    .option("--create-database", "create the database when it is missing")
    .addHelpText(
      "after",
      examples(
        "tarbox init",
        "tarbox --workspace other init",
        "TARBOX_DATABASE_URL=postgres://me@db.example.org/tarbox tarbox init --create-database",
      ),
    )
    .action((options: { embedded?: boolean; createDatabase?: boolean }, command: Command) =>
      alone(command, async (globals) => {
        const run = (createDatabase: boolean) =>
          initialize({ ...globals, embedded: options.embedded ?? false, createDatabase });
        const { workspace, where } = await run(options.createDatabase ?? false).catch((error) => {
          if (!(error instanceof DatabaseMissingError) || !Deno.stdin.isTerminal()) throw error;
          if (!confirm(`${error.message}. Create it?`)) throw error;
          return run(true);
        });
        if (globals.json) await print(JSON.stringify({ workspace, database: where }) + "\n");
        else if (!globals.quiet) await print(`workspace ${workspace} is ready in ${where}\n`);
      })
    );

  program
    .command("doctor")
    .description("check this machine and the configuration, and say what to do")
    .addHelpText("after", examples("tarbox doctor", "tarbox doctor --json"))
    .action((_options: unknown, command: Command) =>
      alone(command, async (globals) => {
        Deno.exitCode = await doctor(globals);
      })
    );

  const database = program.command("db").description("the embedded engine by hand");
  database
    .command("start")
    .description("start the engine and keep it until `tarbox db stop`")
    .addHelpText("after", examples("tarbox db start"))
    .action((_options: unknown, command: Command) =>
      alone(command, async () => await keepEngine(resolveHome()))
    );
  database
    .command("stop")
    .description("stop the engine")
    .option(
      "--force",
      "also while mounts use it: they wait for it, and fail when it does not return",
    )
    .addHelpText("after", examples("tarbox db stop"))
    .action((options: { force?: boolean }, command: Command) =>
      alone(command, async () => {
        const served = (await readRecords(resolveHome())).filter(({ alive }) => alive);
        if (served.length > 0 && !options.force) {
          const where = served.map(({ record }) => record.directory).join(", ");
          throw new TarboxError(
            `db stop: the engine is in use by the mount of ${where}`,
            "unmount first (`tarbox umount DIR`), or give --force",
          );
        }
        await stopEngine(resolveHome());
      })
    );
  database
    .command("status")
    .description("whether the engine runs, and where")
    .addHelpText("after", examples("tarbox db status"))
    .action((_options: unknown, command: Command) =>
      alone(command, async (globals) => {
        const status = await engineStatus(resolveHome());
        if (globals.json) return await print(JSON.stringify(status, null, 2) + "\n");
        await print(status.running ? `running, process ${status.pid}\n` : "stopped\n");
      })
    );
  database
    .command("url")
    .description("the address of the database that commands use, without its password")
    .addHelpText("after", examples("tarbox db url", 'tarbox db start && psql "$(tarbox db url)"'))
    .action((_options: unknown, command: Command) =>
      alone(command, async (globals) => {
        const { own } = await loadSettings(globals);
        if (own !== null) {
          return await print(
            `postgres://${own.user}@${own.host}:${own.port}/${own.database}\n`,
          );
        }
        const engine = await useEngine(resolveHome());
        try {
          const { host, port, user, database } = engine.database;
          await print(
            `postgres://${user}@/${database}?host=${encodeURIComponent(host)}&port=${port}\n`,
          );
        } finally {
          await engine.release();
        }
      })
    );

  database
    .command("psql")
    .description("run the machine's psql on the database that commands use")
    .argument("[ARGS...]", "psql's own arguments, after --")
    .showHelpAfterError("what is meant for psql goes after --, as in `tarbox db psql -- -c QUERY`")
    .addHelpText(
      "after",
      examples("tarbox db psql", "tarbox db psql -- -c 'select count(*) from inodes'"),
    )
    .action((args: string[], _options: unknown, command: Command) =>
      alone(command, async (globals) => {
        Deno.exitCode = await psql(globals, args);
      })
    );

  program.command("engine-supervisor", { hidden: true }).argument("<HOME>").action(
    async (home: string) => {
      const { runSupervisor } = await import("../engine/supervisor.ts");
      Deno.exit(await runSupervisor(home));
    },
  );
}
