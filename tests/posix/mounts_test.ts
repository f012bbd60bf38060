/** What depends on how a workspace is mounted, on who mounted it, and on what dies. Needs root. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Installation, until } from "../e2e/installation.ts";
import { type Mounted, withMounted } from "./mounted.ts";
import {
  as,
  chmod,
  chown,
  close,
  content,
  fails,
  fallocate,
  fsync,
  ftruncate,
  mkdir,
  O_CREAT,
  O_RDWR,
  O_WRONLY,
  open,
  put,
  read,
  removexattr,
  rename,
  setxattr,
  stat,
  type SystemError,
  truncate,
  unlink,
  utimens,
  withOpen,
  write,
} from "./syscalls.ts";

/** Debian's nobody: PostgreSQL wants a user that the machine knows. */
const ANN = { uid: 65534, gid: 65534 };
const BEN = { uid: 31002, gid: 31002 };

/** Returns once a process waits for an answer of FUSE. */
async function waitsInKernel(pid: number): Promise<void> {
  await until("the process waits", async () => {
    return /fuse|request_wait/.test(await Deno.readTextFile(`/proc/${pid}/wchan`));
  });
}

/** Unmounts, and mounts with other options. */
async function remount({ directory, tarbox }: Mounted, ...options: string[]): Promise<void> {
  for (const args of [["umount", directory], ["mount", ...options, directory]]) {
    const { code, err } = await tarbox(...args);
    assert.equal(code, 0, err);
  }
}

/** Files end at max_file_size, and what fits is written. */
async function largestFile(mounted: Mounted): Promise<void> {
  const configuration = join(mounted.home, "small.toml");
  await Deno.writeTextFile(configuration, '[filesystem]\nmax_file_size = "1MB"\n');
  await remount(mounted, "--config", configuration);
  const max = 1 << 20;
  const path = `${mounted.directory}/large`;
  withOpen(path, O_CREAT | O_RDWR, (fd) => {
    assert.equal(write(fd, new Uint8Array(max - 10)), max - 10);
    assert.equal(write(fd, "0123456789abcdef"), 10);
    fails("EFBIG", () => write(fd, "x"));
    fails("EFBIG", () => write(fd, "x", max));
    fails("EFBIG", () => ftruncate(fd, max + 1));
    fails("EFBIG", () => fallocate(fd, 0, max, 1));
    assert.equal(read(fd, 100, max - 10), "0123456789");
  });
  fails("EFBIG", () => truncate(path, max + 1));
  truncate(path, max);
  assert.equal(stat(path).size, max);
}

/** With --noatime reading marks nothing; with --read-only nothing is changed at all. */
async function quiet(mounted: Mounted): Promise<void> {
  await remount(mounted, "--noatime");
  const { directory } = mounted;
  const path = `${directory}/quiet`;
  put(path, "content");
  setxattr(path, "user.x", "y");
  const before = stat(path);
  assert.equal(content(path), "content");
  assert.deepEqual(stat(path), before);

  await remount(mounted, "--read-only");
  assert.equal(content(path), "content");
  assert.deepEqual(stat(path), before);
  const changes: (() => void)[] = [
    () => put(path),
    () => put(`${directory}/new`),
    () => mkdir(`${directory}/new`),
    () => unlink(path),
    () => rename(path, `${directory}/g`),
    () => chmod(path, 0o600),
    () => chown(path, 1, 1),
    () => truncate(path, 0),
    () => utimens(path, "now", "now"),
    () => setxattr(path, "user.x", "z"),
    () => removexattr(path, "user.x"),
    () => void open(path, O_WRONLY),
  ];
  for (const change of changes) fails("EROFS", change);
}

/** A reader that waits for a database that hangs ends when it is killed, whatever the signal. */
async function killedReader(mounted: Mounted): Promise<void> {
  const { directory, home } = mounted;
  await remount(mounted);
  mkdir(`${directory}/cold`);
  put(`${directory}/cold/f`, "content");
  await remount(mounted);
  const pidFile = await Deno.readTextFile(`${home}/data/postmaster.pid`);
  const postmaster = Number(pidFile.split("\n")[0]);
  const { stdout } = await new Deno.Command("ps", {
    args: ["-o", "pid=", "--ppid", String(postmaster)],
  }).output();
  const children = new TextDecoder().decode(stdout).split("\n").map(Number).filter((pid) =>
    pid > 0
  );
  const all = [postmaster, ...children];
  for (const pid of all) Deno.kill(pid, "SIGSTOP");
  try {
    for (const signal of ["SIGKILL", "SIGTERM", "SIGINT"] as const) {
      const args = [`${directory}/cold/f`];
      const reader = new Deno.Command("cat", { args, stdin: "null", stdout: "null" }).spawn();
      await waitsInKernel(reader.pid);
      reader.kill(signal);
      assert.equal((await reader.status).signal, signal);
    }
  } finally {
    for (const pid of all) Deno.kill(pid, "SIGCONT");
  }
  assert.equal(content(`${directory}/cold/f`), "content");
}

