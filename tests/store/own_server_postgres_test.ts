/** Tarbox on a PostgreSQL of the user's own, by the real program: TCP, TLS, passwords, errors. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Connection } from "../../src/store/postgres/connection.ts";
import { MIGRATIONS } from "../../src/store/postgres/schema.ts";
import { freePort, startServer, type TestServer } from "./server.ts";

const PASSWORD = "s3cret:päss\\wörd";
const decoder = new TextDecoder();

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs the program without any configuration but what is given. */
async function tarbox(
  env: Record<string, string>,
  args: readonly string[],
  terminal?: string,
): Promise<Ended> {
  const binary = Deno.env.get("TARBOX_BINARY");
  const program = binary === undefined
    ? [Deno.execPath(), "run", "-A", "--frozen", join(Deno.cwd(), "main.ts")]
    : [binary];
  const home = await Deno.makeTempDir({ prefix: "home-" });
  const command = [...program, ...args];
  const quoted = command.map((word) => `'${word}'`).join(" ");
  const [file, ...rest] = terminal === undefined
    ? command
    : ["script", "-qec", quoted, "/dev/null"];
  const child = new Deno.Command(file!, {
    args: rest,
    clearEnv: true,
    env: {
      PATH: Deno.env.get("PATH")!,
      DENO_DIR: Deno.env.get("DENO_DIR") ?? join(Deno.env.get("HOME") ?? "/", ".cache/deno"),
      HOME: home,
      TARBOX_HOME: home,
      NO_COLOR: "1",
      ...env,
    },
    cwd: home,
    stdin: terminal === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  if (terminal !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(terminal));
    await writer.close();
  }
  const { code, stdout, stderr } = await child.output();
  await Deno.remove(home, { recursive: true });
  const ended = { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
  for (const text of [ended.out, ended.err]) {
    assert.ok(!text.includes(PASSWORD) && !text.includes("s3cret"), "the password is shown");
  }
  return ended;
}

/** A command fails with one line of what and why, and one of what to do. */
async function refused(
  env: Record<string, string>,
  args: readonly string[],
  what: RegExp,
  hint: RegExp | null,
): Promise<void> {
  const { code, err } = await tarbox(env, args);
  const lines = err.trimEnd().split("\n");
  assert.equal(code, 1, err);
  assert.match(lines[0]!, /^tarbox: /);
  assert.match(lines[0]!, what);
  assert.equal(lines.length, hint === null ? 1 : 2, err);
  if (hint !== null) assert.match(lines[1]!, hint);
}

async function sql(server: TestServer, database: string, ...statements: string[]): Promise<void> {
  const connection = new Connection({ ...server.options, database });
  try {
    for (const statement of statements) await connection.query(statement);
  } finally {
    await connection.close();
  }
}

const quote = (text: string) => `'${text.replaceAll("'", "''")}'`;

Deno.test("a server of the user's own, over TCP", async (t) => {
  const directory = await Deno.makeTempDir({ prefix: "own-" });
  const server = await startServer("14", { tcp: true });
  const url = (user: string, database: string) =>
    `postgres://${user}@127.0.0.1:${server.port}/${database}`;
  const env = (user: string, database: string) => ({
    TARBOX_DATABASE_URL: url(user, database),
    PGPASSWORD: PASSWORD,
  });
  try {
    await sql(
      server,
      "postgres",
      `create role owner login createdb password ${quote(PASSWORD)}`,
      `create role guest login password ${quote(PASSWORD)}`,
    );
    await t.step("no server", () =>
      refused(
        { TARBOX_DATABASE_URL: `postgres://owner@127.0.0.1:${freePort()}/tarbox` },
        ["layers"],
        /database at 127\.0\.0\.1:\d+: it cannot be reached: .*refused/i,
        /is the server running/,
      ));
    await t.step("a wrong password, and none", async () => {
      const what = /user owner is not let in: .*authentication failed/;
      const wrong = { ...env("owner", "postgres"), PGPASSWORD: "wrong" };
      await refused(wrong, ["layers"], what, /PGPASSWORD/);
      await refused({ TARBOX_DATABASE_URL: url("owner", "postgres") }, ["init"], what, /PGPASS/);
    });
    await t.step("no database: how to create it, and creating it", async () => {
      const owner = env("owner", "own");
      await refused(owner, ["init"], /there is no database own/, /tarbox init --create-database/);
      await refused(owner, ["layers"], /there is no database own/, /--create-database/);
      await refused(
        env("guest", "own"),
        ["init", "--create-database"],
        /user guest has not the right: permission denied to create database/,
        /connect as the owner/,
      );
      const made = await tarbox(owner, ["init", "--create-database"]);
      assert.deepEqual([made.code, made.err], [0, ""]);
      assert.equal((await tarbox(owner, ["init", "--create-database"])).code, 0);
      assert.deepEqual(JSON.parse((await tarbox(owner, ["layers", "--json"])).out), []);
    });
    await t.step("no database: a terminal is asked", async () => {
      const no = await tarbox(env("owner", "asked"), ["init"], "n\n");
      assert.equal(no.code, 1);
      assert.match(no.out, /there is no database asked\. Create it\? \[y\/N\]/);
      const yes = await tarbox(env("owner", "asked"), ["init"], "y\n");
      assert.equal(yes.code, 0, yes.out);
      assert.match(yes.out, /workspace main is ready in asked at 127\.0\.0\.1/);
    });
    await t.step("no schema, and no right to make or to read one", async () => {
      await sql(server, "postgres", "create database bare owner owner");
      const bare = env("owner", "bare");
      await refused(bare, ["layers"], /the database has no Tarbox schema/, /tarbox init/);
      await sql(server, "bare", "revoke create on schema public from public");
      await refused(
        env("guest", "bare"),
        ["init"],
        /user guest has not the right: permission denied for schema public/,
        /have its owner grant the right/,
      );
      await refused(
        env("guest", "own"),
        ["layers"],
        /user guest has not the right: permission denied for table schema_migrations/,
        /grant the right/,
      );
    });
    await t.step("a schema that is newer than the program, and one that is older", async () => {
      const own = env("owner", "own");
      const version = MIGRATIONS.length;
      await sql(server, "own", `insert into schema_migrations values (${version + 1})`);
      const newer = new RegExp(`schema is version ${version + 1}, newer than this program`);
      await refused(own, ["layers"], newer, /use a newer tarbox/);
      await refused(own, ["init"], newer, /use a newer tarbox/);
      await sql(server, "own", `delete from schema_migrations where version >= ${version}`);
      const older = new RegExp(`is version ${version - 1}, this program needs ${version}`);
      await refused(own, ["layers"], older, /tarbox init/);
    });
    await t.step("every way to give a password", async () => {
      const passwordFile = join(directory, "password");
      await Deno.writeTextFile(passwordFile, `${PASSWORD}\n`);
      const escaped = PASSWORD.replaceAll(/[\\:]/g, "\\$&");
      const passfile = join(directory, "pgpass");
      await Deno.writeTextFile(passfile, `127.0.0.1:*:asked:owner:${escaped}\n`, { mode: 0o600 });
      const section = [
        "[database]",
        'host = "127.0.0.1"',
        `port = ${server.port}`,
        'database = "asked"',
        'user = "owner"',
      ];
      const file = async (...more: string[]) => {
        const path = join(directory, "tarbox.toml");
        await Deno.writeTextFile(path, [...section, ...more].join("\n"));
        return { TARBOX_CONFIG: path };
      };
      const ways: Record<string, Record<string, string>> = {
        "PGPASSWORD": env("owner", "asked"),
        "the URL": {
          TARBOX_DATABASE_URL: url(`owner:${encodeURIComponent(PASSWORD)}`, "asked"),
        },
        "PGPASSFILE": { TARBOX_DATABASE_URL: url("owner", "asked"), PGPASSFILE: passfile },
      };
      for (const [way, given] of Object.entries(ways)) {
        const { code, err } = await tarbox(given, ["layers"]);
        assert.equal(code, 0, `${way}: ${err}`);
      }
      const inFile = JSON.stringify(PASSWORD);
      for (const line of [`password = ${inFile}`, `password_file = "${passwordFile}"`]) {
        const { code, err } = await tarbox(await file(line), ["layers"]);
        assert.equal(code, 0, `${line}: ${err}`);
      }
      const beside = await tarbox({ ...await file(), PGPASSFILE: passfile }, ["layers"]);
      assert.equal(beside.code, 0, beside.err);
      await Deno.chmod(passfile, 0o644);
      assert.equal((await tarbox({ ...await file(), PGPASSFILE: passfile }, ["layers"])).code, 1);
      const shown = await tarbox(await file(`password = ${inFile}`), ["db", "url"]);
      assert.equal(shown.out, `postgres://owner@127.0.0.1:${server.port}/asked\n`);
      const first = await tarbox({ ...await file(), ...env("owner", "bare") }, ["layers"]);
      assert.match(first.err, /no Tarbox schema/, "the URL comes before the file");
    });
  } finally {
    await server.stop();
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("a server that is too old is told so", async () => {
  const server = await startServer("13");
  try {
    const { host, port } = server.options;
    const url = `postgres://tarbox@/postgres?host=${encodeURIComponent(host)}&port=${port}`;
    for (const command of ["init", "layers"]) {
      await refused(
        { TARBOX_DATABASE_URL: url },
        [command],
        /PostgreSQL 14 or newer is needed; the server is 13\./,
        null,
      );
    }
  } finally {
    await server.stop();
  }
});

Deno.test("TLS in every mode, with a certificate of an authority of our own", async (t) => {
  const directory = await Deno.makeTempDir({ prefix: "tls-" });
  const openssl = async (...args: string[]) => {
    const { success, stderr } = await new Deno.Command("openssl", { args, cwd: directory })
      .output();
    assert.ok(success, decoder.decode(stderr));
  };
  const key = ["-newkey", "rsa:2048", "-nodes"];
  await openssl("req", "-x509", ...key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca");
  await openssl("req", "-x509", ...key, "-keyout", "o.key", "-out", "other.crt", "-subj", "/CN=o");
  await openssl("req", ...key, "-keyout", "server.key", "-out", "csr", "-subj", "/CN=localhost");
  await Deno.writeTextFile(join(directory, "names"), "subjectAltName=DNS:localhost\n");
  const signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"];
  await openssl("x509", "-req", "-in", "csr", ...signed, "-extfile", "names", "-out", "server.crt");
  const file = (name: string) => join(directory, name);
  const server = await startServer("18", {
    tcp: true,
    tlsOnly: true,
    certificate: { cert: file("server.crt"), key: file("server.key") },
  });
  const plain = await startServer("18", { tcp: true });
  try {
    for (const each of [server, plain]) {
      await sql(each, "postgres", `create role me login superuser password ${quote(PASSWORD)}`);
    }
    const env = (host: string, port: number, mode: string, ca?: string) => ({
      TARBOX_DATABASE_URL: `postgres://me@${host}:${port}/postgres?sslmode=${mode}` +
        (ca === undefined ? "" : `&sslrootcert=${encodeURIComponent(file(ca))}`),
      PGPASSWORD: PASSWORD,
    });
    const { port } = server;
    const lets = async (host: string, mode: string, ca?: string) => {
      const { code, err } = await tarbox(env(host, port, mode, ca), ["init"]);
      assert.equal(code, 0, `${host} ${mode} ${ca}: ${err}`);
    };
    const untrusted = /its certificate is not trusted/;
    await t.step(
      "disable is refused by a server that wants TLS",
      () => refused(env("127.0.0.1", port, "disable"), ["init"], /is not let in/, /wants TLS/),
    );
    await t.step("prefer and require encrypt and do not verify", async () => {
      await lets("127.0.0.1", "prefer");
      await lets("127.0.0.1", "require");
      await lets("localhost", "require");
    });
    await t.step("verify-ca wants the authority, not the name", async () => {
      await lets("127.0.0.1", "verify-ca", "ca.crt");
      await refused(
        env("127.0.0.1", port, "verify-ca", "other.crt"),
        ["init"],
        untrusted,
        /sslroot/,
      );
      await refused(env("localhost", port, "verify-ca"), ["init"], untrusted, /sslrootcert/);
    });
    await t.step("verify-full wants the name, too", async () => {
      await lets("localhost", "verify-full", "ca.crt");
      await refused(
        env("127.0.0.1", port, "verify-full", "ca.crt"),
        ["init"],
        untrusted,
        /sslmode/,
      );
      await refused(env("localhost", port, "verify-full", "other.crt"), ["init"], untrusted, /ssl/);
    });
    await t.step("a server without TLS: prefer goes on, require does not", async () => {
      const { code, err } = await tarbox(env("127.0.0.1", plain.port, "prefer"), ["init"]);
      assert.equal(code, 0, err);
      for (const mode of ["require", "verify-full"]) {
        await refused(
          env("localhost", plain.port, mode, "ca.crt"),
          ["init"],
          /the server does not offer TLS/,
          /sslmode/,
        );
      }
    });
    await t.step(
      "a file of authorities that is not there",
      () =>
        refused(env("localhost", port, "verify-ca", "none.crt"), ["init"], /none\.crt/, /sslroot/),
    );
  } finally {
    await server.stop();
    await plain.stop();
    await Deno.remove(directory, { recursive: true });
  }
});
