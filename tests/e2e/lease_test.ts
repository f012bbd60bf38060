import assert from "node:assert/strict";
import { join } from "node:path";
import { Connection } from "../../src/store/postgres/connection.ts";
import { Installation } from "./installation.ts";

Deno.test("a mount that stood still while another took over can write nothing", async () => {
  const installation = await Installation.create();
  const { mountPoint } = installation;
  const other = join(installation.directory, "other");
  try {
    await installation.tarbox("mount", "--create", mountPoint);
    await Deno.writeTextFile(join(mountPoint, "kept"), "kept");
    await installation.run(mountPoint, "sync", "-d", "kept");
    const first = await installation.daemon();
    Deno.kill(first, "SIGSTOP");

    // Its heart beats no more; a minute passes.
    const { host, port, database, user } = await databaseOf(installation);
    const admin = new Connection({ host, port, database, user });
    await admin.query("update workspaces set heartbeat = heartbeat - interval '1 minute'");
    await admin.query("update mounts set heartbeat = heartbeat - interval '1 minute'");
    await admin.close();
    await installation.tarbox("mount", "--create", other);
    assert.equal(await Deno.readTextFile(join(other, "kept")), "kept");
    await Deno.writeTextFile(join(other, "new"), "of the second");
    await installation.run(other, "sync", "-d", "new");

    Deno.kill(first, "SIGCONT");
    const write = ["-c", 'echo late >"$0/late" && sync -d "$0/late"', mountPoint];
    const refused = await installation.command("sh", write, { cwd: "/" });
    assert.notEqual(refused.status, 0);
    assert.match(refused.stderr, /Input\/output error/);
    const { mounts } = await installation.facts("status");
    const trouble = mounts.find((mount: { pid: number }) => mount.pid === first).trouble;
    assert.equal(trouble.kind, "lost lease");
    assert.deepEqual([...Deno.readDirSync(other)].map(({ name }) => name).sort(), ["kept", "new"]);
    await installation.tarbox("umount", other);
    assert.match(await installation.tarbox("ls", "/"), /kept\s+new/);
    assert.match(await installation.tarbox("fsck"), /0 violations/);
  } finally {
    await installation.remove();
  }
});

/** Where the engine of an installation is. */
async function databaseOf(installation: Installation) {
  const url = new URL(
    (await installation.tarbox("db", "url")).trim().replace(/^postgres/, "http")
      .replace("@/", "@socket/"),
  );
  return {
    host: url.searchParams.get("host")!,
    port: Number(url.searchParams.get("port")),
    database: url.pathname.slice(1),
    user: url.username,
  };
}
