/** Mounts by the compiled binary as an ordinary user, and what a mount does when it is ended. */
import { join } from "node:path";
import { expectDone, Installation, type Outcome, sendKill, until } from "./installation.ts";

/** A real unprivileged user: `nobody`. */
const NOBODY = { uid: 65534, gid: 65534 };

function assert(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}

/** The contract of an error: one line what failed and why, a second what to do. */
function assertRefused(outcome: Outcome, status: number, message: RegExp): void {
  const { stderr, stdout } = outcome;
  assert(outcome.status === status, `status ${outcome.status}, not ${status}: ${stderr}`);
  assert(message.test(stderr), `said: ${stderr}`);
  assert(/^tarbox: .+\n(.+\n)?$/.test(stderr), `more than two lines, or no name: ${stderr}`);
  assert(stdout === "", `a failure printed: ${stdout}`);
}

function standsIn(pid: number, directory: string): boolean {
  return Deno.readLinkSync(`/proc/${pid}/cwd`) === directory;
}

async function read(tarbox: Installation, name: string): Promise<string> {
  return await tarbox.run(tarbox.directory, "cat", join(tarbox.mountPoint, name));
}

Deno.test("an ordinary user: init, mount, work, checkpoint, kill -9, signals, umount", async () => {
  const tarbox = await Installation.create(NOBODY);
  const { mountPoint } = tarbox;
  // Not even root may look into another user's mount: the shell goes there itself.
  const shell = (script: string) =>
    tarbox.run(tarbox.directory, "/bin/sh", "-ec", `cd mnt; ${script}`);
  const mounted = async () => (await tarbox.facts("status")).mounts.length > 0;
  try {
    assert((await tarbox.tarbox("init")).includes("main"), "init does not say what is ready");
    await tarbox.tarbox("mount", "--create", mountPoint);
    await shell("mkdir d; echo one > d/f; ln d/f d/g; chmod 600 d/f; git init -q d/repo");
    assert(await tarbox.tarbox("checkpoint", "first") === "first\n", "checkpoint prints its name");
    await shell("echo two > d/f");
    const diff = await tarbox.start(["diff", "first"]);
    assert(diff.status === 1 && diff.stdout.includes("-one\n+two\n"), diff.stdout + diff.stderr);
    assertRefused(await tarbox.start(["mount", mountPoint]), 1, /mounted there already/);

    const dead = await tarbox.daemon();
    await shell("sync d/f");
    sendKill(dead);
    await until("it died", () => !tarbox.processes().some(({ pid }) => pid === dead));
    const broken = await tarbox.command("ls", [mountPoint]);
    assert(/not connected/.test(broken.stderr), `ls of a dead mount: ${broken.stderr}`);
    const words = await tarbox.tarbox("status");
    assert(words.includes(`tarbox umount ${mountPoint}`), `status does not tell: ${words}`);
    const [found] = (await tarbox.facts("status")).mounts;
    assert(found.alive === false && found.mounted === true, JSON.stringify(found));
    assertRefused(await tarbox.start(["mount", mountPoint]), 1, /dead|not connected/);
    await tarbox.tarbox("umount", mountPoint);
    assert(!await mounted(), "status still shows it");

    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      await tarbox.tarbox("mount", mountPoint);
      assert(await read(tarbox, "d/g") !== "", "the file is empty");
      await shell(`echo ${signal} > d/f`);
      Deno.kill(await tarbox.daemon(), signal);
      await until(`unmounted after ${signal}`, async () => !await mounted());
      const committed = await tarbox.tarbox("cat", "d/g");
      assert(committed === `${signal}\n`, `not committed at ${signal}: ${committed}`);
    }

    await tarbox.tarbox("mount", mountPoint);
    const busy = new Deno.Command("/bin/sh", {
      args: ["-c", 'cd "$0" && exec sleep 600', mountPoint],
      ...NOBODY,
    }).spawn();
    await until("somebody stands in the mount", () => standsIn(busy.pid, mountPoint));
    try {
      assertRefused(await tarbox.start(["umount", mountPoint]), 1, /busy|in use/i);
      assert(await read(tarbox, "d/g") === "SIGINT\n", "a refused umount ended the mount");
      await shell("echo forced > d/f");
      await tarbox.tarbox("umount", "--force", mountPoint);
      assert(!await mounted(), "umount --force left it");
    } finally {
      sendKill(busy.pid);
      await busy.status;
    }
    assert(
      await tarbox.tarbox("cat", "d/g") === "forced\n",
      "umount --force lost what it could keep",
    );
    assertRefused(await tarbox.start(["umount", mountPoint]), 1, /no Tarbox mount/);
    await tarbox.tarbox("fsck");
  } finally {
    await tarbox.remove();
  }
});

