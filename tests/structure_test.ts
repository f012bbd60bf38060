/**
 * The house rules that a reader relies on: which folder may import which, no file that nothing
 * reaches, no giant, every export documented.
 */
import { dirname, join, relative } from "node:path/posix";
import { fileURLToPath, pathToFileURL } from "node:url";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Folder of `src/` to the folders it may import (its own is always one of them). */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  store: ["base"],
  layer: ["base", "store"],
  journal: ["base", "store", "layer"],
  vfs: ["base", "store", "layer", "journal"],
  fuse: ["base", "store", "layer", "journal", "vfs"],
  oci: ["base", "store", "layer"],
  engine: ["base"],
  mount: ["base", "store", "layer", "journal", "vfs", "fuse", "engine"],
  csi: ["base", "layer"],
};

/** Constants by the names that manuals and kernel headers give them say what they are. */
const NAMED_ELSEWHERE = /^[A-Z][A-Z0-9_]*$/;

/** `cli/` puts everything together and nothing imports it but `main.ts`. */
const SEES_ALL = "cli";

const LINES_MAX = 500;

/** Files longer than {@link LINES_MAX}, and why each is one room. */
const LONG_FILES: Readonly<Record<string, string>> = {
  "src/vfs/mounted.ts": "one method for each operation of the kernel, most of them a few lines",
  "src/vfs/tree.ts": "the one owner of what memory knows of a tree, and of when it forgets",
};

const FORBIDDEN_FOLDERS = /(^|\/)(utils?|helpers?|managers?|types|models)(\/|$)/;

interface Module {
  readonly specifier: string;
  readonly dependencies?: readonly {
    readonly specifier: string;
    readonly code?: { readonly specifier?: string };
    readonly type?: { readonly specifier?: string };
  }[];
}

async function deno(args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

async function sources(directory: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(join(ROOT, directory))) {
    const path = `${directory}/${name}`;
    if (isDirectory) found.push(...await sources(path));
    else if (name.endsWith(".ts")) found.push(path);
  }
  return found.sort();
}

