import assert from "node:assert/strict";
import { utf8 } from "../base/bytes.ts";
import { memoryStore } from "../store/memory/store.ts";
import type { Point } from "../store/rows.ts";
import { image, importInto, refused, tar, tree } from "./image_fixture.ts";
import { IMPORT_DEFAULTS, importImage } from "./import.ts";
import { parsePlatform } from "./platform.ts";
import { describeTree, exportBytes, inChunks, TreeFixture } from "./tree_fixture.ts";

Deno.test("layers that are there already are told by their diff_ids and not read again", async () => {
  const made = await TreeFixture.on(memoryStore());
  made.mkdir("d");
  made.file("d/a", utf8("one"));
  made.link("d/a", "b");
  const layers = [await made.seal("one")];
  const first = await exportBytes(made.store, layers);
  made.remove("d/a");
  made.file("d/c", utf8("two"));
  layers.push(await made.seal("two"));
  made.mkdir("d/e");
  layers.push(await made.seal("three"));
  const whole = await exportBytes(made.store, layers);

  // The exporter itself has them all.
  const row = (await made.store.workspace("main"))!;
  const notices: string[] = [];
  const options = { ...IMPORT_DEFAULTS, notice: (message: string) => notices.push(message) };
  const again = await importImage(made.store, row, inChunks(whole), options);
  assert.deepEqual(again, layers);
  assert.deepEqual(notices, ["3 of 3 layers are there already"]);
  assert.deepEqual((await made.store.layers()).length, 3);

  // Another cluster has the first: the others are applied to it, and give the same archive.
  const store = memoryStore();
  const workspace = await store.createWorkspace("main", null, { uid: 0, gid: 0, time: 0n });
  const [base] = await importImage(store, workspace, inChunks(first));
  const opened: (Point | null)[] = [];
  const open = store.openLineage.bind(store);
  store.openLineage = (on) => (opened.push(on), open(on));
  const grown = await importImage(store, workspace, inChunks(whole));
  assert.deepEqual(opened, [base!.point]);
  assert.deepEqual(grown.map(({ id, name }) => [id === base!.id, name]), [
    [true, "one"],
    [false, "two"],
    [false, "three"],
  ]);
  assert.deepEqual(grown.map(({ parent }) => parent), [null, base!.id, grown[1]!.id]);
  for (const [i, { point }] of grown.entries()) {
    assert.deepEqual(
      await describeTree(store, point),
      await describeTree(made.store, layers[i]!.point),
    );
  }
  const exported = await exportBytes(store, grown);
  assert.ok(exported.toHex() === whole.toHex());

  // In another workspace they are layers under its own names, without reading anything.
  const second = await store.createWorkspace("second", null, { uid: 0, gid: 0, time: 0n });
  opened.length = 0;
  const shared = await importImage(store, second, inChunks(whole), {
    ...IMPORT_DEFAULTS,
    prefix: "x-",
  });
  assert.deepEqual(opened, []);
  assert.deepEqual(
    shared.map(({ name, point }) => [name, point]),
    grown.map(({ point }, i) => [
      ["x-one", "x-two", "x-three"][i],
      point,
    ]),
  );
  // What lost its layer may be reclaimed, and is read again.
  await store.dropLayers([...grown, ...shared].map(({ id }) => id));
  await importImage(store, second, inChunks(first));
  assert.deepEqual(opened, [null]);
});

Deno.test("an index has an image for each platform; a container's configuration comes along", async () => {
  const layers = [tar({ at: "a", data: "one" })];
  const run = { Env: ["PATH=/bin"], Cmd: ["sh"], Labels: { z: "1", a: "2" } };
  const arm = image({ layers, config: { architecture: "arm", variant: "v7", config: run } });
  const bytes = image({
    layers: [tar({ at: "a", data: "two" })],
    indexOf: (manifest) => [
      { ...manifest, platform: { os: "linux", architecture: "amd64" } },
      {
        ...manifest,
        digest: `sha256:${"1".repeat(64)}`,
        platform: { os: "linux", architecture: "arm" },
      },
    ],
  });
  const platform = (written: string) => ({ platform: parsePlatform(written) });
  assert.equal((await tree(await importInto(bytes, platform("linux/amd64"))))["/a"], "two");
  await refused(bytes, /lacks blobs/, platform("linux/arm"));
  await refused(bytes, /no image for linux\/s390x/, platform("linux/s390x"));
  await refused(arm, /no image for linux\/amd64/, platform("linux/amd64"));
  const made = await importInto(arm, platform("linux/arm"));
  const exported = await exportBytes(made.store, made.layers);
  const again = await importInto(exported);
  assert.ok((await exportBytes(again.store, again.layers)).toHex() === exported.toHex());
  const config = (await again.store.imageConfigs([again.layers[0]!.point]))[0]!.config;
  assert.deepEqual(config, {
    architecture: "arm",
    os: "linux",
    variant: "v7",
    config: { ...run, Labels: { ...run.Labels, "io.tarbox.layer.name": "layer-1" } },
  });
});
