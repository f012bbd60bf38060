import assert from "node:assert/strict";
import { gunzipSync } from "node:zlib";
import { concatBytes, fromLatin1, latin1, text, utf8 } from "../base/bytes.ts";
import { S_IFCHR } from "../base/modes.ts";
import { memoryStore } from "../store/memory/store.ts";
import { BLOCK_SIZE, type LayerRow } from "../store/rows.ts";
import { writeChangeset } from "./changeset.ts";
import { compress, decompress, storedGzip } from "./compression.ts";
import { exportImage, type ExportOptions } from "./export.ts";
import { legalReference } from "./image_format.ts";
import { importImage } from "./import.ts";
import type { TarEntry } from "./tar_entry.ts";
import { readTar } from "./tar_reader.ts";
import { describeTree, exportBytes, inChunks, TreeFixture } from "./tree_fixture.ts";

interface Read {
  readonly entry: TarEntry;
  readonly content: Uint8Array;
}

async function gather(source: AsyncIterable<Uint8Array>): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part.slice());
  return concatBytes(parts);
}

async function readAll(bytes: Uint8Array): Promise<Read[]> {
  const out: Read[] = [];
  for await (const { entry, content } of readTar(inChunks(bytes), { name: "it", endMark: true })) {
    out.push({ entry, content: await gather(content()) });
  }
  return out;
}

/** Members of what changed, a word for each: `type path` and a link's target. */
async function members(tree: TreeFixture, from: LayerRow | null, to: LayerRow): Promise<string[]> {
  const tar = await gather(writeChangeset(tree.store, from?.point ?? null, to.point));
  return (await readAll(tar)).map(({ entry }) => {
    const target = entry.type === "link" ? ` -> ${text(entry.target)}` : "";
    return `${entry.type} ${latin1(entry.path)}${target}`;
  });
}

Deno.test("a layer has what changed, every ancestor, and whiteouts before their siblings", async () => {
  const tree = await TreeFixture.on(memoryStore());
  for (const path of ["d", "d/e", "d/e/f", "other", "moved", "moved/deep"]) tree.mkdir(path);
  for (const path of ["d/e/f/x", "d/e/gone", "d/e/z", "other/y", "moved/deep/m", "d+"]) {
    tree.file(path, utf8(path));
  }
  const one = await tree.seal("one");
  tree.file("d/e/f/x", utf8("changed"));
  tree.file("d/e/+early", utf8("before the whiteout by its bytes"));
  tree.remove("d/e/gone");
  tree.rename("moved", "elsewhere");
  tree.remove("other");
  tree.file("other", utf8("a file now"));
  const two = await tree.seal("two");
  assert.deepEqual(await members(tree, one, two), [
    "directory ",
    "file .wh.moved",
    "directory d",
    "directory d/e",
    "file d/e/.wh.gone",
    "file d/e/+early",
    "directory d/e/f",
    "file d/e/f/x",
    "directory elsewhere",
    "directory elsewhere/deep",
    "file elsewhere/deep/m",
    "file other",
  ]);
  const empty = await tree.seal("three");
  assert.deepEqual(await members(tree, two, empty), ["directory "]);
});

Deno.test("a directory that was made anew hides its old children one by one", async () => {
  const tree = await TreeFixture.on(memoryStore());
  tree.mkdir("d");
  for (const name of ["a", "b", "c"]) tree.file(`d/${name}`, utf8(name));
  const one = await tree.seal("one");
  tree.remove("d");
  tree.mkdir("d");
  tree.file("d/b", utf8("b"));
  const two = await tree.seal("two");
  assert.deepEqual(await members(tree, one, two), [
    "directory ",
    "directory d",
    "file d/.wh.a",
    "file d/.wh.c",
  ]);
});

Deno.test("all names of a file go together, the first as the file", async () => {
  const tree = await TreeFixture.on(memoryStore());
  tree.mkdir("d");
  tree.file("b", utf8("x"), { mode: 0o104755, mtime: 5n });
  const one = await tree.seal("one");
  tree.link("b", "d/a");
  tree.link("b", "a");
  const two = await tree.seal("two");
  assert.deepEqual(await members(tree, one, two), [
    "directory ",
    "file a",
    "link b -> a",
    "directory d",
    "link d/a -> a",
  ]);
  const tar = await gather(writeChangeset(tree.store, one.point, two.point));
  for (const { entry } of await readAll(tar)) {
    if (entry.type === "link") assert.deepEqual([entry.mode, entry.mtime], [0o4755, 5n]);
  }
  // A copy in the place of a link looks the same path by path, and is another tree.
  tree.file("b", utf8("x"), { mode: 0o104755, mtime: 5n });
  const three = await tree.seal("three");
  const names = await members(tree, two, three);
  assert.ok(names.includes("file b") && names.includes("file a"), names.join());
});

Deno.test("what no image can hold is an error that names it, or left out and told", async () => {
  const tree = await TreeFixture.on(memoryStore());
  tree.mkdir("d");
  tree.mkdir("d/.wh.secret");
  tree.file("d/.wh.secret/x", utf8("x"));
  tree.node("zero", S_IFCHR | 0o600);
  tree.file("fine", utf8("x"));
  const one = await tree.seal("one");
  await assert.rejects(members(tree, null, one), /\/d\/\.wh\.secret cannot be exported/);
  const left: string[] = [];
  const tar = writeChangeset(tree.store, null, one.point, (path) => left.push(text(path)));
  const paths = (await readAll(await gather(tar))).map(({ entry }) => text(entry.path));
  assert.deepEqual(left, ["d/.wh.secret", "d/.wh.secret/x", "zero"]);
  assert.deepEqual(paths, ["", ".wh.zero", "d", "fine"]);
  tree.remove("d/.wh.secret");
  tree.remove("zero");
  const two = await tree.seal("two");
  assert.deepEqual(await members(tree, null, two), ["directory ", "directory d", "file fine"]);
});

