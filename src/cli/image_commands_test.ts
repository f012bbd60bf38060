import assert from "node:assert/strict";
import { Command } from "commander";
import { concatBytes, text, utf8 } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import { exportBytes, inChunks, TreeFixture } from "../oci/tree_fixture.ts";
import { readTar } from "../oci/tar_reader.ts";
import { memoryStore } from "../store/memory/store.ts";
import type { Store } from "../store/store.ts";
import { addImageCommands } from "./image_commands.ts";
import { makeSession } from "./session.ts";

/** Runs one command line against a store; returns what it printed. */
async function run(store: Store, workspace: string, ...args: string[]): Promise<Uint8Array> {
  const printed: Uint8Array[] = [];
  const program = new Command().exitOverride().option("--json");
  addImageCommands(program, async (command, body) => {
    const json = command.optsWithGlobals<{ json?: boolean }>().json ?? false;
    const session = makeSession(store, { tenant: "default", workspace, json });
    const out = async (output: string | Uint8Array) => {
      printed.push(typeof output === "string" ? utf8(output) : output.slice());
    };
    await body({ ...session, out });
  });
  await program.parseAsync(args, { from: "user" });
  return concatBytes(printed);
}

async function fixture() {
  const tree = await TreeFixture.on(memoryStore());
  tree.file("a", utf8("one"));
  const layers = [await tree.seal("one")];
  tree.file("b", utf8("two"));
  layers.push(await tree.seal("two"));
  // The fixture's writer gives the workspace back: commands find it free.
  const row = (await tree.store.workspace("main"))!;
  await tree.store.detach(row.id, row.lease!.epoch);
  await tree.store.createWorkspace("other", null, { uid: 0, gid: 0, time: 0n });
  return { store: tree.store, layers };
}

async function paths(tar: Uint8Array): Promise<string[]> {
  const out: string[] = [];
  for await (const { entry } of readTar(inChunks(tar), { name: "it", endMark: true })) {
    out.push(text(entry.path));
  }
  return out;
}

Deno.test("export writes what the library writes, to a file as to standard output", async () => {
  const { store, layers } = await fixture();
  const directory = await Deno.makeTempDir();
  try {
    const wanted = await exportBytes(store, layers);
    await run(store, "main", "export", "two", "-o", `${directory}/image`);
    const written = await Deno.readFile(`${directory}/image`);
    assert.ok(written.toHex() === wanted.toHex());
    assert.deepEqual([...Deno.readDirSync(directory)].map(({ name }) => name), ["image"]);
    const tar = `${directory}/tar`;
    await run(store, "main", "export", "head", "--format", "rootfs", "-o", tar);
    const rootfs = await Deno.readFile(tar);
    await run(store, "main", "export", "one", "-o", "/dev/null");
    assert.ok((await Deno.stat("/dev/null")).isCharDevice);
    assert.deepEqual(await paths(rootfs), ["", "a", "b"]);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("import adds layers and touches no head; --switch puts it on the image", async () => {
  const { store, layers } = await fixture();
  const file = await Deno.makeTempFile();
  try {
    await Deno.writeFile(file, await exportBytes(store, layers));
    const before = (await store.workspace("other"))!.head;
    assert.equal(text(await run(store, "other", "import", file)), "one\ntwo\n");
    assert.deepEqual((await store.workspace("other"))!.head, before);
    const printed = await run(
      store,
      "other",
      "--json",
      "import",
      file,
      "--prefix",
      "x-",
      "--switch",
    );
    const facts = JSON.parse(text(printed));
    assert.deepEqual(facts.layers.map(({ name }: { name: string }) => name), ["x-one", "x-two"]);
    assert.equal(facts.switched, true);
    const { base } = (await store.workspace("other"))!;
    assert.equal((await store.layers()).find(({ id }) => id === base)!.name, "x-two");
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("wrong words are wrong usage; nothing is left of a failed export", async () => {
  const { store } = await fixture();
  const directory = await Deno.makeTempDir();
  try {
    const file = `${directory}/image`;
    const wrong = async (status: number, message: RegExp, ...args: string[]) => {
      await assert.rejects(run(store, "main", ...args), (error: Error) => {
        assert.ok(error instanceof TarboxError, String(error));
        assert.match(error.message, message);
        assert.equal(error.status, status);
        return true;
      });
    };
    await wrong(2, /--format zip/, "export", "two", "-o", file, "--format", "zip");
    await wrong(2, /--compress xz/, "export", "two", "-o", file, "--compress", "xz");
    await wrong(1, /nothing/, "export", "nothing", "-o", file);
    await wrong(1, /--since/, "export", "one", "-o", file, "--since", "two");
    await wrong(1, /no such file/, "import", file);
    assert.deepEqual([...Deno.readDirSync(directory)], []);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
