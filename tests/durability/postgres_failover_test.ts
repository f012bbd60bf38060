import assert from "node:assert/strict";
import { join } from "node:path";
import { Committer } from "../../src/journal/committer.ts";
import { Connection, pause } from "../../src/store/postgres/connection.ts";
import { initDatabase } from "../../src/store/postgres/init.ts";
import { openStore } from "../../src/store/postgres/store.ts";
import { numberedBatch, numberStored } from "./commits.ts";

/** Debian's PostgreSQL, which has what replication needs; any version that Tarbox takes. */
async function programs(): Promise<string> {
  const versions: number[] = [];
  for await (const { name } of Deno.readDir("/usr/lib/postgresql")) versions.push(Number(name));
  return `/usr/lib/postgresql/${Math.max(...versions)}/bin`;
}

/** PostgreSQL refuses to run as root. */
const owner = Deno.uid() === 0 ? { uid: 65534, gid: 65534 } : {};

Deno.test("a primary dies, its standby is promoted: no confirmed commit is lost", async () => {
  const bin = await programs();
  const base = await Deno.makeTempDir({ prefix: "tarbox-failover-" });
  await Deno.chmod(base, 0o755);
  if (owner.uid !== undefined) await Deno.chown(base, owner.uid, owner.gid);
  const run = async (program: string, ...args: string[]) => {
    const output = await new Deno.Command(join(bin, program), {
      args,
      cwd: "/",
      stdin: "null",
      ...owner,
    }).output();
    if (!output.success) throw new Error(new TextDecoder().decode(output.stderr));
  };
  const place = (name: string) => join(base, name);
  const start = async (name: string, port: number, ...settings: string[]) => {
    const options = [
      `-k ${base} -p ${port} -c listen_addresses= -c fsync=off`,
      ...settings.map((setting) => `-c ${setting}`),
    ].join(" ");
    const log = join(base, `${name}.log`);
    await run("pg_ctl", "-D", place(name), "-o", options, "-l", log, "-w", "start");
  };
  const stop = (name: string, mode: string) =>
    run("pg_ctl", "-D", place(name), "-m", mode, "-w", "stop");
  const running = new Set<string>();
  try {
    await run("initdb", "-D", place("one"), "-U", "tarbox", "-A", "trust", "--no-sync");
    await start("one", 5501);
    running.add("one");
    const source = `host=${base} port=5501 user=tarbox application_name=two`;
    await run(
      "pg_basebackup",
      "-D",
      place("two"),
      "-R",
      "-c",
      "fast",
      "-X",
      "stream",
      "-d",
      source,
    );
    await start("two", 5502);
    running.add("two");
    const primary = { host: base, port: 5501, database: "postgres", user: "tarbox" };
    await initDatabase(primary, { createDatabase: false });
    // The standby is named first: it takes no writes, so the other one is used.
    const both = { ...primary, host: `${base},${base}`, port: 5502, ports: [5502, 5501] };
    const store = await openStore(both, "default");
    try {
      await store.collectGarbage(0);
      const { id, head } = await store.createWorkspace("main", null, {
        uid: 0,
        gid: 0,
        time: 1n,
      });
      // From here on a commit is confirmed when the standby has it.
      const admin = new Connection(primary);
      await admin.query("alter system set synchronous_standby_names = 'two'");
      await admin.query("select pg_reload_conf()");
      await admin.close();
      const holder = { host: "test", pid: 1, mountPoint: "/test" };
      const { epoch } = await store.attach(id, holder, 15);
      let confirmed = 0;
      const waits: string[] = [];
      const committer = new Committer(store, id, () => ({ epoch, head, publish: false }), {
        retryTimeoutMs: 60_000,
        onCommitted: (sequence) => confirmed = sequence,
        onWaiting: (error) => waits.push(error.message),
      });
      let sequence = 0;
      const submit = (count: number) => {
        for (let i = 0; i < count; i++) {
          committer.submit({ sequence: ++sequence, batch: numberedBatch(sequence) });
        }
      };
      submit(30);
      await committer.idle();
      submit(50);
      await pause(50);
      await stop("one", "immediate");
      running.delete("one");
      const before = confirmed;
      while (!waits.some((text) => /read-only/.test(text))) await pause(20);
      await run("pg_ctl", "-D", place("two"), "-w", "promote");
      await committer.idle();
      assert.equal(confirmed, sequence);
      assert(before >= 30);
      assert.equal(await numberStored(store, head), sequence);
      submit(5);
      await committer.idle();
      assert.equal(await numberStored(store, head), sequence);
    } finally {
      await store.close();
    }
  } finally {
    for (const name of running) await stop(name, "immediate");
    await Deno.remove(base, { recursive: true });
  }
});
