import assert from "node:assert/strict";
import { join } from "node:path";
import { Installation, until } from "./installation.ts";

Deno.test("try runs a command on a fork in place, and accepts, rejects or keeps it", async () => {
  const tarbox = await Installation.create();
  try {
    const at = tarbox.mountPoint;
    await tarbox.tarbox("mount", "--create", at);
    await Deno.mkdir(join(at, "d"));
    await Deno.writeTextFile(join(at, "d/file"), "one\n");
    const attempt = (args: string[], script: string) =>
      tarbox.command(tarbox.binary, ["try", ...args, "--", "sh", "-c", script], {
        cwd: join(at, "d"),
      });
    const here = (path: string) => Deno.readTextFile(join(at, path));

    // The command works where it stands; nobody else sees it.
    const outside = join(tarbox.directory, "outside");
    const script = `pwd; echo two >file; cat ${at}/d/file; echo new >../new; ls ${at} >${outside}`;
    const rejected = await attempt(["--reject"], script);
    assert.equal(rejected.status, 0, rejected.stderr);
    assert.ok(rejected.stdout.startsWith(`${join(at, "d")}\ntwo\n`), rejected.stdout);
    assert.match(rejected.stdout, /--- \/d\/file \(auto-[^)]*\)\n.*\n@@ -1 \+1 @@\n-one\n\+two\n/);
    assert.match(rejected.stdout, /rejected\n$/);
    assert.equal(await Deno.readTextFile(outside), "d\nnew\n");
    assert.equal(await here("d/file"), "one\n");

    const accepted = await attempt(["--accept"], "echo two >file; echo new >../new");
    assert.match(accepted.stdout, /accepted: 2 paths taken\n$/, accepted.stderr);
    assert.equal(await here("d/file"), "two\n");
    assert.equal(await here("new"), "new\n");
    assert.deepEqual(
      (await tarbox.facts("workspace", "list")).map(({ name }: { name: string }) => name),
      ["main"],
    );

    // A command that failed is not accepted, and what it did is not lost.
    const failed = await attempt(["--accept"], "echo bad >file; exit 3");
    assert.equal(failed.status, 3);
    const kept = /kept \(workspace (\S+)\)\n$/.exec(failed.stdout)![1]!;
    assert.equal(await here("d/file"), "two\n");
    assert.equal(await tarbox.tarbox("--workspace", kept, "cat", "/d/file"), "bad\n");

    await attempt(["--keep", "idea"], "echo idea >idea");
    assert.equal(await tarbox.tarbox("--workspace", "idea", "cat", "/d/idea"), "idea\n");

    // What changed meanwhile on both sides conflicts; the head keeps its own.
    await Deno.writeTextFile(outside, "");
    const running = attempt(
      ["--accept"],
      `echo theirs >file; echo there >${outside}; ` +
        `while [ "$(cat ${outside})" = there ]; do sleep 0.1; done`,
    );
    await until("the command runs", async () => await Deno.readTextFile(outside) === "there\n");
    await Deno.writeTextFile(join(at, "d/file"), "ours\n");
    await Deno.writeTextFile(outside, "go on\n");
    const clash = await running;
    assert.equal(clash.status, 1);
    assert.match(clash.stdout, /conflict \/d\/file: 1 places changed on both sides; see /);
    assert.equal(await here("d/file"), "ours\n");

    const nobody = await attempt([], "true");
    assert.equal(nobody.status, 2);
    assert.match(nobody.stderr, /give one of --accept, --reject and --keep NAME/);
  } finally {
    await tarbox.remove();
  }
});

Deno.test("automatic checkpoints are made of what changed, and only then", async () => {
  const tarbox = await Installation.create();
  try {
    const configuration = join(tarbox.directory, "tarbox.toml");
    await Deno.writeTextFile(
      configuration,
      '[layer]\nauto_checkpoint = true\ncheckpoint_interval = "1s"\n',
    );
    const at = tarbox.mountPoint;
    await tarbox.tarbox("--config", configuration, "mount", "--create", at);
    const layers = async () =>
      (await tarbox.facts("layers")).map(({ message }: { message: string }) => message);
    await Deno.writeTextFile(join(at, "file"), "one\n");
    await until("a checkpoint", async () => (await layers()).length > 0);
    const first = (await layers()).length;
    // Two intervals in which nothing changes.
    await new Promise((resolve) => setTimeout(resolve, 2500));
    assert.equal((await layers()).length, first);
    await Deno.writeTextFile(join(at, "file"), "two\n");
    await until("another", async () => (await layers()).length > first);
    assert.ok((await layers()).every((message: string) => message === "automatic"));
  } finally {
    await tarbox.remove();
  }
});
