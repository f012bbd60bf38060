/** What workloads work on: real npm packages, a git repository, random bytes, small programs. */
import { join } from "node:path";
import { run } from "./tarbox.ts";

/** How much a workload does. */
export type Size = "small" | "full";

/** npm packages with many files. All together 34,000 files, 250 MB. */
const PACKAGES: Readonly<Record<Size, readonly string[]>> = {
  small: ["rxjs@7.8.1", "typescript@5.6.3"],
  full: [
    "rxjs@7.8.1",
    "typescript@5.6.3",
    "date-fns@4.1.0",
    "core-js@3.39.0",
    "lodash@4.17.21",
    "lodash-es@4.17.21",
    "ramda@0.30.1",
    "antd@5.22.2",
    "react@18.3.1",
    "react-dom@18.3.1",
    "@babel/preset-env@7.26.0",
    "@babel/core@7.26.0",
  ],
};

/** Sources of the TypeScript project; each imports the next and rxjs. */
const SOURCES: Readonly<Record<Size, number>> = { small: 20, full: 200 };

const GIT = ["-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "gc.auto=0"];

/** Where fixtures are, on the machine's disk. */
export interface Fixtures {
  readonly size: Size;
  /** Holds `package.json`, `package-lock.json` and a TypeScript project in `src`. */
  readonly project: string;
  /** The installed packages as one tar. */
  readonly tree: string;
  /** How many files and directories the tree has. */
  readonly files: number;
  /** npm's cache, with all that the project needs. */
  readonly npmCache: string;
  /** A bare git repository with two commits of a part of the tree, `main` and `main~1`. */
  readonly repository: string;
  /** Random bytes: 1 GiB, or 64 MiB when small. */
  readonly random: string;
  readonly randomBytes: number;
  /** The program made from `files.c`. */
  readonly filesProgram: string;
  /** The program made from `null_server.c`. */
  readonly nullServer: string;
}

/** Makes all fixtures in a directory. */
export async function makeFixtures(base: string, size: Size): Promise<Fixtures> {
  const at = (name: string) => join(base, name);
  const project = at("project");
  const npmCache = at("npm-cache");
  await Deno.mkdir(join(project, "src"), { recursive: true });
  await Deno.writeTextFile(join(project, "package.json"), '{"name":"bench","version":"1.0.0"}\n');
  const npm = ["npm", "--cache", npmCache, "--ignore-scripts", "--no-audit", "--no-fund"];
  // With the addresses of the tarballs in the lock, `npm ci` finds them in the cache by itself.
  const resolved = "--omit-lockfile-registry-resolved=false";
  await run([...npm, "install", "--silent", resolved, ...PACKAGES[size]], { cwd: project });
  for (let i = 0; i < SOURCES[size]; i++) {
    const next = (i + 1) % SOURCES[size];
    await Deno.writeTextFile(
      join(project, "src", `part${i}.ts`),
      `import { map, of, type Observable } from "rxjs";\n` +
        `import { part${next} } from "./part${next}";\n` +
        `export const numbers${i} = { first: ${i}, of: () => typeof part${next} };\n` +
        `export function part${i}(n: number): Observable<string> {\n` +
        `  return of(n, ${i}).pipe(map((value) => \`\${value} \${numbers${i}.first}\`));\n}\n`,
    );
  }
  await Deno.writeTextFile(
    join(project, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: { target: "es2022", module: "commonjs", strict: true, outDir: "out" },
      include: ["src"],
    }),
  );
  const tree = at("tree.tar");
  await run(["tar", "cf", tree, "-C", project, "node_modules"]);
  const { output } = await run(["find", "node_modules"], { cwd: project });
  const random = at("random");
  const randomBytes = size === "full" ? 2 ** 30 : 2 ** 26;
  await run(["dd", "if=/dev/urandom", `of=${random}`, "bs=1M", `count=${randomBytes / 2 ** 20}`]);
  const here = new URL(".", import.meta.url).pathname;
  for (const name of ["files", "null_server"]) {
    await run(["gcc", "-O2", "-Wall", "-o", at(name), join(here, `${name}.c`)]);
  }
  const work = at("work");
  const git = (...args: string[]) => run(["git", ...GIT, ...args], { cwd: work });
  await Deno.mkdir(work);
  await git("init", "-q", "-b", "main");
  await run(["cp", "-r", join(project, "node_modules/rxjs"), join(work, "rxjs")]);
  if (size === "full") {
    for (const name of ["date-fns", "core-js", "lodash"]) {
      await run(["cp", "-r", join(project, "node_modules", name), join(work, name)]);
    }
  }
  await git("add", "-A");
  await git("commit", "-q", "-m", "first");
  await run(["sh", "-c", "find . -path ./.git -prune -o -name '*.js' -exec sed -i 1i// {} +"], {
    cwd: work,
  });
  await git("commit", "-q", "-a", "-m", "second");
  await run(["git", "clone", "-q", "--bare", work, at("repository.git")]);
  await Deno.remove(work, { recursive: true });
  return {
    size,
    project,
    tree,
    files: output.trim().split("\n").length,
    npmCache,
    repository: at("repository.git"),
    random,
    randomBytes,
    filesProgram: at("files"),
    nullServer: at("null_server"),
  };
}
