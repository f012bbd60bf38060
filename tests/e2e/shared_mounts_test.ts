/**
 * Two and three mounts of one workspace, each its own process (spec/coherence.md): a history of
 * operations that a native directory has, too; what must be atomic; locks; crashes.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { expectDone, Installation, sendKill, until } from "./installation.ts";

/** Mounts the workspace at as many places. */
async function mounts(tarbox: Installation, count: number): Promise<string[]> {
  const points = Array.from({ length: count }, (_, i) => join(tarbox.directory, `mnt-${i}`));
  for (const point of points) await tarbox.tarbox("mount", "--create", point);
  return points;
}

/** A generator of numbers below `bound`, the same for a seed on every machine. */
function random(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * bound);
  };
}

/** What an operation gave: a value, or the name of its error. */
async function outcome(act: () => Promise<unknown>): Promise<unknown> {
  try {
    return await act() ?? null;
  } catch (error) {
    return (error as { code?: string }).code ?? (error as Error).name;
  }
}

type Act = (directory: string) => Promise<unknown>;

const NAMES = ["a", "b", "c", "d", "e"];

/** One operation on a small set of names, so that they meet often. */
function operation(next: (bound: number) => number, step: number): { shown: string; act: Act } {
  const [one, two] = [NAMES[next(NAMES.length)]!, NAMES[next(NAMES.length)]!];
  const choice = next(30);
  const kinds: readonly [string, Act][] = [
    ["write", (d) => Deno.writeTextFile(join(d, one), `written ${step}\n`)],
    ["append", (d) => Deno.writeTextFile(join(d, one), `added ${step}\n`, { append: true })],
    ["create", (d) => Deno.writeTextFile(join(d, one), String(step), { createNew: true })],
    ["read", (d) => Deno.readTextFile(join(d, one))],
    ["stat", async (d) => {
      const { isFile, isDirectory, size, mode, nlink } = await Deno.lstat(join(d, one));
      return { isFile, isDirectory, size: isFile ? size : 0, mode, nlink: isFile ? nlink : 0 };
    }],
    ["remove", (d) => Deno.remove(join(d, one))],
    ["rename", (d) => Deno.rename(join(d, one), join(d, two))],
    ["link", (d) => Deno.link(join(d, one), join(d, two))],
    ["symlink", (d) => Deno.symlink(two, join(d, one))],
    ["mkdir", (d) => Deno.mkdir(join(d, one))],
    ["chmod", (d) => Deno.chmod(join(d, one), 0o600 + 8 * (choice % 8))],
    ["truncate", (d) => Deno.truncate(join(d, one), choice)],
    ["list", async (d) => (await Array.fromAsync(Deno.readDir(d))).map(({ name }) => name).sort()],
  ];
  const [kind, act] = kinds[next(kinds.length)]!;
  return { shown: `${step}: ${kind} ${one} ${two}`, act };
}

Deno.test("a history over three mounts is that of one directory", async () => {
  const tarbox = await Installation.create();
  try {
    const points = await mounts(tarbox, 3);
    const native = join(tarbox.directory, "native");
    await Deno.mkdir(native);
    const seed = Number(Deno.env.get("TARBOX_SEED") ?? 20261125);
    const next = random(seed);
    for (let step = 0; step < 150; step++) {
      const mount = points[next(points.length)]!;
      const { shown, act } = operation(random(next(2 ** 31)), step);
      const expected = await outcome(() => act(native));
      const actual = await outcome(() => act(mount));
      assert.deepEqual(actual, expected, `seed ${seed}, step ${shown}`);
    }
    for (const point of points) {
      const list = `find . -mindepth 1 -printf '%p %y %m %n %l\\n' | grep -v ' d ' | sort; ` +
        "find . -type f | sort | xargs -r cat";
      assert.equal(
        await tarbox.run(point, "sh", "-c", list),
        await tarbox.run(native, "sh", "-c", list),
      );
    }
    await tarbox.tarbox("fsck");
  } finally {
    await tarbox.remove();
  }
});

/** Runs the same Python program against each mount at the same time. */
async function everywhere(
  tarbox: Installation,
  points: readonly string[],
  program: string,
): Promise<string[]> {
  return await Promise.all(points.map(async (point, i) => {
    const args = ["-c", program, String(i)];
    const options = { cwd: point, limitSeconds: 100 };
    return expectDone("python3", await tarbox.command("python3", args, options));
  }));
}

