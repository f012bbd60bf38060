/** The embedded engine by the compiled binary: whatever was killed, the next start succeeds. */
import { join } from "node:path";
import { expectDone, Installation, type Outcome, sendKill, until } from "./installation.ts";

/** A real unprivileged user: `nobody`. */
const NOBODY = { uid: 65534, gid: 65534 };

async function withInstallation(
  body: (tarbox: Installation) => Promise<void>,
  user?: { uid: number; gid: number },
): Promise<void> {
  const tarbox = await Installation.create(user);
  try {
    await body(tarbox);
  } finally {
    await tarbox.remove();
  }
}

/** Writes a file and reads it back: the engine serves, and keeps what it was given before. */
async function assertServes(tarbox: Installation): Promise<void> {
  await tarbox.tarbox("checkpoint");
  await tarbox.tarbox("layers");
}

async function engine(tarbox: Installation) {
  return await tarbox.facts("db", "status") as {
    running: boolean;
    pid: number | null;
    supervisor: number | null;
  };
}

function assert(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}

/** Kills every process of an installation, in one go. */
function killAll(tarbox: Installation): void {
  for (const { pid } of tarbox.processes()) sendKill(pid);
}

async function mtime(path: string): Promise<number> {
  return (await Deno.stat(path)).mtime!.getTime();
}

Deno.test("eight commands start an empty home at the same instant, and it stops after the last", () =>
  withInstallation(async (tarbox) => {
    const outcomes = await Promise.all(
      Array.from({ length: 8 }, (_, index) => tarbox.start(["fork", `fork-${index}`])),
    );
    outcomes.forEach((outcome, index) => expectDone(`command ${index}`, outcome));
    const { workspaces } = await tarbox.facts("status");
    assert(workspaces.length === 9, `nine workspaces, not ${workspaces.length}`);
    await until("the engine stops by itself", () => tarbox.processes().length === 0);
    assert(!(await engine(tarbox)).running, "the status says that it runs");
    const two = await Promise.all([tarbox.start(["layers"]), tarbox.start(["layers"])]);
    two.forEach((outcome) => expectDone("layers", outcome));
  }));

Deno.test("a start that was killed at any moment does not block the next", () =>
  withInstallation(async (tarbox) => {
    const partials = (directory: string) => {
      try {
        return [...Deno.readDirSync(join(tarbox.home, directory))]
          .map(({ name }) => name).filter((name) => name.endsWith(".partial"));
      } catch {
        return [];
      }
    };
    const begun: Promise<Outcome>[] = [];
    const moments: [string, () => boolean][] = [
      ["unpacking", () => partials("engine").length > 0],
      ["making a cluster", () => partials("").length > 0],
      ["PostgreSQL starts", () => tarbox.postgres().length > 0],
    ];
    for (const [moment, reached] of moments) {
      begun.push(tarbox.start(["layers"]));
      await until(moment, reached);
      killAll(tarbox);
      // What a killed parent had begun may go on for a moment, and be killed at the next.
    }
    await Promise.all(begun);
    await assertServes(tarbox);
    await until("what was half done is gone", () => partials("engine").length === 0);
    assert(partials("").length <= 1, `left: ${partials("")}`);
  }));

Deno.test("kill -9 of supervisor, postmaster, or everything; stale pid file and socket", () =>
  withInstallation(async (tarbox) => {
    const pidFile = join(tarbox.home, "data", "postmaster.pid");
    await tarbox.tarbox("db", "start");

    // PostgreSQL lives on without its supervisor: the next command takes over.
    const first = await engine(tarbox);
    sendKill(first.supervisor!);
    await until("the supervisor is gone", async () => !(await engine(tarbox)).running);
    assert(tarbox.postgres().includes(first.pid!), "PostgreSQL ended with its supervisor");
    await assertServes(tarbox);
    const second = await engine(tarbox);
    assert(second.running && second.pid !== first.pid, "nobody took over");

    // The same, and `db stop` instead of a command.
    sendKill(second.supervisor!);
    await until("the supervisor is gone", async () => !(await engine(tarbox)).running);
    await tarbox.tarbox("db", "stop");
    assert(tarbox.processes().length === 0, "PostgreSQL lives on after db stop");

    // The supervisor brings back a postmaster that was killed.
    await tarbox.tarbox("db", "start");
    const third = await engine(tarbox);
    sendKill(third.pid!);
    await until("PostgreSQL is back", async () => {
      const { running, pid } = await engine(tarbox);
      return running && pid !== third.pid;
    });
    await assertServes(tarbox);

    // Everything dies at once. The pid file names a process that lives, but is another by now.
    killAll(tarbox);
    await until("all are gone", () => tarbox.processes().length === 0);
    const socket = join(tarbox.home, "socket", ".s.PGSQL.5432");
    assert((await Deno.lstat(socket)).isSocket ?? false, "no stale socket to try with");
    const lines = (await Deno.readTextFile(pidFile)).split("\n");
    await Deno.writeTextFile(pidFile, [String(Deno.pid), ...lines.slice(1)].join("\n"));
    const state = join(tarbox.home, "run", "supervisor.json");
    const said = JSON.parse(await Deno.readTextFile(state));
    await Deno.writeTextFile(state, JSON.stringify({ ...said, pid: Deno.pid }));
    await tarbox.tarbox("db", "stop");
    assert(!(await engine(tarbox)).running, "a stale state is believed");
    await assertServes(tarbox);
    await tarbox.tarbox("fsck");
  }));

