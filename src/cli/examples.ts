/**
 * The end of a command's help: command lines that work as they stand. `tests/cli/help_test.ts` reads
 * them back and holds them against the command's own options and arguments.
 */
export function examples(...lines: readonly string[]): string {
  return ["", "Examples:", ...lines.map((line) => `  $ ${line}`)].join("\n");
}