Deno.test("appending, creating, locking: one at a time, whatever the mount", async (test) => {
  const tarbox = await Installation.create();
  try {
    const points = await mounts(tarbox, 2);
    const [first] = points as [string, string];

    await test.step("status names every mount", async () => {
      const { workspaces } = await tarbox.facts("status");
      const named = workspaces[0].mounts.map((mount: { mountPoint: string }) => mount.mountPoint);
      assert.deepEqual(named.sort(), points);
    });

    await test.step("O_APPEND loses and tears nothing", async () => {
      const lines = 40;
      await everywhere(
        tarbox,
        points,
        `
import os, sys
fd = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for n in range(${lines}): os.write(fd, b"%s-%d\\n" % (sys.argv[1].encode(), n))
`,
      );
      const log = (await Deno.readTextFile(join(first, "log"))).trim().split("\n");
      for (const i of points.keys()) {
        const own = log.filter((line) => line.startsWith(`${i}-`));
        assert.deepEqual(own, Array.from({ length: lines }, (_, n) => `${i}-${n}`));
      }
      assert.equal(log.length, lines * points.length);
    });

    await test.step("O_EXCL, link and mkdir have one winner", async () => {
      const won = await everywhere(
        tarbox,
        points,
        `
import os, sys
open("mine-" + sys.argv[1], "w").close()
won = []
for n in range(20):
    for name, act in (("file", lambda p: os.close(os.open(p, os.O_CREAT | os.O_EXCL))),
                      ("link", lambda p: os.link("mine-" + sys.argv[1], p)),
                      ("dir", os.mkdir)):
        try:
            act("%s-%d" % (name, n)); won.append("%s-%d" % (name, n))
        except FileExistsError: pass
print("\\n".join(won))
`,
      );
      const all = won.flatMap((text) => text.trim().split("\n").filter((name) => name !== ""));
      assert.equal(new Set(all).size, all.length, "two mounts made the same name");
      assert.equal(all.length, 60);
    });

    for (const kind of ["flock", "lockf"]) {
      await test.step(`${kind} guards a counter`, async () => {
        const rounds = 15;
        await Deno.writeTextFile(join(first, kind), "0");
        await everywhere(
          tarbox,
          points,
          `
import fcntl
for n in range(${rounds}):
    with open("${kind}", "r+") as f:
        fcntl.${kind}(f, fcntl.LOCK_EX)
        value = int(f.read()); f.seek(0); f.write(str(value + 1)); f.flush()
        fcntl.${kind}(f, fcntl.LOCK_UN)
`,
        );
        const value = await Deno.readTextFile(join(first, kind));
        assert.equal(Number(value), rounds * points.length);
      });
    }

    await test.step("SQLite in rollback mode, from both", async () => {
      const rows = 5;
      await everywhere(
        tarbox,
        points,
        `
import sqlite3, sys
db = sqlite3.connect("base.db", timeout=60, isolation_level=None)
db.execute("create table if not exists t (who, n)")
for n in range(${rows}): db.execute("insert into t values (?, ?)", (sys.argv[1], n))
`,
      );
      const check = `
import sqlite3
db = sqlite3.connect("base.db")
print(db.execute("pragma integrity_check").fetchone()[0], db.execute("select count(*) from t").fetchone()[0])
`;
      for (const point of points) {
        const told = await tarbox.run(point, "python3", "-c", check);
        assert.equal(told.trim(), `ok ${rows * points.length}`);
      }
    });

    await test.step("a checkpoint holds what both did, and both follow a switch", async () => {
      const [one, two] = points as [string, string];
      await Deno.writeTextFile(join(one, "x"), "before one");
      await Deno.writeTextFile(join(two, "y"), "before two");
      await tarbox.tarbox("checkpoint", "both");
      await Deno.writeTextFile(join(two, "x"), "after");
      assert.equal(await Deno.readTextFile(join(one, "x")), "after");
      await tarbox.tarbox("switch", "both");
      for (const point of points) {
        assert.equal(await Deno.readTextFile(join(point, "x")), "before one");
        assert.equal(await Deno.readTextFile(join(point, "y")), "before two");
      }
    });

    await test.step("what is open on one mount outlives its removal on the other", async () => {
      const [one, two] = points as [string, string];
      await Deno.writeTextFile(join(one, "open"), "still here");
      using file = await Deno.open(join(two, "open"));
      await Deno.remove(join(one, "open"));
      const buffer = new Uint8Array(64);
      const length = await file.read(buffer);
      assert.equal(new TextDecoder().decode(buffer.subarray(0, length!)), "still here");
    });

    await test.step("git, from both", async () => {
      const [one, two] = points as [string, string];
      const git = (point: string, ...args: string[]) =>
        tarbox.run(
          join(point, "repository"),
          "git",
          "-c",
          "user.name=t",
          "-c",
          "user.email=t@t",
          ...args,
        );
      await Deno.mkdir(join(one, "repository"));
      await git(one, "init", "-q");
      for (const [i, point] of [one, two, one].entries()) {
        await Deno.writeTextFile(join(point, "repository", `file-${i}`), `${i}\n`);
        await git(point, "add", "-A");
        await git(point, "commit", "-q", "-m", `commit ${i}`);
      }
      assert.equal((await git(two, "log", "--format=%s")).trim().split("\n").length, 3);
      assert.equal((await git(two, "status", "--porcelain")).trim(), "");
      await git(two, "fsck", "--strict");
    });

    await test.step("a mount that is killed leaves the other working, with all it had synced", async () => {
      const [one, two] = points as [string, string];
      const program = `
import os
fd = os.open("synced", os.O_WRONLY | os.O_CREAT); os.write(fd, b"synced"); os.fsync(fd)
`;
      await tarbox.run(one, "python3", "-c", program);
      sendKill(await tarbox.daemon(one));
      assert.equal(await Deno.readTextFile(join(two, "synced")), "synced");
      await Deno.writeTextFile(join(two, "after"), "the crash");
      await tarbox.tarbox("umount", one);
    });

    await test.step("the last one works alone again, and nothing is lost", async () => {
      const [, two] = points as [string, string];
      await until("the lease is kept", async () => {
        const { workspaces } = await tarbox.facts("status");
        return workspaces[0].holder?.shared === false;
      });
      assert.equal(await Deno.readTextFile(join(two, "after")), "the crash");
      await tarbox.tarbox("umount", two);
      await tarbox.tarbox("fsck");
    });
  } finally {
    await tarbox.remove();
  }
});
