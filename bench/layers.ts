/** Rows that only Tarbox has: layers by the number of files and of layers, and a tree of a million. */
import { join } from "node:path";
import type { Fixtures } from "./fixtures.ts";
import { type Row, type Work, workBetween } from "./measure.ts";
import { makeCold, settle, type Tarbox } from "./targets.ts";
import { type Home, run } from "./tarbox.ts";

const FILES = { small: [1000, 5000], full: [1000, 20_000, 200_000] } as const;
const LAYERS = { small: [10, 300], full: [10, 1000, 10_000] } as const;
const MANY = { small: 20_000, full: 1_000_000 } as const;

async function timed(work: () => void | Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** Checkpoint, switch, fork and diff at growing numbers of files; one file changes between. */
export async function layerRows(
  target: Tarbox,
  fixtures: Fixtures,
  runs: number,
  wanted: (name: string) => boolean,
): Promise<Row[]> {
  const rows: Row[] = [];
  const root = target.directory;
  const control = join(root, ".tarbox/layers");
  for (const count of FILES[fixtures.size]) {
    const names = ["checkpoint", "switch", "fork", "diff"].map((what) => `${what}, ${count} files`);
    if (!names.some(wanted)) continue;
    const tree = join(root, `files-${count}`);
    await Deno.mkdir(tree);
    await run([fixtures.filesProgram, "create", tree, String(count), "100"]);
    await settle(target);
    await target.home.tarbox("checkpoint", `base-${count}`);
    const times = new Map(names.map((name) => [name, [] as number[]]));
    const works = new Map<string, Work>();
    for (let i = 0; i < runs; i++) {
      const steps: (() => void | Promise<unknown>)[] = [
        () => Deno.writeTextFileSync(join(control, "new"), `layer-${count}-${i}`),
        () => Deno.writeTextFileSync(join(control, "switch"), `base-${count}`),
        () => target.home.tarbox("fork", `fork-${count}-${i}`, "--from", `base-${count}`),
        () =>
          run([...target.home.command("diff", `base-${count}`, `layer-${count}-${i}`)], {
            env: target.home.env,
            status: [1],
          }),
      ];
      for (const [step, name] of names.entries()) {
        if (step === 0) Deno.writeTextFileSync(join(tree, "0/0"), `run ${i}\n`);
        const before = target.counts();
        times.get(name)!.push(await timed(steps[step]!));
        works.set(name, workBetween(before, target.counts()));
      }
    }
    for (const name of names) {
      rows.push({ name, milliseconds: { tarbox: times.get(name)! }, work: works.get(name)! });
    }
    await run(["rm", "-rf", tree]);
    await settle(target);
  }
  return rows;
}

/** Checkpoint, switch, undo and fork with more and more layers in the workspace. */
export async function layerCountRows(
  target: Tarbox,
  fixtures: Fixtures,
  runs: number,
  wanted: (name: string) => boolean,
): Promise<Row[]> {
  const rows: Row[] = [];
  const control = join(target.directory, ".tarbox/layers");
  const file = join(target.directory, "layer-count");
  let layers = 0;
  for (const count of LAYERS[fixtures.size]) {
    const names = ["checkpoint without a name", "switch", "undo", "fork"]
      .map((what) => `${what}, ${count} layers`);
    if (!names.some(wanted)) continue;
    for (; layers < count; layers++) {
      Deno.writeTextFileSync(join(control, "new"), `many-${layers}`);
    }
    const times = new Map(names.map((name) => [name, [] as number[]]));
    const works = new Map<string, Work>();
    for (let i = 0; i < runs; i++) {
      const steps: (() => void | Promise<unknown>)[] = [
        () => target.home.tarbox("checkpoint"),
        () => Deno.writeTextFileSync(join(control, "switch"), "many-3"),
        () => target.home.tarbox("undo"),
        () => target.home.tarbox("fork", `of-${count}-${i}`),
      ];
      for (const [step, name] of names.entries()) {
        Deno.writeTextFileSync(file, `${count} ${i} ${step}\n`);
        const before = target.counts();
        times.get(name)!.push(await timed(steps[step]!));
        works.set(name, workBetween(before, target.counts()));
      }
    }
    for (const name of names) {
      rows.push({ name, milliseconds: { tarbox: times.get(name)! }, work: works.get(name)! });
    }
  }
  return rows;
}

/** The npm tree as an OCI image archive, written and read into an empty home that runs already. */
export async function imageRows(
  target: Tarbox,
  other: Home,
  fixtures: Fixtures,
  runs: number,
  wanted: (name: string) => boolean,
): Promise<Row[]> {
  const names = ["export of the npm tree", "import of the npm tree"] as const;
  if (!names.some(wanted)) return [];
  const archive = `${other.home}.tar`;
  const exports: number[] = [];
  const imports: number[] = [];
  await run(["tar", "xf", fixtures.tree], { cwd: target.directory });
  await settle(target);
  await target.home.tarbox("checkpoint", "npm-tree");
  for (let i = 0; i < runs; i++) {
    exports.push((await target.home.tarbox("export", "npm-tree", "-o", archive)).milliseconds);
    try {
      await other.tarbox("db", "start");
      await other.tarbox("init");
      imports.push((await other.tarbox("import", archive)).milliseconds);
    } finally {
      await other.close();
      await Deno.remove(other.home, { recursive: true });
      await Deno.remove(archive);
    }
  }
  await run(["rm", "-rf", join(target.directory, "node_modules")]);
  await settle(target);
  return [
    { name: names[0], milliseconds: { tarbox: exports }, work: null },
    { name: names[1], milliseconds: { tarbox: imports }, work: null },
  ];
}

/** Mounting a workspace of many files, and finding all of them once. */
export async function manyFilesRows(
  target: Tarbox,
  fixtures: Fixtures,
  runs: number,
  wanted: (name: string) => boolean,
): Promise<Row[]> {
  const count = MANY[fixtures.size];
  const names = [`mount of ${count} files`, `find and stat of ${count} files, cold`] as const;
  if (!names.some(wanted)) return [];
  const tree = join(target.directory, "many");
  await Deno.mkdir(tree);
  await run([fixtures.filesProgram, "create", tree, String(count), "0"]);
  const mounts: number[] = [];
  const finds: number[] = [];
  let work: Work | null = null;
  for (let i = 0; i < runs; i++) {
    await makeCold(target);
    await target.unmount();
    mounts.push(await timed(() => target.mount()));
    const before = target.counts();
    const find = `find ${tree} -printf '%p %s %m %T@\\n' > /dev/null`;
    finds.push(await timed(() => run(["sh", "-c", find])));
    work = workBetween(before, target.counts());
  }
  await run(["rm", "-rf", tree]);
  await settle(target);
  return [
    { name: names[0], milliseconds: { tarbox: mounts }, work: null },
    { name: names[1], milliseconds: { tarbox: finds }, work },
  ];
}
