import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { concatBytes, utf8 } from "../base/bytes.ts";
import { resolvePath } from "../layer/file.ts";
import { memoryStore } from "../store/memory/store.ts";

import {
  archive,
  dir,
  image,
  importInto,
  json,
  type Line,
  link,
  refused,
  sha256,
  tar,
  tree,
} from "./image_fixture.ts";
import { IMPORT_DEFAULTS, importImage } from "./import.ts";
import { encodeHeader, END_MARK, tarEntry } from "./tar_writer.ts";
import { exportBytes, inChunks, TreeFixture } from "./tree_fixture.ts";

const layered = (...layers: Uint8Array[]) => image({ layers });

Deno.test("members in any order, ./ names, gzip and zstd layers, packed archives", async () => {
  const layers = [tar(dir(""), { at: "a", data: "one" }), tar({ at: "a", data: "two" })];
  const wanted = { "/": "dir 755", "/a": "two" };
  assert.deepEqual(await tree(await importInto(image({ layers }))), wanted);
  assert.deepEqual(await tree(await importInto(image({ layers, pack: gzipSync }))), wanted);
  assert.deepEqual(await tree(await importInto(image({ layers, pack: zstdCompressSync }))), wanted);
  assert.deepEqual(await tree(await importInto(gzipSync(image({ layers })))), wanted);
  const members = (bytes: Uint8Array) =>
    concatBytes([gzipSync(bytes.subarray(0, 700)), gzipSync(bytes.subarray(700))]);
  assert.deepEqual(await tree(await importInto(image({ layers, pack: members }))), wanted);
});

Deno.test("an index may be nested, name several platforms and hold unknown things", async () => {
  const layers = [tar({ at: "a", data: "one" })];
  const other = `sha256:${"0".repeat(64)}`;
  const bytes = image({
    layers,
    indexOf: (manifest) => [
      { mediaType: "application/x-unknown", digest: other, size: 1 },
      { ...manifest, digest: other, platform: { os: "windows", architecture: "amd64" } },
      { ...manifest, digest: other, platform: { os: "unknown", architecture: "unknown" } },
      manifest,
    ],
  });
  assert.deepEqual(await tree(await importInto(bytes)), { "/": "dir 755", "/a": "one" });
});

Deno.test("docker archives: layers by id with symlinks, and by digest", async () => {
  const layer = tar({ at: "a", data: "one" });
  const config = json({
    rootfs: { type: "layers", diff_ids: Array(2).fill(`sha256:${sha256(layer)}`) },
  });
  const name = `${sha256(config)}.json`;
  const manifest = json([{
    Config: name,
    RepoTags: ["x:1"],
    Layers: ["1/layer.tar", "2/layer.tar"],
  }]);
  const parts = concatBytes([
    archive([[name, config], ["1/layer.tar", layer], ["manifest.json", manifest]]).subarray(
      0,
      -1024,
    ),
    encodeHeader(
      tarEntry({ path: utf8("2/layer.tar"), type: "symlink", target: utf8("../1/layer.tar") }),
    ),
    END_MARK,
  ]);
  assert.deepEqual(await tree(await importInto(parts)), { "/": "dir 755", "/a": "one" });
  const damaged = parts.slice();
  damaged[Buffer.from(parts).indexOf("one")]! ^= 1;
  await refused(damaged, /digest/);
  await refused(parts.subarray(0, parts.length - 2048), /cut short|lacks/);
});

