/**
 * kill -9 and kill -STOP of one of two mounts that share a workspace, while both are written to:
 * whatever was fsynced on either is there on the other, and the other goes on.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Installation, sendKill, until } from "./installation.ts";

const ROUNDS = 3;

/** Makes numbered files in its directory, synced each, and notes outside what is. */
const WRITER = `
import os, sys
name, log = sys.argv[1], open(sys.argv[2], "w")
for n in range(100000):
    if os.path.exists(sys.argv[2] + ".stop"): break
    try:
        with open("%s-%d" % (name, n), "w") as f:
            f.write("%s-%d\\n" % (name, n) * (1 + n % 50)); f.flush(); os.fsync(f.fileno())
    except OSError as error:
        print(error.errno); break
    log.write("%d\\n" % n); log.flush()
`;

async function synced(log: string): Promise<number> {
  const text = await Deno.readTextFile(log).catch(() => "");
  return text.split("\n").length - 1;
}

/** Fails unless a directory has every file that a writer noted, as it was written. */
async function holds(directory: string, name: string, count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    const text = await Deno.readTextFile(join(directory, `${name}-${n}`));
    assert.equal(text, `${name}-${n}\n`.repeat(1 + n % 50), `${name}-${n} of ${count}`);
  }
}

Deno.test("a mount that is killed takes nothing of the others with it", async () => {
  const tarbox = await Installation.create();
  try {
    const points = ["one", "two"].map((name) => join(tarbox.directory, name));
    for (const point of points) await tarbox.tarbox("mount", "--create", point);
    for (let round = 0; round < ROUNDS; round++) {
      const victim = round % 2;
      const survivor = points[1 - victim]!;
      const logs = points.map((_, i) => join(tarbox.directory, `log-${round}-${i}`));
      const ended = points.map((point, i) =>
        tarbox.command("python3", ["-c", WRITER, `r${round}m${i}`, logs[i]!], { cwd: point })
      );
      await until(
        "both have synced",
        async () => (await Promise.all(logs.map(synced))).every((count) => count > 3),
      );
      sendKill(await tarbox.daemon(points[victim]!));
      const before = await synced(logs[1 - victim]!);
      await until("the other goes on", async () => await synced(logs[1 - victim]!) > before + 3);
      await ended[victim];
      await Deno.writeTextFile(`${logs[1 - victim]}.stop`, "");
      await ended[1 - victim];
      for (const i of points.keys()) {
        await holds(survivor, `r${round}m${i}`, await synced(logs[i]!));
      }
      await tarbox.tarbox("umount", points[victim]!);
      await tarbox.tarbox("mount", points[victim]!);
    }
    for (const point of points) await tarbox.tarbox("umount", point);
    await tarbox.tarbox("fsck");
  } finally {
    await tarbox.remove();
  }
});

Deno.test("a mount that is stopped for too long is fenced: what it does then fails", async () => {
  const tarbox = await Installation.create();
  let stopped: number | null = null;
  try {
    const [one, two] = ["one", "two"].map((name) => join(tarbox.directory, name)) as [
      string,
      string,
    ];
    for (const point of [one, two]) await tarbox.tarbox("mount", "--create", point);
    const log = join(tarbox.directory, "log");
    const writer = tarbox.command("python3", ["-c", WRITER, "stopped", log], { cwd: one });
    await until("it has synced", async () => await synced(log) > 3);
    stopped = await tarbox.daemon(one);
    Deno.kill(stopped, "SIGSTOP");
    const count = await synced(log);
    // Returns once the lease was taken over, if the stopped one had it.
    await Deno.writeTextFile(join(two, "meanwhile"), "written");
    await holds(two, "stopped", count);
    await until("it is taken away", async () => {
      const { workspaces } = await tarbox.facts("status");
      return workspaces[0].mounts.length === 1;
    });
    Deno.kill(stopped, "SIGCONT");
    await Deno.writeTextFile(`${log}.stop`, "");
    await writer;
    assert.equal(await Deno.readTextFile(join(two, "meanwhile")), "written");
    await holds(two, "stopped", await synced(log));
    // Whether it lost a turn or only its place, it must not show another history.
    const seen = await Deno.readTextFile(join(one, "meanwhile")).catch((error) => error.code);
    assert.ok(["written", "EIO"].includes(seen), `it shows ${seen}`);
    await tarbox.start(["umount", "--force", one]);
    await tarbox.tarbox("umount", two);
    await tarbox.tarbox("fsck");
  } finally {
    if (stopped !== null) {
      try {
        Deno.kill(stopped, "SIGCONT");
      } catch {
        // It has ended.
      }
    }
    await tarbox.remove();
  }
});
