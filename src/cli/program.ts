import { Command, CommanderError } from "commander";
import metadata from "../../deno.json" with { type: "json" };
import { tell } from "./session.ts";

/** Version of the program, as `deno.json` has it. */
export const VERSION: string = metadata.version;

/** Groups of commands, loaded only when a command line is parsed, never for `--version`. */
async function addCommands(program: Command): Promise<void> {
  const { run } = await import("./session.ts");
  const [database, mount, layers, images, registry, attempt, upkeep, stats, completions] =
    await Promise
      .all([
        import("./database_commands.ts"),
        import("./mount_commands.ts"),
        import("./layer_commands.ts"),
        import("./image_commands.ts"),
        import("./registry_commands.ts"),
        import("./try_command.ts"),
        import("./upkeep_commands.ts"),
        import("./stats_command.ts"),
        import("./completions.ts"),
      ]);
  database.addDatabaseCommands(program, run);
  mount.addMountCommands(program, run);
  layers.addLayerCommands(program, run);
  images.addImageCommands(program, run);
  registry.addRegistryCommands(program, run);
  attempt.addTryCommand(program, run);
  upkeep.addUpkeepCommands(program, run);
  stats.addStatsCommand(program);
  completions.addCompletionsCommand(program);
}

/** The command line without its commands: global options and how errors end. */
function frame(): Command {
  return new Command("tarbox")
    .description("A filesystem for AI agents and cloud-native work that lives in PostgreSQL")
    .version(VERSION, "-V, --version")
    .option("--config <FILE>", "configuration file (else TARBOX_CONFIG, ./tarbox.toml, …)")
    .option(
      "--tenant <NAME>",
      "tenant (else TARBOX_TENANT)",
      Deno.env.get("TARBOX_TENANT") ?? "default",
    )
    .option(
      "--workspace <NAME>",
      "workspace (else TARBOX_WORKSPACE)",
      Deno.env.get("TARBOX_WORKSPACE") ?? "main",
    )
    .option("--json", "print facts as JSON")
    .option("--quiet", "print nothing but errors and what was asked for")
    .option("--debug", "show where an error happened")
    .configureHelp({ showGlobalOptions: true })
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({
      outputError: (text, write) => write(text.replace(/^error: /, "tarbox: ")),
    });
}

/** The whole command line, ready to parse. */
export async function buildProgram(): Promise<Command> {
  const program = frame();
  await addCommands(program);
  return program;
}

/** Parses the arguments and runs the command; sets the exit status of the process. */
export async function main(args: readonly string[]): Promise<void> {
  if (args.length === 1 && (args[0] === "--version" || args[0] === "-V")) {
    console.log(VERSION);
    return;
  }
  try {
    const program = await buildProgram();
    if (args.length === 0) {
      program.outputHelp();
      Deno.exitCode = 2;
      return;
    }
    await program.parseAsync([...args], { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) {
      Deno.exitCode = error.exitCode === 0 ? 0 : 2;
      return;
    }
    Deno.exitCode = tell(error, args.includes("--debug"));
  }
}