/** ENOTCONN once the daemon is dead; status tells, umount clears, mount mounts again. */
async function death(mounted: Mounted): Promise<void> {
  const { directory, tarbox } = mounted;
  const told = async () => {
    const { mounts } = JSON.parse((await tarbox("status", "--json")).out);
    return mounts.find((mount: { directory: string }) => mount.directory === directory);
  };
  const path = `${directory}/survives`;
  withOpen(path, O_CREAT | O_WRONLY, (fd) => {
    write(fd, "content");
    fsync(fd);
  });
  const held = open(path, 0);
  Deno.kill((await told()).pid, "SIGKILL");
  // What is asked while the daemon dies is aborted, not refused.
  await until("the daemon has left its mount", () => {
    try {
      stat(path);
      return false;
    } catch (error) {
      return (error as SystemError).code === "ENOTCONN";
    }
  });
  fails("ENOTCONN", () => open(path, 0));
  fails("ENOTCONN", () => mkdir(`${directory}/d`));
  fails("ENOTCONN", () => read(held, 1));
  fails("ENOTCONN", () => close(held));
  const { alive, mounted: there } = await told();
  assert.deepEqual([alive, there], [false, true]);
  assert.match((await tarbox("status")).out, /its daemon is gone; `tarbox umount/);
  await remount(mounted);
  assert.equal(content(path), "content");
}

Deno.test("one workspace, mounted in several ways", async (t) => {
  await withMounted([], async (mounted) => {
    await t.step("EFBIG at max_file_size", () => largestFile(mounted));
    await t.step("--noatime and --read-only", () => quiet(mounted));
    await t.step("a reader killed while the database hangs", () => killedReader(mounted));
    await t.step("the daemon's death", () => death(mounted));
  });
});

Deno.test("an ordinary user mounts for all with --allow-other, and each is who he is", async () => {
  const installation = await Installation.create(ANN);
  const { mountPoint } = installation;
  const script = (text: string) =>
    installation.run(installation.directory, "sh", "-c", text, mountPoint);
  try {
    await installation.tarbox("mount", "--create", "--allow-other", mountPoint);
    as(ANN, () => {
      chmod(mountPoint, 0o1777);
      put(`${mountPoint}/ann`, "ann's", 0o600);
      put(`${mountPoint}/all`, "all's", 0o644);
      fails("EPERM", () => chown(`${mountPoint}/ann`, BEN.uid, -1));
    });
    as(BEN, () => {
      fails("EACCES", () => content(`${mountPoint}/ann`));
      assert.equal(content(`${mountPoint}/all`), "all's");
      fails("EACCES", () => open(`${mountPoint}/all`, O_WRONLY));
      fails("EPERM", () => unlink(`${mountPoint}/all`));
      put(`${mountPoint}/ben`, "ben's");
    });
    assert.equal(stat(`${mountPoint}/ben`).uid, BEN.uid);
    // root is root here, too.
    assert.equal(content(`${mountPoint}/ann`), "ann's");
    chown(`${mountPoint}/ann`, BEN.uid, BEN.gid);
    as(BEN, () => assert.equal(content(`${mountPoint}/ann`), "ann's"));
    // A setuid program gives nobody rights that the one who mounted has not.
    put(`${mountPoint}/id`, Deno.readFileSync("/usr/bin/id"), 0o755);
    chmod(`${mountPoint}/id`, 0o4755);
    assert.equal(await script('"$0/id" -u'), `${ANN.uid}\n`);
    await installation.tarbox("umount", mountPoint);

    await installation.tarbox("mount", mountPoint);
    // By a process of its own: this one is still root somewhere, and root is not let in.
    assert.equal(await script('cat "$0/all"'), "all's");
    fails("EACCES", () => content(`${mountPoint}/all`));
    as(BEN, () => fails("EACCES", () => content(`${mountPoint}/all`)));
  } finally {
    await installation.remove();
  }
});
