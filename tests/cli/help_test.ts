/**
 * The command line as its users read it: every command says what it is for, what each of its options
 * and arguments means, and shows examples that its own parser accepts; what the contract names is there.
 */
import assert from "node:assert/strict";
import type { Command } from "commander";
import { buildProgram, main } from "../../src/cli/program.ts";

/** The contract: commands that exist, and the options that scripts rely on. */
const CONTRACT: Readonly<Record<string, string>> = {
  init: "--embedded",
  mount: "--foreground --read-only --at --allow-other --create",
  umount: "--force",
  status: "",
  checkpoint: "-m",
  layers: "--tree",
  switch: "--discard",
  fork: "--from",
  restore: "",
  drop: "",
  squash: "",
  rename: "",
  diff: "--stat --name-status --color",
  history: "--patch",
  export: "-o --format --compress --squash --since",
  import: "--name --switch",
  push: "",
  pull: "",
  ls: "",
  cat: "",
  stat: "",
  tree: "",
  stats: "",
  gc: "",
  fsck: "",
  "workspace list": "",
  "workspace info": "",
  "workspace delete": "",
  backup: "--to",
  recover: "",
  "db start": "",
  "db stop": "",
  "db status": "",
  "db url": "",
  "db psql": "",
  doctor: "",
  completions: "",
};

/** Options of every command. */
const GLOBAL = "--config --tenant --workspace --json --quiet --help --version";

/** Commands that run something, the words that lead to each. */
function leaves(program: Command): Map<string, Command> {
  const found = new Map<string, Command>();
  const walk = (command: Command, words: readonly string[]) => {
    const below = command.createHelp().visibleCommands(command)
      .filter((sub) => sub.name() !== "help");
    if (below.length === 0) found.set(words.join(" "), command);
    for (const sub of below) walk(sub, [...words, sub.name()]);
  };
  walk(program, []);
  return found;
}

/** What `--help` prints. */
function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({ writeOut: (part) => text += part });
  command.outputHelp();
  return text;
}

function flagsOf(command: Command): string[] {
  return command.createHelp().visibleOptions(command)
    .flatMap(({ short, long }) => [short, long].filter((flag) => flag !== undefined));
}

/** Words of an example after its last `tarbox`, up to what the shell takes. */
function wordsOf(example: string): string[] {
  const [, rest] = example.match(/.*(?:^|[ (])tarbox ([^|>)]*)/) ?? [];
  assert.ok(rest !== undefined, `no tarbox in: ${example}`);
  return [...rest.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)]
    .map(([, double, single, bare]) => double ?? single ?? bare!);
}

Deno.test("the contract's commands and options are there", async () => {
  const program = await buildProgram();
  const commands = leaves(program);
  assert.deepEqual(
    GLOBAL.split(" ").filter((flag) => !flagsOf(program).includes(flag)),
    [],
    "global options",
  );
  for (const [words, options] of Object.entries(CONTRACT)) {
    const command = commands.get(words);
    assert.ok(command !== undefined, `no command ${words}`);
    const flags = flagsOf(command);
    const missing = options.split(" ").filter((flag) => flag !== "" && !flags.includes(flag));
    assert.deepEqual(missing, [], `options of ${words}`);
  }
});

Deno.test("every command explains itself, its options and its arguments", async () => {
  const program = await buildProgram();
  for (const [words, command] of leaves(program)) {
    assert.match(command.description(), /^\S.{9,119}$/, `description of ${words}`);
    for (const option of command.options) {
      assert.notEqual(option.description, "", `${words}: ${option.flags}`);
    }
    for (const argument of command.registeredArguments) {
      assert.notEqual(argument.description, "", `${words}: ${argument.name()}`);
    }
    assert.match(helpOf(command), /Global Options:[^]*--workspace <NAME>/, words);
  }
});

Deno.test("every command's help has examples, and its own parser takes them", async () => {
  const names = [...leaves(await buildProgram()).keys()];
  for (const words of names) {
    const command = leaves(await buildProgram()).get(words)!;
    const [, shown] = helpOf(command).split("\nExamples:\n");
    assert.ok(shown !== undefined, `${words} has no examples`);
    const examples = shown.trimEnd().split("\n");
    assert.ok(examples.length > 0);
    for (const line of examples) {
      const example = line.replace(/^ {2}\$ /, "");
      assert.notEqual(example, line, `${words}: ${line}`);
      await parse(wordsOf(example), words, example);
    }
  }
});

/** Parses a command line as the program does, up to the point where the command would run. */
async function parse(args: readonly string[], words: string, example: string): Promise<void> {
  const program = await buildProgram();
  let ran: string | null = null;
  for (const [name, command] of leaves(program)) {
    command.action(() => {
      ran = name;
    });
  }
  await program.parseAsync([...args], { from: "user" }).catch((error) => {
    assert.fail(`${example}: ${error.message}`);
  });
  assert.equal(ran, words, example);
}

Deno.test("wrong usage ends with status 2", async () => {
  const status = async (...args: string[]) => {
    await main(args);
    const code = Deno.exitCode;
    Deno.exitCode = 0;
    return code;
  };
  for (const [words, command] of leaves(await buildProgram())) {
    const path = words.split(" ");
    assert.equal(await status(...path, "--no-such-option"), 2, `${words} --no-such-option`);
    if (command.registeredArguments.some(({ required }) => required)) {
      assert.equal(await status(...path), 2, `${words} without its arguments`);
    }
    if (!command.registeredArguments.some(({ variadic }) => variadic)) {
      const many = command.registeredArguments.map(({ argChoices }) => argChoices?.[0] ?? "x");
      assert.equal(await status(...path, ...many, "one", "more"), 2, `${words} with too many`);
    }
  }
  assert.equal(await status(), 2, "nothing at all");
  assert.equal(await status("db"), 2, "a group without its command");
  assert.equal(await status("mont", "/mnt/work"), 2, "no such command");
  assert.equal(await status("--help"), 0);
  assert.equal(await status("db", "start", "--help"), 0);
});
