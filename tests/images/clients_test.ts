import assert from "node:assert/strict";
import { join } from "node:path";
import { concatBytes, latin1, text, utf8 } from "../../src/base/bytes.ts";
import { S_IFIFO } from "../../src/base/modes.ts";
import { importImage } from "../../src/oci/import.ts";
import type { TarEntry } from "../../src/oci/tar_entry.ts";
import { readTar } from "../../src/oci/tar_reader.ts";
import { describeTree, exportBytes, inChunks, TreeFixture } from "../../src/oci/tree_fixture.ts";
import { memoryStore } from "../../src/store/memory/store.ts";
import { BLOCK_SIZE } from "../../src/store/rows.ts";
import { packXattrs } from "../../src/store/xattrs.ts";

/** Seconds that a client may take for one command. */
const CLIENT_SECONDS = 100;

interface Read {
  readonly entry: TarEntry;
  readonly content: Uint8Array;
}

async function readAll(bytes: Uint8Array): Promise<Read[]> {
  const out: Read[] = [];
  for await (const { entry, content } of readTar(inChunks(bytes), { name: "it", endMark: true })) {
    const parts: Uint8Array[] = [];
    for await (const part of content()) parts.push(part.slice());
    out.push({ entry, content: concatBytes(parts) });
  }
  return out;
}

async function run(
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Uint8Array> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    env,
    signal: AbortSignal.timeout(CLIENT_SECONDS * 1000),
  }).output();
  assert.equal(code, 0, `${command} ${args.join(" ")}: ${text(stderr)}`);
  return stdout;
}

/** Two layers with what clients stumble over. */
async function richTree() {
  const tree = await TreeFixture.on(memoryStore());
  const owned = Deno.uid() === 0
    ? { uid: 1234, gid: 3_000_000 }
    : { uid: Deno.uid()!, gid: Deno.gid()! };
  const xattrs = packXattrs([{ name: utf8("user.key"), value: Uint8Array.of(1, 0, 255, 10) }]);
  tree.set("", owned);
  tree.mkdir("dir", { ...owned, mode: 0o41777, mtime: 1_700_000_000_123_456_789n });
  tree.mkdir("dir/deep", { ...owned, xattrs });
  tree.file("dir/deep/file", utf8("content"), { ...owned, xattrs, mode: 0o104750 });
  tree.file("dir/old", utf8("old"), owned);
  tree.file("gone", utf8("gone"), owned);
  tree.file("sparse", new Uint8Array(3 * BLOCK_SIZE + 5), owned, () => 0);
  const one = await tree.seal("one", "the first");
  tree.remove("gone");
  tree.remove("dir/old");
  tree.link("dir/deep/file", "another");
  tree.symlink(latin1(utf8("zeichen-ä")), utf8("t".repeat(200)), owned);
  tree.file("\xff\xfe" + "n".repeat(150), utf8("not UTF-8"), owned);
  tree.node("fifo", S_IFIFO | 0o600, owned);
  return { tree, layers: [one, await tree.seal("two")] };
}

/** What a tar says of each path; a hard link as what it links to. */
function facts(members: readonly Read[]): Map<string, string> {
  const out = new Map<string, string>();
  for (const { entry, content } of members) {
    const path = latin1(entry.path);
    if (entry.type === "link") {
      out.set(path, out.get(latin1(entry.target))!);
      continue;
    }
    const xattrs = entry.xattrs.filter(({ name }) => text(name).startsWith("user."))
      .map(({ name, value }) => `${text(name)}=${value.toHex()}`);
    const parts = [entry.type, entry.uid, entry.gid, entry.mtime, latin1(entry.target), ...xattrs];
    // The bits of a symbolic link say nothing.
    if (entry.type !== "symlink") parts.push(entry.mode.toString(8));
    out.set(path, `${parts.join(" ")} ${content.toBase64()}`);
  }
  return out;
}

/** What a directory holds, as {@link facts} of its tar. */
async function directoryFacts(directory: string): Promise<Map<string, string>> {
  return facts(
    await readAll(
      await run("tar", [
        "--format=posix",
        "--sort=name",
        "--xattrs",
        "--xattrs-include=user.*",
        "--numeric-owner",
        "-C",
        directory,
        "-cf",
        "-",
        ".",
      ]),
    ),
  );
}