/** Workers are started by a URL of their file, which is no import. */
async function workersOf(path: string): Promise<string[]> {
  const text = await Deno.readTextFile(join(ROOT, path));
  return [...text.matchAll(/new URL\(\s*"(\.[^"]+\.ts)",\s*import\.meta\.url/g)]
    .map(([, target]) => join(dirname(path), target!));
}

/** Local files of this tree that these files reach, each with what it imports. */
async function graph(roots: readonly string[]): Promise<Map<string, readonly string[]>> {
  const edges = new Map<string, readonly string[]>();
  for (let open = [...roots]; open.length > 0;) {
    const entry = await Deno.makeTempFile({ suffix: ".ts" });
    const imports = open.map((path) =>
      `import ${JSON.stringify(pathToFileURL(join(ROOT, path)).href)};`
    );
    await Deno.writeTextFile(entry, imports.join("\n"));
    const text = await deno(["info", "--json", "--config", "deno.json", entry]);
    await Deno.remove(entry);
    const { modules } = JSON.parse(text) as { modules: readonly Module[] };
    open = [];
    for (const { specifier, dependencies = [] } of modules) {
      const path = local(specifier);
      if (path === null) continue;
      const targets = dependencies.flatMap(({ code, type }) => [code?.specifier, type?.specifier])
        .flatMap((target) => target === undefined ? [] : local(target) ?? []);
      edges.set(path, targets);
    }
    for (const path of [...edges.keys()]) {
      for (const worker of await workersOf(path)) if (!edges.has(worker)) open.push(worker);
    }
  }
  return edges;
}

function local(specifier: string): string | null {
  if (!specifier.startsWith("file://")) return null;
  const path = relative(ROOT, fileURLToPath(specifier));
  return path.startsWith("..") || !path.endsWith(".ts") ? null : path;
}

function folderOf(path: string): string | null {
  return path.startsWith("src/") ? path.split("/")[1]! : null;
}

function expectNone(what: string, faults: readonly string[]): void {
  if (faults.length > 0) throw new Error(`${what}:\n${faults.join("\n")}`);
}

Deno.test("folders import only what the architecture allows", async () => {
  const files = (await sources("src")).filter((path) => !path.endsWith("_test.ts"));
  const faults: string[] = [];
  for (const [path, targets] of await graph(["main.ts", ...files])) {
    const from = folderOf(path);
    if (from === null || from === SEES_ALL) continue;
    const allowed = MAY_IMPORT[from];
    if (allowed === undefined) {
      faults.push(`${path}: the table has no folder ${from}`);
      continue;
    }
    for (const target of targets) {
      const to = folderOf(target);
      if (to === null) faults.push(`${path} imports ${target}, which is outside src/`);
      else if (to !== from && !allowed.includes(to)) faults.push(`${path} imports ${target}`);
    }
  }
  expectNone("imports against the direction", faults);
});

Deno.test("the program reaches every file, and tests reach what is theirs", async () => {
  const all = await sources("src");
  const program = await graph(["main.ts"]);
  const tests = [...all, ...await sources("tests"), ...await sources("bench").catch(() => [])]
    .filter((path) => path.endsWith("_test.ts") || !path.startsWith("src/"));
  const tested = await graph(tests);
  const forTests = /(^|\/)(testing_|golden|[a-z_]*fixture)/;
  const dead = all.filter((path) => !program.has(path))
    .filter((path) => !path.endsWith("_test.ts"))
    // The memory store is the oracle of the tests (spec/architecture.md).
    .filter((path) => !path.startsWith("src/store/memory/") && !forTests.test(path));
  expectNone("files that the program does not reach", dead);
  const idle = all.filter((path) => !program.has(path) && !tested.has(path));
  expectNone("files that no test reaches either", idle);
});

Deno.test("no file is a giant, no folder a drawer", async () => {
  const faults: string[] = [];
  for (const path of [...await sources("src"), ...await sources("tests")]) {
    if (FORBIDDEN_FOLDERS.test(dirname(path))) {
      faults.push(`${path}: name what the folder is about`);
    }
    const lines = (await Deno.readTextFile(join(ROOT, path))).split("\n").length - 1;
    if (lines > LINES_MAX && LONG_FILES[path] === undefined) faults.push(`${path}: ${lines} lines`);
    if (lines <= LINES_MAX && LONG_FILES[path] !== undefined) faults.push(`${path}: long no more`);
  }
  expectNone("files and folders", faults);
});

interface DocumentedModule {
  readonly symbols: readonly {
    readonly name: string;
    readonly declarations: readonly {
      readonly location: { readonly filename: string; readonly line: number };
      readonly declarationKind: string;
      readonly jsDoc?: { readonly doc?: string; readonly tags?: readonly unknown[] };
    }[];
  }[];
}

Deno.test("every export says what it is", async () => {
  const files = (await sources("src")).filter((path) => !path.endsWith("_test.ts"));
  const { nodes } = JSON.parse(await deno(["doc", "--json", ...files])) as {
    nodes: Readonly<Record<string, DocumentedModule>>;
  };
  const faults: string[] = [];
  let exports = 0;
  for (const { symbols } of Object.values(nodes)) {
    for (const { name, declarations } of symbols) {
      const exported = declarations.filter((d) => d.declarationKind === "export");
      if (exported.length === 0 || NAMED_ELSEWHERE.test(name)) continue;
      exports++;
      if (exported.some(({ jsDoc }) => jsDoc?.doc || jsDoc?.tags?.length)) continue;
      const { filename, line } = exported[0]!.location;
      // What a package declares and a module hands on has its words there.
      if (local(filename) === null) continue;
      faults.push(`${local(filename)}:${line + 1} ${name}`);
    }
  }
  if (exports < 100) throw new Error(`only ${exports} exports were seen: the format has changed`);
  expectNone("exports without a doc comment", faults);
});