Deno.test("the engine's and the mounts' commands keep the contract", async () => {
  const tarbox = await Installation.create();
  try {
    for (const command of [[], ["mount"], ["umount"], ["status"], ["db"], ["doctor"], ["init"]]) {
      const help = expectDone(`${command} --help`, await tarbox.start([...command, "--help"]));
      assert(help.startsWith("Usage: tarbox"), `${command} --help: ${help}`);
    }
    for (
      const wrong of [["mont"], ["mount", "--no-such"], ["umount"], ["db", "begin"], ["mount"]]
    ) {
      const { status, stderr } = await tarbox.start(wrong);
      assert(status === 2, `${wrong}: status ${status}: ${stderr}`);
      assert(stderr.startsWith("tarbox: "), `${wrong}: ${stderr}`);
    }
    assert((await tarbox.tarbox("--version")).trim() !== "", "no version");
    assertRefused(await tarbox.start(["mount", "/no/such/directory"]), 1, /no such directory/);

    const before = await tarbox.facts("db", "status");
    assert(before.running === false && before.pid === null, JSON.stringify(before));
    assert(await tarbox.tarbox("db", "status") === "stopped\n", "db status of a stopped engine");
    await tarbox.tarbox("db", "stop");
    await tarbox.tarbox("db", "start");
    await tarbox.tarbox("db", "start");
    const after = await tarbox.facts("db", "status");
    assert(after.running === true && after.pid > 0, JSON.stringify(after));
    assert(after.host === join(tarbox.home, "socket"), JSON.stringify(after));
    await tarbox.tarbox("init");
    const url = await tarbox.tarbox("db", "url");
    assert(/^postgres:\/\/tarbox@\/tarbox\?host=\S+&port=5432\n$/.test(url), url);
    const there = await tarbox.start(["layers"], { TARBOX_DATABASE_URL: url.trim() });
    expectDone("layers by db url", there);

    const { checks, status } = await doctor();
    assert(status === 0, `doctor: status ${status}: ${JSON.stringify(checks)}`);
    assert(
      checks.every(({ check, ok, found }) => check !== "" && ok && found !== ""),
      JSON.stringify(checks),
    );
    const gone = await doctor({ TARBOX_DATABASE_URL: "postgres://x:secret@127.0.0.1:1/x" });
    assert(gone.status === 1, `doctor without a database: status ${gone.status}`);
    const failed = gone.checks.filter(({ ok }) => !ok);
    assert(failed.length === 1 && failed[0]!.check === "database", JSON.stringify(gone.checks));
    assert(!JSON.stringify(gone.checks).includes("secret"), "doctor tells the password");

    const facts = await tarbox.facts("status");
    assert(facts.tenant === "default" && facts.mounts.length === 0, JSON.stringify(facts));
    const [main] = facts.workspaces;
    assert(main.name === "main" && main.held === false && main.base === null, JSON.stringify(main));
    await tarbox.tarbox("db", "stop");
    assert(tarbox.processes().length === 0, "db stop left processes");
  } finally {
    await tarbox.remove();
  }

  async function doctor(env: Record<string, string> = {}) {
    const { status, stdout } = await tarbox.start(["--json", "doctor"], env);
    const checks: { check: string; ok: boolean; found: string }[] = JSON.parse(stdout);
    return { status, checks };
  }
});
