/**
 * `deno task bench [--runs N] [--size small|full] [--only NAME…]`: every workload on the machine's
 * disk, on bindfs and fuse-overlayfs over it, and on Tarbox, interleaved. Prints the table, and
 * writes JSON and a chart into `bench/results/`. To be run as root, on a machine that does nothing
 * else; `TMPDIR` names the disk.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { packages } from "../tests/tools/packages.ts";
import { chart } from "./chart.ts";
import { makeFixtures, type Size } from "./fixtures.ts";
import { imageRows, layerCountRows, layerRows, manyFilesRows } from "./layers.ts";
import { measure, type Row } from "./measure.ts";
import { nullRow } from "./null.ts";
import { machine, type Results, table, workTable } from "./report.ts";
import { Home, run, tarboxBinary } from "./tarbox.ts";
import { allTargets, type Tarbox } from "./targets.ts";
import { workloads } from "./workloads.ts";

/** Programs that the bench drives, and the Debian package of each. */
const PROGRAMS = [
  ["bindfs", "bindfs"],
  ["fuse-overlayfs", "fuse-overlayfs"],
  ["fio", "fio"],
  ["sqlite3", "sqlite3"],
  ["gcc", "gcc"],
] as const;

const { values, positionals } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: {
    runs: { type: "string", default: "5" },
    size: { type: "string", default: "full" },
    only: { type: "string", multiple: true, default: [] },
    "no-results": { type: "boolean", default: false },
  },
});
const only = [...values.only, ...positionals];
const runs = Number(values.runs);
const size = values.size as Size;
if (!(runs >= 1) || !["small", "full"].includes(size)) {
  console.error("usage: deno task bench [--runs N] [--size small|full] [--only NAME]…");
  Deno.exit(2);
}

/** Whether a row was asked for: by a part of its name. */
function wanted(name: string): boolean {
  return only.length === 0 || only.some((part) => name.includes(part));
}

/** Says how far it is, on stderr. */
function progress(name: string): void {
  console.error(`${new Date().toISOString().slice(11, 19)}  ${name}`);
}

async function everything(base: string): Promise<Row[]> {
  const binary = await tarboxBinary();
  progress("making fixtures");
  const fixtures = await makeFixtures(base, size);
  progress(`${fixtures.files} files and directories in the npm tree`);
  const targets = allTargets(binary, base);
  const tarbox = targets.at(-1) as Tarbox;
  const rows: Row[] = [];
  try {
    for (const target of targets) await target.mount();
    for (const workload of workloads(fixtures)) {
      if (!wanted(workload.name)) continue;
      progress(workload.name);
      rows.push(await measure(workload, targets, runs));
    }
    rows.push(...await layerRows(tarbox, fixtures, runs, wanted));
    rows.push(...await layerCountRows(tarbox, fixtures, runs, wanted));
    const other = new Home(binary, base, "other");
    rows.push(...await imageRows(tarbox, other, fixtures, runs, wanted));
    rows.push(...await manyFilesRows(tarbox, fixtures, runs, wanted));
  } finally {
    for (const target of targets) await target.close();
  }
  if (wanted("stat that asks the server")) rows.push(await nullRow(base, fixtures, runs));
  return rows;
}

await packages(PROGRAMS);
const base = await Deno.makeTempDir({ prefix: "tarbox-bench-" });
await Deno.chmod(base, 0o755);
try {
  const rows = await everything(base);
  const commit = (await run(["git", "rev-parse", "--short=10", "HEAD"])).output.trim();
  const date = new Date().toISOString();
  const results: Results = { commit, date, machine: machine(), size, runs, rows };
  console.log(`${table(rows)}\n\n${workTable(rows)}`);
  if (!values["no-results"]) {
    const stem = join("bench/results", `${date.slice(0, 10)}-${commit}-${size}`);
    await Deno.mkdir("bench/results", { recursive: true });
    await Deno.writeTextFile(`${stem}.json`, JSON.stringify(results, null, 1) + "\n");
    await Deno.writeTextFile(`${stem}.svg`, chart(results));
    console.log(`\n${stem}.json and .svg`);
  }
} finally {
  await Deno.remove(base, { recursive: true });
}
Deno.exit();
