import assert from "node:assert/strict";
import { Command } from "commander";
import { concatBytes, text, utf8 } from "../base/bytes.ts";
import { memoryStore } from "../store/memory/store.ts";
import type { Store } from "../store/store.ts";
import { runLayerCommand } from "../layer/commands.ts";
import { TreeFixture } from "../../tests/layer/fixture.ts";
import { addLayerCommands } from "./layer_commands.ts";
import { type GlobalOptions, makeSession, type Run } from "./session.ts";

/** Runs a command line against a store. */
async function tarbox(store: Store, ...args: string[]): Promise<{ status: number; out: string }> {
  const parts: Uint8Array[] = [];
  let status = 0;
  const run: Run = async (command, body) => {
    const session = makeSession(store, command.optsWithGlobals<GlobalOptions>());
    const out = (part: string | Uint8Array) => {
      parts.push(typeof part === "string" ? utf8(part) : part);
      return Promise.resolve();
    };
    status = await body({ ...session, out }) ?? 0;
  };
  const program = new Command("tarbox").exitOverride()
    .option("--workspace <NAME>", "", "main").option("--json").option("--quiet");
  addLayerCommands(program, run);
  await program.parseAsync(args, { from: "user" });
  return { status, out: text(concatBytes(parts)) };
}

/** A workspace with a tree that nobody holds any more. */
async function released(): Promise<Store> {
  const store = memoryStore();
  const tree = await TreeFixture.make(store, "main");
  await tree.mkdir("/d");
  await tree.write("/d/f", "one\n");
  await tree.seal("one");
  await tree.write("/d/f", "two\n");
  await tree.symlink("f", "/d/link");
  await store.detach((await tree.row()).id, tree.epoch);
  return store;
}

Deno.test("checkpoint prints the name, diff exits with 1 where states differ", async () => {
  const store = await released();
  assert.deepEqual(await tarbox(store, "checkpoint", "-m", "why"), { status: 0, out: "ckpt-1\n" });
  const { status, out } = await tarbox(store, "diff", "one", "ckpt-1", "/d/f");
  assert.equal(status, 1);
  assert.equal(out, "--- /d/f (one)\n+++ /d/f (ckpt-1)\n@@ -1 +1 @@\n-one\n+two\n");
  assert.deepEqual(await tarbox(store, "diff", "one", "one"), { status: 0, out: "" });
  assert.deepEqual(await tarbox(store, "diff", "one", "--name-status"), {
    status: 1,
    out: "M\t/d/f\nA\t/d/link\n",
  });
  assert.equal((await tarbox(store, "diff", "nothing")).status, 2);
  const stat = await tarbox(store, "diff", "one", "/d/f", "--stat");
  assert.equal(stat.out, " /d/f | +0 -0 ~1\n 1 paths differ, +0 -0 ~1\n");
  const json = JSON.parse((await tarbox(store, "diff", "one", "--json")).out);
  assert.deepEqual(json.changes.map((change: { path: string }) => change.path), [
    "/d/f",
    "/d/link",
  ]);
});

Deno.test("layers, history, switch and undo", async () => {
  const store = await released();
  await tarbox(store, "checkpoint", "two", "-m", "why");
  const layers = JSON.parse((await tarbox(store, "layers", "--json")).out);
  assert.deepEqual(layers.map((layer: { name: string }) => layer.name), ["two", "one"]);
  assert.equal(layers[0].message, "why");
  assert.equal(layers[0].files, 2);
  assert.equal(layers[0].bytes, 5);
  const { out } = await tarbox(store, "history", "/d/f");
  assert.match(out, /^Layer: two \(.*\)\n {2}Size: 4B, Lines: 1 \(\+0 -0 ~1\)\nLayer: one /);
  assert.match((await tarbox(store, "switch", "one")).out, /^main stands on one\n$/);
  assert.equal((await tarbox(store, "cat", "/d/f")).out, "one\n");
  assert.equal((await tarbox(store, "cat", "two:/d/link")).out, "two\n");
  await tarbox(store, "switch", "two");
  assert.match((await tarbox(store, "undo")).out, /main stands on one/);
  await tarbox(store, "fork", "copy", "--from", "two");
  assert.match((await tarbox(store, "layers", "--tree")).out, /main\/two .* <- copy\n/);
  assert.equal((await tarbox(store, "--workspace", "copy", "cat", "/d/f")).out, "two\n");
  await tarbox(store, "rename", "one", "first");
  assert.equal((await tarbox(store, "cat", "first:/d/f")).out, "one\n");
});

Deno.test("ls, tree and stat show what is there", async () => {
  const store = await released();
  assert.equal((await tarbox(store, "ls", "/d")).out, "f\nlink\n");
  assert.match(
    (await tarbox(store, "ls", "-l", "/d")).out,
    /^-rw-r--r-- .* f\nlrwx.* link -> f\n$/,
  );
  assert.equal(
    (await tarbox(store, "tree")).out,
    "/\n└── d\n    ├── f\n    └── link -> f\n\n1 directories, 2 files\n",
  );
  const facts = JSON.parse((await tarbox(store, "stat", "/d/f", "--json")).out);
  assert.equal(facts.size, 4);
  assert.equal(facts.permissions, "-rw-r--r--");
  await assert.rejects(tarbox(store, "cat", "/d"), /is a directory/);
  await assert.rejects(tarbox(store, "ls", "/nothing"), /no such file or directory/);
});

