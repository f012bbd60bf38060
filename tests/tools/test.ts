/**
 * `deno task test`: everything that CI checks. Each test file is a process of its own with a limit,
 * and the whole has one: a hang is a failure with a name, never a run without an end.
 * `deno task ok` (`--gate`), before each commit: the same without the tests that drive the compiled
 * binary. Paths as arguments run only the test files beneath them.
 */
import { packages } from "./packages.ts";
import { type Ended, runBounded, unmountBeneath } from "./process.ts";

/** Seconds that one file of tests may take. */
const FILE_LIMIT_SECONDS = 240;

/** Seconds after which what has not run counts as failed. */
const TOTAL_LIMIT_SECONDS = 17 * 60;

/** Unit tests that run side by side; files that mount or start engines run alone. */
const PARALLEL = 2;

const started = Date.now();
let passed = 0;
let failed = 0;

function left(): number {
  return TOTAL_LIMIT_SECONDS - (Date.now() - started) / 1000;
}

/** Tells how something that began at `since` ended: seconds of the run, and its own. */
function check(name: string, since: number, ended: Ended): boolean {
  const seconds = ((Date.now() - started) / 1000).toFixed(0);
  const own = ((Date.now() - since) / 1000).toFixed(1);
  if (ended.code === 0 && !ended.timedOut) {
    console.log(`${seconds} s  ok  ${name}  (${own} s)`);
    return true;
  }
  console.log(ended.output);
  console.log(`${seconds} s  FAILED  ${name}  (${own} s${ended.timedOut ? ": time limit" : ""})`);
  return false;
}

/** One check that is no test file: counts as one. */
async function step(name: string, args: readonly string[], limitSeconds = 300): Promise<boolean> {
  const since = Date.now();
  const ended = await runBounded(Deno.execPath(), args, { limitSeconds });
  const ok = check(name, since, ended);
  if (ok) passed++;
  else failed++;
  return ok;
}

async function testFile(path: string, env: Record<string, string>): Promise<void> {
  if (left() < 10) {
    console.log(`not run, the time is up: ${path}`);
    failed++;
    return;
  }
  const directory = await Deno.makeTempDir({ prefix: "tarbox-test-" });
  // Tests that act as another user write here, too.
  await Deno.chmod(directory, 0o1777);
  const since = Date.now();
  // `deno check` has checked them all.
  const ended = await runBounded(Deno.execPath(), ["test", "-A", "--no-check", "--frozen", path], {
    limitSeconds: Math.min(FILE_LIMIT_SECONDS, left()),
    env: { ...env, TMPDIR: directory, NO_COLOR: "1" },
  });
  await unmountBeneath(directory);
  await Deno.remove(directory, { recursive: true }).catch((error) => console.log(String(error)));
  const summary = ended.output.match(/(\d+) passed.*?\| (\d+) failed/);
  const ok = check(path, since, ended);
  passed += Number(summary?.[1] ?? 0);
  const failures = Number(summary?.[2] ?? 0);
  failed += ok ? failures : Math.max(1, failures);
}

async function* testFiles(directory: string): AsyncGenerator<string> {
  for await (const entry of Deno.readDir(directory)) {
    const path = `${directory}/${entry.name}`;
    if (entry.isDirectory) yield* testFiles(path);
    else if (entry.name.endsWith("_test.ts")) yield path;
  }
}

/** Files that need the machine for themselves: real mounts, engines, the compiled binary. */
function needsMachine(path: string): boolean {
  return /^tests\/(e2e|posix)\//.test(path) ||
    /(mount|engine|postgres)[a-z_]*_test\.ts$/.test(path) ||
    /conformance/.test(path);
}

const COMPILED_ONLY = /^tests\/(e2e|budgets)\//;

async function main(): Promise<void> {
  const gate = Deno.args.includes("--gate");
  const chosen = Deno.args.filter((argument) => !argument.startsWith("--"));
  await packages();
  await step("deno fmt", ["fmt", "--check"]);
  await step("deno lint", ["lint"]);
  await step("deno check", ["check", "--frozen", "main.ts", "src", "tests", "bench"]);
  const compiled = !gate &&
    await step("compile", ["run", "-A", "--frozen", "tests/tools/compile.ts"]);
  const env: Record<string, string> = compiled
    ? { TARBOX_BINARY: `${Deno.cwd()}/dist/tarbox` }
    : {};
  const files = [
    ...await Array.fromAsync(testFiles("src")),
    ...await Array.fromAsync(testFiles("tests")),
  ].sort()
    .filter((path) => !gate || !COMPILED_ONLY.test(path))
    .filter((path) => chosen.length === 0 || chosen.some((prefix) => path.startsWith(prefix)));
  const queue = files.filter((path) => !needsMachine(path));
  await Promise.all(Array.from({ length: PARALLEL }, async () => {
    for (let path = queue.shift(); path !== undefined; path = queue.shift()) {
      await testFile(path, env);
    }
  }));
  for (const path of files.filter(needsMachine)) await testFile(path, env);
}

try {
  await main();
} catch (error) {
  console.error(error);
  failed++;
}
console.log(`${passed} passed, ${failed} failed`);
Deno.exit(failed === 0 ? 0 : 1);