/** The rich tree as an archive, what its tree is, and a directory that goes away. */
async function withArchive(
  compression: "stored" | "gzip",
  body: (
    given: {
      readonly directory: string;
      readonly file: string;
      readonly wanted: Map<string, string>;
      readonly digest: string;
      readonly described: string[];
    },
  ) => Promise<void>,
): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "tarbox-clients-" });
  try {
    const { tree, layers } = await richTree();
    const rootfs = await exportBytes(tree.store, layers, { format: "rootfs", compression: "none" });
    const file = join(directory, "image.tar");
    await Deno.writeFile(file, await exportBytes(tree.store, layers, { compression }));
    await body({
      directory,
      file,
      wanted: facts(await readAll(rootfs)),
      digest: await inspected(`oci-archive:${file}`),
      described: await describeTree(tree.store, layers[1]!.point),
    });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** Digest of the manifest, as skopeo sees it. */
async function inspected(image: string): Promise<string> {
  const facts = JSON.parse(text(await run("skopeo", ["inspect", image])));
  assert.equal(facts.Layers.length, 2);
  return facts.Digest;
}

/** Imports what a client made of the archive; it must be the same tree. */
async function comesBack(source: string, described: readonly string[]): Promise<void> {
  const store = memoryStore();
  const row = await store.createWorkspace("w", null, { uid: 0, gid: 0, time: 0n });
  const layers = await importImage(store, row, source);
  assert.deepEqual(layers.map(({ name, message }) => [name, message]), [
    ["one", "the first"],
    ["two", ""],
  ]);
  assert.deepEqual(await describeTree(store, layers[1]!.point), described);
}

for (const compression of ["stored", "gzip"] as const) {
  Deno.test(`skopeo copies a ${compression} archive unchanged, and umoci unpacks the very tree`, async () => {
    await withArchive(compression, async ({ directory, file, wanted, digest, described }) => {
      const layout = join(directory, "layout");
      await run("skopeo", ["copy", "--quiet", `oci-archive:${file}`, `oci:${layout}:two`]);
      assert.equal(await inspected(`oci:${layout}:two`), digest);
      await run("skopeo", ["copy", "--quiet", `docker-archive:${file}`, `dir:${layout}-docker`]);
      const bundle = join(directory, "bundle");
      const rootless = Deno.uid() === 0 ? [] : ["--rootless"];
      await run("umoci", ["unpack", ...rootless, "--image", `${layout}:two`, bundle]);
      assert.deepEqual(await directoryFacts(join(bundle, "rootfs")), wanted);
      await comesBack(layout, described);
    });
  });
}

Deno.test("what skopeo and umoci make of an archive comes back: docker's, packed, repacked", async () => {
  await withArchive("gzip", async ({ directory, file, described }) => {
    const docker = join(directory, "docker.tar");
    await run("skopeo", [
      "copy",
      "--quiet",
      `oci-archive:${file}`,
      `docker-archive:${docker}:it:1`,
    ]);
    await comesBack(docker, described);
    const zstd = join(directory, "zstd");
    await run("skopeo", [
      "copy",
      "--quiet",
      "--dest-compress-format=zstd",
      `oci-archive:${file}`,
      `oci-archive:${zstd}:it`,
    ]);
    await comesBack(zstd, described);
    await run("gzip", [docker]);
    await comesBack(`${docker}.gz`, described);
  });
});

/** All but the root directory: that of a container is the engine's own, with its owner and time. */
function belowRoot(found: ReadonlyMap<string, string>): Map<string, string> {
  return new Map([...found].filter(([path]) => path !== ""));
}

Deno.test("buildah pulls the archive and mounts the very tree", async () => {
  await withArchive("stored", async ({ directory, file, wanted }) => {
    const buildah = (...args: string[]) =>
      run("buildah", [
        `--root=${directory}/root`,
        `--runroot=${directory}/run`,
        "--storage-driver=vfs",
        ...args,
      ]).then((output) => text(output).trim());
    const image = (await buildah("pull", "-q", `oci-archive:${file}`)).split("\n").at(-1)!;
    const container = await buildah("from", "--pull-never", image);
    try {
      const mounted = await directoryFacts(await buildah("mount", container));
      assert.deepEqual(belowRoot(mounted), belowRoot(wanted));
      const docker = join(directory, "podman.tar");
      await buildah("push", "-q", image, `docker-archive:${docker}:it:1`);
      const store = memoryStore();
      const row = await store.createWorkspace("w", null, { uid: 0, gid: 0, time: 0n });
      const layers = await importImage(store, row, docker);
      assert.deepEqual(layers.map(({ name }) => name), ["one", "two"]);
    } finally {
      await buildah("umount", container);
      await buildah("rm", container);
    }
  });
});

Deno.test("containerd imports the archive and mounts the very tree", async () => {
  await withArchive("stored", async ({ directory, file, wanted, digest }) => {
    const socket = join(directory, "socket");
    const configuration = join(directory, "config.toml");
    await Deno.writeTextFile(
      configuration,
      `version = 2
root = "${directory}/root"
state = "${directory}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "${socket}"
[ttrpc]
  address = "${socket}.ttrpc"
`,
    );
    const daemon = new Deno.Command("containerd", {
      args: ["--config", configuration],
      stdout: "null",
      stderr: "null",
    }).spawn();
    const ctr = (...args: string[]) =>
      run("ctr", ["--address", socket, "--connect-timeout", "30s", ...args]).then((output) =>
        text(output).trim()
      );
    try {
      await ctr("images", "import", "--snapshotter", "native", "--base-name", "it", file);
      const listed = await ctr("images", "ls");
      assert.ok(listed.includes(digest), listed);
      const mount = join(directory, "mount");
      await Deno.mkdir(mount);
      await ctr("images", "mount", "--snapshotter", "native", "it:two", mount);
      try {
        assert.deepEqual(belowRoot(await directoryFacts(mount)), belowRoot(wanted));
      } finally {
        await run("umount", [mount]);
      }
    } finally {
      daemon.kill("SIGTERM");
      await daemon.status;
    }
  });
});