Deno.test("formats, --since and --squash", async () => {
  const tree = await TreeFixture.on(memoryStore());
  const layers: LayerRow[] = [];
  for (const name of ["one", "two", "three"]) {
    tree.file(name, utf8(name));
    layers.push(await tree.seal(name));
  }
  const paths = async (options: Parameters<typeof exportBytes>[2]) => {
    const bytes = await exportBytes(tree.store, layers, { compression: "none", ...options });
    return (await readAll(bytes)).map(({ entry }) => text(entry.path));
  };
  assert.deepEqual(await paths({ format: "rootfs" }), ["", "one", "three", "two"]);
  assert.deepEqual(await paths({ format: "layer" }), ["", "three"]);
  assert.deepEqual(await paths({ format: "layer", since: layers[0]!.point }), ["", "three", "two"]);
  const count = async (options: Parameters<typeof exportBytes>[2]) => {
    const store = memoryStore();
    const row = await store.createWorkspace("w", null, { uid: 0, gid: 0, time: 0n });
    const bytes = await exportBytes(tree.store, layers, options);
    return (await importImage(store, row, inChunks(bytes))).length;
  };
  assert.equal(await count({}), 3);
  assert.equal(await count({ squash: true }), 1);
  assert.equal(await count({ since: layers[0]!.point }), 2);
  await assert.rejects(paths({ since: { lineage: 99, ordinal: 1 } }), /--since/);
});

Deno.test("more layers than docker takes are squashed from the bottom, and it is said", async () => {
  const tree = await TreeFixture.on(memoryStore());
  const layers: LayerRow[] = [];
  for (let i = 0; i < 130; i++) {
    tree.file(`f${i}`, utf8(`${i}`));
    layers.push(await tree.seal(`n${i}`));
  }
  const notices: string[] = [];
  const archive = await gather(exportImage(tree.store, layers, {
    format: "oci",
    compression: "stored",
    squash: false,
    since: null,
    reference: "n129",
    leftOut: null,
    notes: { labels: {}, annotations: {} },
    notice: (message) => notices.push(message),
  }));
  assert.match(notices.join(), /130 layers .* lower 6, up to n5,/);
  const store = memoryStore();
  const row = await store.createWorkspace("w", null, { uid: 0, gid: 0, time: 0n });
  const again = await importImage(store, row, inChunks(archive));
  assert.equal(again.length, 125);
  assert.equal(again[0]!.name, "n5");
  for (const i of [0, 124]) {
    assert.deepEqual(
      await describeTree(store, again[i]!.point),
      await describeTree(tree.store, layers[i + 5]!.point),
    );
  }
});

Deno.test("stored gzip is the same however it is cut, and every gunzip reads it", async () => {
  for (const size of [0, 1, 65534, 65535, 65536, 16 * 65535, 16 * 65535 + 1, 3_000_000]) {
    const bytes = new Uint8Array(size);
    for (let i = 0; i < size; i += 7) bytes[i] = i;
    const one = await gather(storedGzip(inChunks(bytes, 1_000_000)));
    const other = await gather(storedGzip(inChunks(bytes, 4099)));
    assert.ok(one.toHex() === other.toHex(), `${size}`);
    assert.ok(new Uint8Array(gunzipSync(one)).toHex() === bytes.toHex(), `${size}`);
  }
  assert.equal(
    (await gather(storedGzip(inChunks(utf8("hi"))))).toHex(),
    "1f8b08000000000000ff" + "010200fdff6869" + "ac2a93d8" + "02000000",
  );
});

Deno.test("each compression comes back, and damage is an error", async () => {
  const bytes = new Uint8Array(300_000).map((_, i) => i % 251);
  for (const kind of ["stored", "gzip", "zstd", "none"] as const) {
    const packed = await gather(compress(inChunks(bytes, 5000), kind));
    const again = await gather(decompress(inChunks(packed, 3), "it"));
    assert.ok(again.toHex() === bytes.toHex(), kind);
    if (kind === "none") continue;
    packed[packed.length - 20]! ^= 0xff;
    await assert.rejects(gather(decompress(inChunks(packed), "it")), /cannot be unpacked/, kind);
  }
});

Deno.test("any name becomes a legal reference", () => {
  assert.equal(legalReference("ckpt-3"), "ckpt-3");
  assert.equal(legalReference("Über/Layer__1"), "ber-layer-1");
  assert.equal(legalReference("@{2026-01-15 10:30}"), "2026-01-15-10-30");
  assert.equal(legalReference("---"), "layer");
});

Deno.test("an export leaves no temporary file behind, also when it is given up", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const tree = await TreeFixture.on(memoryStore());
    tree.file("a", new Uint8Array(3 * BLOCK_SIZE));
    const layers = [await tree.seal("one")];
    tree.file("b", utf8("b"));
    layers.push(await tree.seal("two"));
    const options: ExportOptions = {
      format: "oci",
      compression: "stored",
      squash: false,
      since: null,
      reference: "two",
      leftOut: null,
      temporary: directory,
      notes: { labels: {}, annotations: {} },
      notice: () => {},
    };
    const bytes = exportImage(tree.store, layers, options);
    for (let chunks = 0; chunks < 6; chunks++) await bytes.next();
    await bytes.return(undefined);
    tree.file(".wh.x", fromLatin1("x"));
    const three = [await tree.seal("three")];
    await assert.rejects(Array.fromAsync(exportImage(tree.store, three, options)));
    assert.deepEqual([...Deno.readDirSync(directory)], []);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