Deno.test("a mount brings back an engine that died with its supervisor", () =>
  withInstallation(async (tarbox) => {
    await tarbox.tarbox("mount", "--create", tarbox.mountPoint);
    const { supervisor } = await engine(tarbox);
    sendKill(supervisor!);
    for (const pid of tarbox.postgres()) sendKill(pid);
    const file = join(tarbox.mountPoint, "file");
    await Deno.writeTextFile(file, "after the engine died");
    await tarbox.run(tarbox.mountPoint, "sync", file);
    const refused = await tarbox.start(["db", "stop"]);
    assert(refused.status === 1 && refused.stderr.includes(tarbox.mountPoint), refused.stderr);
    assert((await engine(tarbox)).running, "db stop stopped it all the same");
    await tarbox.tarbox("umount", tarbox.mountPoint);
    await tarbox.tarbox("db", "stop");
    await tarbox.tarbox("mount", tarbox.mountPoint);
    assert(await Deno.readTextFile(file) === "after the engine died", "the file is lost");
  }));

Deno.test("two homes serve side by side; an ordinary user has one of his own", () =>
  withInstallation((one) =>
    withInstallation(async (two) => {
      await Promise.all([assertServes(one), assertServes(two)]);
      await two.tarbox("db", "start");
      await one.tarbox("db", "stop");
      const { pid, supervisor } = await engine(two);
      assert(Deno.statSync(`/proc/${pid}`).uid === NOBODY.uid, "PostgreSQL is not nobody's");
      assert(Deno.statSync(`/proc/${supervisor}`).uid === NOBODY.uid, "a supervisor of root");
      const session = (of: number) => Deno.readTextFileSync(`/proc/${of}/stat`).split(" ")[5];
      assert(
        session(supervisor!) === String(supervisor),
        "the supervisor has the caller's session",
      );
      const { uid, mode } = await Deno.stat(join(two.home, "data"));
      assert(uid === NOBODY.uid && (mode! & 0o777) === 0o700, "others can read the data");
      assert(await mtime(join(two.home, "data")) > 0, "no data");
    }, NOBODY)
  ));

Deno.test("a full disk and a home that cannot be written are told as what they are", () =>
  withInstallation(async (tarbox) => {
    await tarbox.run(
      "/",
      "mount",
      "-t",
      "tmpfs",
      "-o",
      "size=40m,mode=755",
      "small",
      await small(),
    );
    async function small() {
      const path = join(tarbox.directory, "small");
      await Deno.mkdir(path);
      return path;
    }
    try {
      const home = join(tarbox.directory, "small", "home");
      const full = await tarbox.start(["layers"], { TARBOX_HOME: home });
      assert(full.status === 1, `status ${full.status}`);
      assert(/^tarbox: .*the disk of TARBOX_HOME .*full.*\n.*room/.test(full.stderr), full.stderr);
    } finally {
      await tarbox.run("/", "umount", "-l", join(tarbox.directory, "small"));
    }
    const refused = await tarbox.start(["layers"], { TARBOX_HOME: "/proc/tarbox" });
    assert(refused.status === 1, `status ${refused.status}`);
    assert(
      /^tarbox: TARBOX_HOME \/proc\/tarbox cannot be used/.test(refused.stderr),
      refused.stderr,
    );
    const file = join(tarbox.directory, "file");
    await Deno.writeTextFile(file, "");
    const notDirectory = await tarbox.start(["layers"], { TARBOX_HOME: file });
    assert(notDirectory.stderr.startsWith(`tarbox: TARBOX_HOME ${file}`), notDirectory.stderr);
  }));