Deno.test("fsck of a sound head leaves no layer behind, of a broken one exits with 1", async () => {
  const store = await released();
  const { status, out } = await tarbox(store, "fsck");
  assert.equal(status, 0, out);
  assert.match(out, /0 violations/);
  assert.deepEqual((await store.layers()).map(({ name }) => name), ["one"]);
  // What was unsealed still is: a switch keeps it.
  assert.match((await tarbox(store, "switch", "one")).out, /sealed what was unsealed as auto-/);

  const row = (await store.workspace("main"))!;
  const holder = { host: "test", pid: 1, mountPoint: null };
  const { epoch } = await store.attach(row.id, holder, 0);
  const counters = await store.counters(row.head.lineage);
  await store.commit(row.id, epoch, row.head, 1, {
    ...counters,
    inodes: [],
    deadInodes: [],
    dentries: [],
    deadDentries: [{ parent: 2, name: utf8("f") }],
    blocks: [],
    deadBlocks: [],
    contents: [],
  });
  await store.detach(row.id, epoch);
  const broken = await tarbox(store, "fsck");
  assert.equal(broken.status, 1);
  assert.match(broken.out, /inode 3: nlink 1, but it has 0 names/);
});

Deno.test("a mount that holds the workspace is asked, and its head flushed before it is read", async () => {
  const store = memoryStore();
  const tree = await TreeFixture.make(store, "main");
  await tree.write("/f", "1\n");
  const asked: string[] = [];
  const { id, lease } = await tree.row();
  const stop = await store.serve(id, lease!.epoch, async ({ command, argument }) => {
    asked.push(command);
    const row = await tree.row();
    return { result: await runLayerCommand(store, row, tree.epoch, command, argument) };
  });
  try {
    assert.equal((await tarbox(store, "checkpoint", "held")).out, "held\n");
    await tarbox(store, "cat", "/f");
    await tarbox(store, "diff", "held");
    await tarbox(store, "fsck");
    assert.deepEqual(asked, ["checkpoint", "flush", "flush", "seal"]);
  } finally {
    await stop();
  }
});

Deno.test("a head of another workspace is flushed by its holder before it is taken from", async () => {
  const store = await released();
  await tarbox(store, "fork", "copy", "--from", "one");
  const { id } = (await store.workspace("copy"))!;
  const holder = { host: "elsewhere", pid: 1, mountPoint: "/mnt" };
  const { epoch } = await store.attach(id, holder, 0);
  const asked: string[] = [];
  const stop = await store.serve(id, epoch, ({ command }) => {
    asked.push(command);
    return Promise.resolve({ result: null });
  });
  try {
    await tarbox(store, "merge", "--dry-run", "copy/head");
    await tarbox(store, "fork", "other", "--from", "copy/head");
    await tarbox(store, "restore", "copy/head", "/d/f");
    assert.deepEqual(asked, ["flush", "flush", "flush"]);
    await tarbox(store, "merge", "--dry-run", "one");
    assert.equal(asked.length, 3);
  } finally {
    await stop();
  }
});

Deno.test("workspaces are listed, shown and deleted", async () => {
  const store = await released();
  await tarbox(store, "fork", "copy", "--from", "one");
  const list = JSON.parse((await tarbox(store, "workspace", "list", "--json")).out);
  assert.deepEqual(list.map((row: { name: string }) => row.name), ["main", "copy"]);
  assert.match((await tarbox(store, "workspace", "info", "copy")).out, /^name: copy\n/);
  await tarbox(store, "workspace", "delete", "copy");
  assert.equal(await store.workspace("copy"), null);
  await assert.rejects(tarbox(store, "workspace", "delete", "copy"), /none of that name/);
});

Deno.test("blame, merge and restore by the command line", async () => {
  const store = await released();
  await tarbox(store, "checkpoint", "two");
  const { out } = await tarbox(store, "blame", "/d/f");
  assert.match(out, /^two {2}\d{4}-\d\d-\d\d \d\d:\d\d:\d\d {2}1\) two\n$/);
  const [line] = JSON.parse((await tarbox(store, "blame", "one:/d/f", "--json")).out);
  assert.equal(line.layer.name, "one");
  assert.equal(line.text, "one");
  const restored = await tarbox(store, "restore", "one", "/d/f");
  assert.equal(restored.out, "1 paths restored from one\n");
  assert.equal((await tarbox(store, "cat", "/d/f")).out, "one\n");
  assert.match(
    (await tarbox(store, "blame", "/d/f")).out,
    /^head {2}not sealed yet {6} 1\) one\n$/,
  );
  await tarbox(store, "undo");
  await tarbox(store, "fork", "copy", "--from", "one");
  assert.equal(
    (await tarbox(store, "--workspace", "copy", "merge", "main/two", "--dry-run")).out,
    "modified /d/f\nadded /d/link\nmain/two: 2 paths taken, 0 in conflict\n",
  );
  const merged = await tarbox(store, "--workspace", "copy", "merge", "main/two", "--json");
  assert.equal(merged.status, 0);
  assert.equal(JSON.parse(merged.out).actions.length, 2);
  assert.equal((await tarbox(store, "--workspace", "copy", "cat", "/d/f")).out, "two\n");
});
