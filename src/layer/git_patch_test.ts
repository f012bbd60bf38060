import assert from "node:assert/strict";
import { join } from "node:path";
import fc from "fast-check";
import { concatBytes, fromLatin1, latin1, text } from "../base/bytes.ts";
import { isDirectory, isSymlink } from "../base/modes.ts";
import { memoryStore } from "../store/memory/store.ts";
import type { LayerRow } from "../store/rows.ts";
import { gather, TreeFixture } from "../../tests/layer/fixture.ts";
import { step, take } from "../../tests/layer/random_tree.ts";
import { compare, unifiedDiff } from "./diff.ts";
import { readWhole, walk } from "./file.ts";
import { gitPatch } from "./git_patch.ts";

/** Files, links and what git knows of modes, by path without the first slash. */
async function picture(tree: TreeFixture, layer: LayerRow): Promise<Map<string, string>> {
  const chain = await tree.store.chain(layer.point);
  const out = new Map<string, string>();
  for await (const { path, inode } of walk(tree.store, chain)) {
    if (isDirectory(inode.mode)) continue;
    const content = inode.target ?? await readWhole(tree.store, chain, inode);
    const kind = isSymlink(inode.mode) ? "link" : (inode.mode & 0o100) === 0 ? "file" : "program";
    out.set(text(path).slice(1), `${kind} ${latin1(content)}`);
  }
  return out;
}

async function writeOut(directory: string, files: ReadonlyMap<string, string>): Promise<void> {
  for (const [path, facts] of files) {
    const place = join(directory, path);
    await Deno.mkdir(place.slice(0, place.lastIndexOf("/")), { recursive: true });
    const kind = facts.slice(0, facts.indexOf(" "));
    const content = fromLatin1(facts.slice(kind.length + 1));
    if (kind === "link") await Deno.symlink(text(content), place);
    else await Deno.writeFile(place, content, { mode: kind === "program" ? 0o755 : 0o644 });
  }
}

async function readBack(directory: string): Promise<Map<string, string>> {
  const out = new Map<string, string>();
  const visit = async (path: string) => {
    for await (const { name, isDirectory } of Deno.readDir(join(directory, path))) {
      const below = path === "" ? name : `${path}/${name}`;
      const place = join(directory, below);
      const { isSymlink, mode } = await Deno.lstat(place);
      if (isDirectory) await visit(below);
      else if (isSymlink) out.set(below, `link ${await Deno.readLink(place)}`);
      else {
        const kind = (mode! & 0o100) === 0 ? "file" : "program";
        out.set(below, `${kind} ${latin1(await Deno.readFile(place))}`);
      }
    }
  };
  await visit("");
  return out;
}

/** Applies a patch with git in a directory that is no repository. */
async function gitApply(directory: string, patch: Uint8Array): Promise<void> {
  const child = new Deno.Command("git", {
    args: ["apply", "--whitespace=nowarn", "-"],
    cwd: directory,
    env: { GIT_CEILING_DIRECTORIES: directory, GIT_CONFIG_NOSYSTEM: "1", HOME: directory },
    stdin: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(patch as Uint8Array<ArrayBuffer>).catch(() => {});
  await writer.close().catch(() => {});
  const { success, stderr } = await child.output();
  assert.ok(success, `${text(stderr)}\n${text(patch)}`);
}

async function assertApplies(tree: TreeFixture, from: LayerRow, to: LayerRow): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    await writeOut(directory, await picture(tree, from));
    const states = {
      from: { point: from.point, label: from.name },
      to: { point: to.point, label: to.name },
    };
    const compared = await compare(tree.store, states);
    const patch = await gather(gitPatch(tree.store, compared));
    // A patch of nothing is an error to git.
    if (patch.length > 0) await gitApply(directory, patch);
    const wanted = await picture(tree, to);
    assert.deepEqual(
      new Map([...await readBack(directory)].sort()),
      new Map([...wanted].sort()),
      text(patch),
    );
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

const line = fc.constantFrom("a", "b", "c", "", "-x", "\\", "caf\u00e9", "\u00ff\u00fe", "a b");
const content = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.tuple(
      fc.array(fc.tuple(line, fc.constantFrom("\n", "\n", "\n", "\r\n", "\r")), { maxLength: 30 }),
      line,
    ).map(([lines, last]) => fromLatin1(lines.map((parts) => parts.join("")).join("") + last)),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 300 }).map((b) => Uint8Array.of(0, ...b)) },
);

