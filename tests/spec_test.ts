/** What a reader of the pages relies on: every page is found, every link and file named is there. */
import assert from "node:assert/strict";
import { dirname, join, normalize } from "node:path/posix";

/** Files that a page names in backticks; `*` stands for any part of one name. */
const NAMED_FILE = /`((?:src|tests|bench|deploy|spec|task)\/[\w*./-]*[\w*])`/g;

async function pages(directory: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(directory)) {
    const path = join(directory, name);
    if (isDirectory) found.push(...await pages(path));
    else if (name.endsWith(".md")) found.push(path);
  }
  return found.sort();
}

async function allPages(): Promise<string[]> {
  return ["README.md", ...await pages("spec"), ...await pages("task")];
}

/** Files of this tree that a page links to, from the root. */
async function linksOf(page: string): Promise<string[]> {
  const text = await Deno.readTextFile(page);
  return [...text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)].map(([, target]) => target!)
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => normalize(join(dirname(page), target)));
}

async function exists(path: string): Promise<boolean> {
  if (!path.includes("*")) return await Deno.stat(path).then(() => true, () => false);
  const name = new RegExp(
    `^${path.split("/").pop()!.replaceAll(".", "\\.").replaceAll("*", ".*")}$`,
  );
  for await (const entry of Deno.readDir(dirname(path))) if (name.test(entry.name)) return true;
  return false;
}

Deno.test("the architecture links to every page of the spec", async () => {
  const linked = new Set(await linksOf("spec/architecture.md"));
  const missing = (await pages("spec")).filter((page) =>
    page !== "spec/architecture.md" && !linked.has(page)
  );
  assert.deepEqual(missing, []);
});

Deno.test("links and names of files in pages lead somewhere", async () => {
  const faults: string[] = [];
  for (const page of await allPages()) {
    const text = await Deno.readTextFile(page);
    const named = [...text.matchAll(NAMED_FILE)].map(([, path]) => path!);
    for (const path of [...await linksOf(page), ...named]) {
      if (!await exists(path)) faults.push(`${page}: ${path}`);
    }
  }
  assert.deepEqual(faults, []);
});

Deno.test("decisions and deliverables have a number each, in the file's name and in its title", async () => {
  for (const [directory, form] of [["spec/decisions", /^\d{4}$/], ["task", /^\d\d$/]] as const) {
    const numbers = new Set<string>();
    for (const page of await pages(directory)) {
      const number = page.split("/").pop()!.split("-")[0]!;
      assert.match(number, form, page);
      assert.ok(!numbers.has(number), `${page}: ${number} is taken`);
      numbers.add(number);
      const [title] = (await Deno.readTextFile(page)).split("\n");
      assert.ok(title!.startsWith(`# ${number} `), `${page}: ${title}`);
    }
  }
});
