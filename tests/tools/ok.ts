/**
 * `deno task ok`: the gate before a commit: form, types, structure, and every test but those that
 * drive the compiled binary (`deno task test` runs these, too).
 */
const steps: readonly (readonly string[])[] = [
  ["fmt", "--check"],
  ["lint"],
  ["check", "main.ts", "src", "tests"],
  ["test", "-A", "--parallel", "--ignore=tests/e2e,tests/tools", "src", "tests"],
];

for (const args of steps) {
  const { code } = await new Deno.Command(Deno.execPath(), { args: [...args] }).spawn().status;
  if (code !== 0) Deno.exit(code);
}
