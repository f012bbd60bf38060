/** A real mount, with real system calls. Needs /dev/fuse, and root or fusermount3. */
import assert from "node:assert/strict";
import { detachMount, isMountPoint, mountFuse, parseMountinfo, tarboxMounts } from "./mount.ts";
import { shell, withMount } from "./testing_mount.ts";

Deno.test("a mount answers ls, cat, stat, readlink, write and truncate", async () => {
  await withMount(async (directory, server) => {
    const mounted = tarboxMounts().find(({ mountPoint }) => mountPoint === directory);
    assert.equal(mounted?.source, "tarbox");
    assert.ok(mounted.superOptions.includes("default_permissions"));

    const listed = await shell(`ls -1a ${directory}`);
    assert.deepEqual(listed.out.split("\n"), [".", "..", "big", "hello", "link", ""], listed.err);
    assert.equal((await shell(`cat ${directory}/link`)).out, "hello");
    assert.equal(
      (await shell(`stat -c '%i %s %a %u %g %h %W %Y' ${directory}/hello`)).out,
      "2 5 666 1000 100 1 6 -1\n",
    );
    const expected = await shell(
      `od -An -v -tu1 -w1 ${directory}/big | awk '$1 != (NR-1) % 251' | wc -l`,
    );
    assert.equal(expected.out.trim(), "0");
    assert.equal((await shell(`wc -c < ${directory}/big`)).out.trim(), "300000");
    assert.notEqual((await shell(`cat ${directory}/absent`)).code, 0);
    const written = await shell(
      `printf J | dd of=${directory}/hello conv=notrunc,fsync status=none`,
    );
    assert.equal(written.code, 0, written.err);
    assert.equal(
      (await shell(`cat ${directory}/hello; truncate -s 2 ${directory}/hello`)).out,
      "Jello",
    );
    assert.equal((await shell(`cat ${directory}/hello`)).out, "Je");
    assert.match((await shell(`df --output=size,avail -B4096 ${directory}`)).out, /1000\s+900/);

    await detachMount(directory, false);
    assert.equal(await isMountPoint(directory), false);
    const end = await server.ended();
    assert.deepEqual(end.broken, []);
    assert.equal(end.parked, 0);
    assert.ok(end.minor !== null && end.minor >= 31);
  });
});

/** Runs a shell command that comes to wait in the mount, and ends it with these signals. */
async function killWaiting(
  command: (directory: string) => string,
  signals: readonly string[] = ["TERM"],
  status = 143,
): Promise<void> {
  const kill = signals.map((signal) => `kill -${signal} $child`).join("; sleep 0.3; ");

  await withMount(async (directory, server) => {
    const go = await Deno.makeTempFile({ prefix: "tarbox-go-" });
    const blocked = shell(
      `exec 8<${directory}/hello; flock 8; sh -c '${command(directory)}' & child=$!; ` +
        `while [ -e ${go} ]; do sleep 0.05; done; ${kill}; wait $child; echo $?`,
    );
    try {
      await server.waiting();
      // Others are served meanwhile.
      assert.equal((await shell(`cat ${directory}/hello`)).out, "hello");
    } finally {
      await Deno.remove(go);
    }
    assert.equal((await blocked).out, `${status}\n`);

    await detachMount(directory, false);
    const { broken, parked } = await server.ended();
    assert.deepEqual({ broken, parked }, { broken: [], parked: 0 });
  });
}

Deno.test("a process that waits for a lock can be killed, and the mount goes on", async () => {
  // The calling shell holds the lock.
  await killWaiting((directory) => `exec 9<${directory}/hello; exec flock 9`);
});

Deno.test("a process that waits for the database can be killed, and the mount goes on", async () => {
  await killWaiting((directory) => `exec cat ${directory}/stuck`);
});

Deno.test("a waiting process that has caught a signal can still be killed", async () => {
  // The kernel interrupts a request once; that was for the signal that the process caught.
  await killWaiting((directory) => `trap : USR1; : <${directory}/stuck`, ["USR1", "KILL"], 137);
});

Deno.test("an ordinary user mounts and unmounts through fusermount3", async () => {
  const cache = await Deno.makeTempDir({ prefix: "tarbox-deno-" });
  try {
    // The checkout and Deno may lie where only their owner can go: the user gets copies.
    const source = new URL("../..", import.meta.url).pathname;
    const copies = [Deno.execPath(), `${source}/src`, `${source}/deno.json`];
    const copied = await new Deno.Command("cp", { args: ["-rL", ...copies, cache] }).output();
    assert.equal(copied.code, 0);
    const program = `${cache}/src/fuse/testing_mount.ts`;
    const own = `${cache}/${Deno.execPath().split("/").pop()}`;
    const deno = [own, "run", "-A", "--no-check", "--no-lock", "--quiet", program];
    const user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    await Deno.chmod(cache, 0o777);
    const child = new Deno.Command("timeout", {
      args: ["-s", "KILL", "60", ...(Deno.uid() === 0 ? user : []), ...deno],
      env: { DENO_DIR: cache, NO_COLOR: "1" },
      stdin: "null",
    });
    const { code, stdout, stderr } = await child.output();
    const decoder = new TextDecoder();
    assert.equal(code, 0, decoder.decode(stderr));
    const said = JSON.parse(decoder.decode(stdout));
    assert.notEqual(said.uid, 0);
    assert.match(said.read, /^hello/);
    assert.deepEqual(said.broken, []);
  } finally {
    await Deno.remove(cache, { recursive: true });
  }
});

Deno.test("what cannot be mounted or unmounted is said with its reason", async () => {
  const directory = await Deno.makeTempDir({ prefix: "tarbox-fuse-" });
  try {
    const options = { readOnly: false, allowOther: false };
    await assert.rejects(mountFuse(`${directory}/absent`, options), /cannot mount on .*absent/);
    await assert.rejects(detachMount(directory, false), /cannot unmount .*not mounted|not found/);
    assert.equal(await isMountPoint(directory), false);
  } finally {
    await Deno.remove(directory);
  }
});

Deno.test("a mount that is in use for an instant is unmounted, one that stays so is not", async () => {
  await withMount(async (directory, server) => {
    const file = await Deno.open(`${directory}/hello`);
    await assert.rejects(detachMount(directory, false), /in use/);
    const detached = detachMount(directory, false);
    file.close();
    await detached;
    assert.equal(await isMountPoint(directory), false);
    assert.deepEqual((await server.ended()).broken, []);
  });
});

Deno.test("mountinfo: escapes, optional fields, lines that are none", () => {
  const text = [
    "22 1 0:21 / / rw,relatime shared:1 master:2 - ext4 /dev/vda1 rw",
    "40 22 0:44 / /a\\040b\\011c\\134d rw,nosuid - fuse.tarbox tar\\040box rw,user_id=0",
    "broken line",
    "",
  ].join("\n");
  assert.deepEqual(parseMountinfo(text), [
    {
      mountPoint: "/",
      type: "ext4",
      source: "/dev/vda1",
      options: ["rw", "relatime"],
      superOptions: ["rw"],
      device: "0:21",
    },
    {
      mountPoint: "/a b\tc\\d",
      type: "fuse.tarbox",
      source: "tar box",
      options: ["rw", "nosuid"],
      superOptions: ["rw", "user_id=0"],
      device: "0:44",
    },
  ]);
});