Deno.test("git apply makes the other tree of any tree", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 10, maxLength: 30 }),
      fc.array(fc.tuple(step, content), { minLength: 3, maxLength: 20 }),
      content,
      async (first, second, base) => {
        const tree = await TreeFixture.make(memoryStore(), "main");
        await tree.write("/text", base);
        await tree.mkdir("/with space");
        await tree.write("/with space/file", base);
        for (const next of first) if (next.kind !== "seal") await take(tree, next);
        const from = await tree.seal();
        for (const [next, bytes] of second) {
          if (next.kind === "seal") await tree.write("/text", bytes);
          else if (next.kind === "chmod") await tree.write("/with space/file", bytes);
          else await take(tree, next);
        }
        const to = await tree.seal();
        await assertApplies(tree, from, to);
        await assertApplies(tree, to, from);
      },
    ),
    { numRuns: 25 },
  );
});

Deno.test("git apply takes links, modes, renames with changes, binaries, odd names", async () => {
  const tree = await TreeFixture.make(memoryStore(), "main");
  const lines = Array.from({ length: 50 }, (_, i) => `line ${i}\n`);
  await tree.mkdir("/d");
  await tree.write("/d/moved", lines.join(""));
  await tree.write("/d/replaced", lines.join(""));
  await tree.write("/program", "#!/bin/sh\n");
  await tree.write("/binary", Uint8Array.from({ length: 1000 }, (_, i) => i * 7));
  await tree.write("/kind", "a file\n");
  await tree.symlink("program", "/link");
  await tree.write("/empty", "");
  await tree.write('/quote"\\and\ttab', "1\n");
  await tree.write("/swap-a", "a\n");
  await tree.write("/swap-b", "b\n");
  const from = await tree.seal("from");
  await tree.rename("/d/moved", "/moved here");
  await tree.write("/moved here", lines.with(20, "changed\n").join(""));
  // As an editor or a build does: another inode with nearly the same lines.
  await tree.remove("/d/replaced");
  await tree.write("/d/new name", lines.with(3, "other\n").join(""));
  await tree.chmod("/program", 0o755);
  await tree.write("/binary", Uint8Array.from({ length: 900 }, (_, i) => i * 11));
  await tree.remove("/kind");
  await tree.symlink("nowhere", "/kind");
  await tree.remove("/link");
  await tree.symlink("binary", "/link");
  await tree.remove("/empty");
  await tree.write('/quote"\\and\ttab', "2");
  await tree.rename("/swap-a", "/swap-c");
  await tree.rename("/swap-b", "/swap-a");
  await tree.rename("/swap-c", "/swap-b");
  const to = await tree.seal("to");
  await assertApplies(tree, from, to);
  await assertApplies(tree, to, from);

  const compared = await compare(tree.store, {
    from: { point: from.point, label: "from" },
    to: { point: to.point, label: "to" },
  });
  const told = latin1(concatBytes(await Array.fromAsync(unifiedDiff(tree.store, compared))));
  assert.match(told, /rename from \/d\/moved\nrename to \/moved here\n/);
  assert.match(told, /rename from \/d\/replaced\nrename to \/d\/new name\n/);
  assert.match(told, /--- \/d\/replaced \(from\)\n\+\+\+ \/d\/new name \(to\)\n@@ -1,7 \+1,7 @@\n/);
});
