/** `tarbox db psql`: the machine's psql on the embedded engine and on a database of one's own. */
import assert from "node:assert/strict";
import { startServer } from "../store/server.ts";

interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function tarbox(args: readonly string[], env: Record<string, string>): Promise<Outcome> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--frozen", "main.ts", ...args],
    env,
    stdin: "null",
  }).output();
  const [out, error] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { status: code, stdout: out!, stderr: error! };
}

const psql = (env: Record<string, string>, ...args: string[]) =>
  tarbox(["db", "psql", "--", ...args], env);

Deno.test("psql gets where the database is, and its own arguments", async (t) => {
  const server = await startServer("18");
  const home = await Deno.makeTempDir({ prefix: "tarbox-psql-" });
  await Deno.chmod(home, 0o755);
  const { host, port, user, database } = server.options;
  const url = `postgres://${user}@/${database}?host=${encodeURIComponent(host)}&port=${port}`;
  const own = { TARBOX_HOME: home, TARBOX_DATABASE_URL: url, PGUSER: "somebody" };
  const query = "select current_user || ' ' || current_database()";
  try {
    await t.step("a database of one's own", async () => {
      const { status, stdout, stderr } = await psql(own, "-X", "-At", "-c", query);
      assert.equal(stdout, `${user} ${database}\n`, stderr);
      assert.equal(status, 0);
    });
    await t.step("the exit status is psql's", async () => {
      const { status } = await psql(own, "-X", "-v", "ON_ERROR_STOP=1", "-c", "select 1/0");
      assert.equal(status, 1);
      const script = ["-X", "-v", "ON_ERROR_STOP=1", "-f", "/dev/stdin"];
      assert.equal((await psql(own, ...script)).status, 0, "nothing to do");
    });
    await t.step("no psql on the machine", async () => {
      const { status, stderr } = await psql({ ...own, PATH: "/nowhere" }, "-c", query);
      assert.equal(status, 1);
      assert.match(stderr, /^tarbox: db psql: psql is not .*\n.*postgresql-client.*db url.*\n$/);
    });
    await t.step("the embedded engine", async () => {
      const embedded = { TARBOX_HOME: home, TARBOX_DATABASE_URL: "" };
      const { stdout, stderr } = await psql(embedded, "-X", "-At", "-c", query);
      assert.equal(stdout, "tarbox tarbox\n", stderr);
    });
  } finally {
    await tarbox(["db", "stop", "--force"], { TARBOX_HOME: home, TARBOX_DATABASE_URL: "" });
    await Deno.remove(home, { recursive: true });
    await server.stop();
  }
});