Deno.test("a layout in a directory is read as it is", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const bytes = layered(tar({ at: "a", data: "one" }));
    await Deno.writeFile(`${directory}/image.tar`, bytes);
    const { code } = await new Deno.Command("tar", {
      args: ["-C", directory, "-xf", `${directory}/image.tar`],
    }).output();
    assert.equal(code, 0);
    const store = memoryStore();
    const row = await store.createWorkspace("main", null, { uid: 0, gid: 0, time: 0n });
    const layers = await importImage(store, row, directory);
    assert.deepEqual(await tree({ store, layers }), { "/": "dir 755", "/a": "one" });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("whiteouts and opaque directories hide lower layers only, whatever their place", async () => {
  const lower = tar(dir("d"), { at: "d/old", data: "1" }, dir("d/sub"), { at: "d/sub/old" }, {
    at: "gone",
  });
  const upper = tar(
    { at: "d/new", data: "2" },
    { at: "d/sub/new", data: "3" },
    { at: "d/.wh..wh..opq" },
    { at: ".wh.gone" },
    { at: ".wh.never" },
  );
  assert.deepEqual(await tree(await importInto(layered(lower, upper))), {
    "/": "dir 755",
    "/d": "dir 755",
    "/d/new": "2",
    "/d/sub": "dir 755",
    "/d/sub/new": "3",
  });
  const replaced = tar({ at: "gone", data: "new" }, { at: ".wh.gone" });
  assert.equal((await tree(await importInto(layered(lower, replaced))))["/gone"], "new");
  const bare = tar(dir("d", { mode: 0o700 }), { at: ".wh..wh..opq" });
  assert.deepEqual(await tree(await importInto(layered(lower, bare))), {
    "/": "dir 755",
    "/d": "dir 700",
  });
});

Deno.test("a directory on a directory keeps what is in it; another type replaces it", async () => {
  const lower = tar(dir("d"), { at: "d/f", data: "1" }, { at: "f", data: "2" });
  const kept = await tree(await importInto(layered(lower, tar(dir("d", { mode: 0o500 })))));
  assert.deepEqual(kept, { "/": "dir 755", "/d": "dir 500", "/d/f": "1", "/f": "2" });
  const swapped = await tree(
    await importInto(layered(lower, tar({ at: "d", data: "file" }, dir("f")))),
  );
  assert.deepEqual(swapped, { "/": "dir 755", "/d": "file", "/f": "dir 755" });
});

Deno.test("hard links reach into lower layers, and outlive the first name", async () => {
  const lower = tar({ at: "a", data: "same" });
  const made = await importInto(layered(lower, tar(link("b", "a")), tar({ at: ".wh.a" })));
  const nlinks = await Promise.all(made.layers.map(async ({ point }) => {
    const chain = await made.store.chain(point);
    const path = made.layers[2]!.point === point ? "/b" : "/a";
    return (await resolvePath(made.store, chain, utf8(path))).inode.nlink;
  }));
  assert.deepEqual(nlinks, [1, 2, 1]);
  assert.deepEqual(await tree(made), { "/": "dir 755", "/b": "same" });
});

Deno.test("hostile entries are refused, and nothing is added", async () => {
  const symlink: Line = { at: "s", type: "symlink", target: utf8("/etc") };
  const cases: [Uint8Array, RegExp][] = [
    [tar({ at: "../x" }), /leaves the root/],
    [tar({ at: "a/../../x" }), /leaves the root/],
    [tar({ at: "/etc/passwd" }), /absolute/],
    [tar(symlink, { at: "s/passwd" }), /through a symbolic link/],
    [tar({ at: "f" }, { at: "f/x" }), /no directory/],
    [tar(link("h", "../../etc/shadow")), /leaves the root/],
    [tar(link("h", "/etc/shadow")), /absolute/],
    [tar(link("h", "later"), { at: "later" }), /not there/],
    [tar(symlink, link("h", "s/shadow")), /through a symbolic link/],
    [tar(dir("d"), link("h", "d")), /to a directory/],
    [tar({ at: ".wh." }), /no name/],
    [tar({ at: ".wh.." }), /no name/],
    [tar({ at: ".wh..." }), /no name/],
    [tar({ at: "d/.wh.." }), /no name/],
    [tar({ at: ".wh.d/x" }), /under a whiteout/],
    [tar({ at: ".wh.x", data: "content" }), /no empty file/],
    [tar(dir(".wh.x")), /no empty file/],
    [tar({ at: "", type: "symlink", target: utf8("x") }), /without a name|no directory/],
    [tar({ at: "./." }), /no directory/],
    [tar({ at: "a" }, { at: "./a" }), /twice/],
    [tar(dir("a"), dir("a")), /twice/],
    [tar(dir(""), dir("")), /twice/],
    [tar({ at: "a/b" }, { at: "a" }), /holds files/],
    [tar({ at: "a/".repeat(5000) + "x" }), /too deep/],
    [tar({ at: "x".repeat(256) }), /255/],
  ];
  for (const [i, [layer, why]] of cases.entries()) {
    const sound = tar(dir(""), { at: "sound", data: "x" });
    await refused(layered(sound, layer), why).catch((error) => {
      throw new Error(`case ${i} ${why}: ${error.message}`, { cause: error });
    });
  }
});

Deno.test("documents and digests that do not fit are refused, and nothing is added", async () => {
  const layer = tar({ at: "a", data: "one" });
  const layers = [layer];
  await refused(image({ layers, diffIds: [`sha256:${"0".repeat(64)}`] }), /digest/);
  await refused(image({ layers, diffIds: [] }), /1 layers, but 0 diff_ids/);
  await refused(image({ layers, rootfs: "other" }), /of type other/);
  await refused(image({ layers: [] }), /no layers/);
  await refused(image({ layers, sizeOf: (bytes) => bytes.length + 1 }), /descriptor says/);
  await refused(image({ layers, extra: [["oci-layout", json({})]] }), /twice/);
  await refused(image({ layers, indexOf: () => [] }), /no image/);
  await refused(
    image({ layers, indexOf: (manifest) => [{ ...manifest, digest: "sha256:../../../etc" }] }),
    /malformed digest/,
  );
  await refused(archive([["oci-layout", json({})], ["index.json", utf8("{")]]), /version|JSON/);
  await refused(
    archive([["oci-layout", json({ imageLayoutVersion: "1.0.0" })], [
      "index.json",
      new Uint8Array((20 << 20) + 1),
    ]]),
    /large/,
  );
  await refused(archive([["x", utf8("y")]]), /no image archive/);
  await refused(utf8("not a tar"), /no valid tar/);
  await refused(new Uint8Array(), /no valid tar/);
  const manifests = (manifest: Record<string, unknown>) => [
    manifest,
    { ...manifest, digest: `sha256:${"1".repeat(64)}` },
  ];
  await refused(image({ layers, indexOf: manifests }), /2 images/);
});

Deno.test("bombs are refused at the limits", async () => {
  const bomb = tar({ at: "zeros", size: 5_000_000, data: "" }).subarray(0, 512);
  const layer = concatBytes([bomb, new Uint8Array(5_000_192), END_MARK]);
  const packed = image({ layers: [layer], pack: gzipSync });
  assert.ok(packed.length < 20_000);
  await refused(packed, /unpacks to more than/, { maxBytes: 1_000_000 });
  await refused(gzipSync(image({ layers: [layer] })), /more than/, { maxBytes: 1_000_000 });
  const many = tar(...Array.from({ length: 50 }, (_, i) => ({ at: `f${i}` })));
  await refused(layered(many), /more than 49 entries/, { maxEntries: 49 });
});

Deno.test("plain tars become one layer under the name given", async () => {
  const bytes = tar(dir("d"), { at: "d/f", data: "1" });
  for (const packed of [bytes, gzipSync(bytes), zstdCompressSync(bytes)]) {
    const made = await importInto(packed, { name: "base" });
    assert.equal(made.layers[0]!.name, "base");
    assert.deepEqual(await tree(made), { "/": "dir 755", "/d": "dir 755", "/d/f": "1" });
  }
  await refused(tar({ at: ".wh.x" }), /plain tar/, { name: "base" });
  await refused(bytes.subarray(0, bytes.length - 1024), /cut short/, { name: "base" });
  await refused(bytes, /not a name/, { name: "no/name" });
});

Deno.test("names that are taken are refused; --prefix gives others", async () => {
  const made = await TreeFixture.on(memoryStore());
  made.file("f", utf8("x"));
  const layer = await made.seal("one");
  const row = (await made.store.workspace("main"))!;
  const other = await TreeFixture.on(memoryStore());
  other.file("f", utf8("y"));
  const bytes = await exportBytes(other.store, [await other.seal("one")]);
  await assert.rejects(importImage(made.store, row, inChunks(bytes)), /has a layer one already/);
  const options = { ...IMPORT_DEFAULTS, prefix: "copy-" };
  const [copy] = await importImage(made.store, row, inChunks(bytes), options);
  assert.equal(copy!.name, "copy-one");
  assert.notDeepEqual(copy!.point, layer.point);
  assert.deepEqual((await made.store.workspace("main"))!.head, row.head);
});
