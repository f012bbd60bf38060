/** Completion scripts, run by the shells that they are for. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { buildProgram } from "../../src/cli/program.ts";
import { runBounded } from "../tools/process.ts";

/** Runs a shell with the script of its name in a file; returns what it printed, line by line. */
async function shell(name: string, args: readonly string[], cwd?: string): Promise<string[]> {
  const ended = await runBounded(name, args, { limitSeconds: 60, cwd });
  assert.equal(ended.code, 0, ended.output);
  return ended.output.split("\n").filter((line) => line !== "");
}

/** Hands the file with a shell's script to a test, in a directory with a file `archive.tar`. */
async function withScript(
  name: string,
  test: (script: string, directory: string) => Promise<void>,
): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "tarbox-completions-" });
  try {
    const script = join(directory, "script");
    const { code, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--frozen", "main.ts", "completions", name],
    }).output();
    assert.equal(code, 0);
    await Deno.writeFile(script, stdout);
    await Deno.writeTextFile(join(directory, "archive.tar"), "");
    await test(script, directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

async function commandNames(): Promise<string[]> {
  const program = await buildProgram();
  return program.createHelp().visibleCommands(program).map((command) => command.name()).sort();
}

Deno.test("bash completes commands, options, their values and files", async () => {
  await withScript("bash", async (script, directory) => {
    await shell("bash", ["-n", script]);
    const complete = async (...words: string[]) =>
      (await shell("bash", [
        "--norc",
        "-c",
        'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tarbox; ' +
        'printf "%s\\n" "${COMPREPLY[@]}"',
        script,
        ...words,
      ], directory)).sort();
    assert.deepEqual(await complete("tarbox", ""), await commandNames());
    assert.deepEqual(await complete("tarbox", "mo"), ["mount"]);
    assert.deepEqual(await complete("tarbox", "--tenant", "db", "checkp"), ["checkpoint"]);
    assert.deepEqual(await complete("tarbox", "db", "st"), ["start", "status", "stop"]);
    assert.deepEqual(await complete("tarbox", "mount", "--cr"), ["--create"]);
    assert.deepEqual(await complete("tarbox", "mount", "--works"), ["--workspace"]);
    assert.deepEqual(await complete("tarbox", "import", "arch"), ["archive.tar"]);
    assert.deepEqual(await complete("tarbox", "--config", "arch"), ["archive.tar"]);
    assert.deepEqual(await complete("tarbox", "--tenant", "arch"), []);
    assert.deepEqual(await complete("tarbox", "completions", ""), ["bash", "fish", "zsh"]);
  });
});

Deno.test("fish completes commands, options, their values and files", async () => {
  await withScript("fish", async (script, directory) => {
    await shell("fish", ["-n", script]);
    const complete = async (line: string) =>
      (await shell(
        "fish",
        ["-N", "-c", 'source $argv[1]; complete -C "$argv[2]"', script, line], //
        directory,
      )).map((found) => found.split("\t")[0]).sort();
    assert.deepEqual(await complete("tarbox "), await commandNames());
    assert.deepEqual(await complete("tarbox --tenant db checkp"), ["checkpoint"]);
    assert.deepEqual(await complete("tarbox db st"), ["start", "status", "stop"]);
    assert.deepEqual(await complete("tarbox mount --cr"), ["--create"]);
    assert.deepEqual(await complete("tarbox import arch"), ["archive.tar"]);
    assert.deepEqual(await complete("tarbox --config arch"), ["archive.tar"]);
    assert.deepEqual(await complete("tarbox --tenant arch"), []);
    assert.deepEqual(await complete("tarbox completions "), ["bash", "fish", "zsh"]);
  });
});

/** Types a line and a tab into an interactive zsh; prints what stands there once it is complete. */
const ZSH = `
zmodload zsh/zpty
zpty shell "TERM=dumb zsh -f -i"
zpty -w shell "PS1=; autoload -Uz compinit; compinit -u -D; source $1; cd $2; echo re''ady"
zpty -r -m shell output "*ready*"
shift 2
while (( $# )); do
  zpty -w -n shell "$1"$'\\t'
  zpty -r -m shell output "*$2*" && print -r -- "$2"
  zpty -w -n shell $'\\x15'
  shift 2
done
zpty -d shell
`;

Deno.test("zsh completes commands, options and files", async () => {
  await withScript("zsh", async (script, directory) => {
    await shell("zsh", ["-n", script]);
    const typed = {
      "tarbox mou": "tarbox mount ",
      "tarbox --tenant db checkp": "tarbox --tenant db checkpoint ",
      "tarbox mount --cr": "tarbox mount --create ",
      "tarbox import arch": "tarbox import archive.tar ",
      "tarbox completions fi": "tarbox completions fish ",
    };
    const found = await shell(
      "zsh",
      ["-f", "-c", ZSH, "zsh", script, directory, ...Object.entries(typed).flat()],
      directory,
    );
    assert.deepEqual(found.map((line) => line.trim()), Object.values(typed).map((t) => t.trim()));
  });
});
