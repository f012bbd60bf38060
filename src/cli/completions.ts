import { Argument, type Command, type Option } from "commander";
import { examples } from "./examples.ts";
import { print } from "./session.ts";

/** Placeholders of options and arguments that are files of this machine. */
const FILES = /^<?\[?(FILE|DIR|COMMAND)\b/;

/** One command as a shell completes it. */
interface Place {
  /** Words that lead here, `tarbox` first. */
  readonly words: string;
  readonly commands: readonly { readonly name: string; readonly says: string }[];
  /** Its own options and those of every command. */
  readonly options: readonly Choice[];
  /** What its arguments may be: given words, or files. */
  readonly values: readonly string[];
  readonly files: boolean;
}

/** One option as a shell completes it. */
interface Choice {
  readonly flags: readonly string[];
  readonly says: string;
  readonly takesValue: boolean;
  readonly files: boolean;
}

/** `completions`: made from the command line itself, so it knows all of it. */
export function addCompletionsCommand(program: Command): void {
  const shells: Readonly<Record<string, (places: readonly Place[]) => string>> = {
    bash,
    zsh,
    fish,
  };
  program
    .command("completions")
    .description("print a script that completes commands and options in a shell")
    .addArgument(new Argument("<SHELL>", "which shell").choices(Object.keys(shells)))
    .addHelpText(
      "after",
      examples(
        'eval "$(tarbox completions bash)"',
        'tarbox completions zsh > "${fpath[1]}/_tarbox"',
        "tarbox completions fish > ~/.config/fish/completions/tarbox.fish",
      ),
    )
    .action(async (shell: string) => await print(shells[shell]!(placesOf(program))));
}

/** Every command that a person types, the program itself first. */
function placesOf(program: Command): Place[] {
  const global = optionsOf(program);
  const places: Place[] = [];
  const add = (command: Command, words: string) => {
    const below = command.createHelp().visibleCommands(command);
    places.push({
      words,
      commands: below.map((sub) => ({ name: sub.name(), says: sub.description() })),
      options: command === program ? global : [...optionsOf(command), ...global],
      values: command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
      files: command.registeredArguments.some((argument) => FILES.test(argument.name())),
    });
    for (const sub of below) {
      // Commander's own `help` has the names of commands as its argument.
      if (sub.name() !== "help") add(sub, `${words} ${sub.name()}`);
    }
  };
  add(program, "tarbox");
  return places;
}

function optionsOf(command: Command): Choice[] {
  return command.createHelp().visibleOptions(command).map((option: Option) => ({
    flags: [option.short, option.long].filter((flag) => flag !== undefined),
    says: option.description,
    takesValue: option.required || option.optional,
    files: FILES.test(option.flags.replace(/^[^<[]*/, "")),
  }));
}

/** `PLACE FLAG` of each option with a value that `wanted` takes. */
function valued(places: readonly Place[], wanted: (choice: Choice) => boolean): string[] {
  return places.flatMap(({ words, options }) =>
    options.filter((option) => option.takesValue && wanted(option))
      .flatMap(({ flags }) => flags.map((flag) => `${words} ${flag}`))
  );
}

/** A text in single quotes, for bash and zsh. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Alternatives of a `case` of bash and zsh. */
function pattern(texts: readonly string[]): string {
  return texts.map(quoted).join(" | ");
}

function subcommands(places: readonly Place[]): string[] {
  return places.slice(1).map(({ words }) => words);
}

/** Walks the words before the cursor; the same in bash and zsh but for where the words are. */
function walk(places: readonly Place[], first: number, end: string, word: string): string {
  return `  local place=tarbox skip= word= i
  for ((i = ${first}; i < ${end}; i++)); do
    if [[ -n $skip ]]; then skip=; continue; fi
    word=${word}
    case "$place $word" in
      ${pattern(valued(places, () => true))}) skip="$place $word" ;;
      ${pattern(subcommands(places))}) place="$place $word" ;;
    esac
  done`;
}

function bash(places: readonly Place[]): string {
  const cases = places.map(({ words, commands, options, values, files }) =>
    `    ${quoted(words)}) words=${
      quoted([...commands.map(({ name }) => name), ...values].join(" "))
    } options=${quoted(options.flatMap(({ flags }) => flags).join(" "))} files=${
      files ? "yes" : ""
    } ;;`
  );
  return `# bash completion of tarbox
_tarbox() {
  local current=\${COMP_WORDS[COMP_CWORD]} words= options= files=
${walk(places, 1, "COMP_CWORD", "${COMP_WORDS[i]}")}
  case $place in
${cases.join("\n")}
  esac
  if [[ -n $skip ]]; then
    words= files=
    case $skip in
      ${pattern(valued(places, ({ files }) => files))}) files=yes ;;
    esac
  elif [[ $current == -* ]]; then
    words=$options files=
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  if [[ -n $files ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current")
  fi
}
complete -F _tarbox tarbox
`;
}

function zsh(places: readonly Place[]): string {
  /** `name:what it says`, as `_describe` has it. */
  const described = (name: string, says: string) =>
    quoted(`${name.replaceAll(":", "\\:")}:${says.replaceAll(":", "\\:")}`);
  const cases = places.map(({ words, commands, options, values, files }) =>
    `    ${quoted(words)})
      commands=(${
      [
        ...commands.map(({ name, says }) => described(name, says)),
        ...values.map((value) => quoted(value)),
      ].join(" ")
    })
      options=(${
      options.flatMap(({ flags, says }) => flags.map((flag) => described(flag, says))).join(" ")
    })
      files=${files ? "yes" : ""} ;;`
  );
  return `#compdef tarbox
_tarbox() {
  local files=
  local -a commands options
${walk(places, 2, "CURRENT", "$words[i]")}
  case $place in
${cases.join("\n")}
  esac
  if [[ -n $skip ]]; then
    case $skip in
      ${pattern(valued(places, ({ files }) => files))}) _files ;;
    esac
    return
  fi
  if [[ $words[CURRENT] == -* ]]; then
    _describe -o option options
    return
  fi
  _describe command commands
  if [[ -n $files ]]; then _files; fi
}
# Found by its name in fpath, it is called; read by eval, it is made known.
if [[ $funcstack[1] == _tarbox ]]; then _tarbox "$@"; else compdef _tarbox tarbox; fi
`;
}

function fish(places: readonly Place[]): string {
  const escaped = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const lines = places.flatMap(({ words, commands, options, values, files }) => {
    const at = `complete -c tarbox -n ${escaped(`__tarbox_at ${escaped(words)}`)}`;
    return [
      ...commands.map(({ name, says }) => `${at} -a ${name} -d ${escaped(says)}`),
      ...values.map((value) => `${at} -a ${value}`),
      ...(files ? [`${at} -F`] : []),
      ...options.map((option) => {
        const flags = option.flags.map((flag) =>
          flag.startsWith("--") ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`
        ).join(" ");
        const value = option.takesValue ? (option.files ? " -r -F" : " -x") : "";
        return `${at} ${flags}${value} -d ${escaped(option.says)}`;
      }),
    ];
  });
  return `# fish completion of tarbox
function __tarbox_at
    set -l place tarbox
    set -l skip
    for word in (commandline -opc)[2..]
        if test -n "$skip"
            set skip
            continue
        end
        switch "$place $word"
            case ${valued(places, () => true).map(escaped).join(" ")}
                set skip yes
            case ${subcommands(places).map(escaped).join(" ")}
                set place "$place $word"
        end
    end
    test "$place" = "$argv[1]"
end
complete -c tarbox -f
${lines.join("\n")}
`;
}
