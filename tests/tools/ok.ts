/** `deno task ok`: the gate before a commit: form, types and the unit tests. */
const steps: readonly (readonly string[])[] = [
  ["fmt", "--check"],
  ["lint"],
  ["check", "main.ts", "src", "tests"],
  ["test", "-A", "--parallel", "src", "tests/structure_test.ts", "tests/vfs"],
];

for (const args of steps) {
  const { code } = await new Deno.Command(Deno.execPath(), { args: [...args] }).spawn().status;
  if (code !== 0) Deno.exit(code);
}
