import { basename, dirname, join } from "node:path";
import { TarboxError } from "../base/errors.ts";
import { failpoint } from "../base/failpoints.ts";
import type { Layout } from "./layout.ts";
import { NamedPrograms } from "./names.ts";
import { kill, postgresOf } from "./processes.ts";

/** The database user, the port that names the socket, and the database. */
export const ENGINE_USER = "tarbox";
export const ENGINE_PORT = 5432;
export const ENGINE_DATABASE = "tarbox";

/** Milliseconds that an orphaned PostgreSQL has for an orderly end, and to be gone at all. */
const ORPHANS_GRACE_MS = 5_000;
const ORPHANS_LIMIT_MS = 30_000;

/** Settings beside the defaults of PostgreSQL. fsync and synchronous_commit stay on. */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: "",
  shared_buffers: "128MB",
  max_connections: "200",
  max_wal_size: "2GB",
  wal_compression: "on",
  checkpoint_timeout: "15min",
  timezone: "UTC",
  logging_collector: "off",
};

/** Has a cluster in the home; one that was made by half is made anew. */
export async function ensureCluster(layout: Layout, programs: string): Promise<void> {
  const { data } = layout;
  const version = await Deno.readTextFile(join(data, "PG_VERSION")).catch(() => null);
  if (version !== null) {
    if (version.trim() === "18") return;
    throw new TarboxError(
      `the cluster in ${data} is of PostgreSQL ${version.trim()}; this engine is 18`,
      "export with the older tarbox and import here, or use another TARBOX_HOME",
    );
  }
  await removeUnfinished(data);
  const partial = `${data}.${crypto.randomUUID().slice(0, 8)}.partial`;
  try {
    await makeCluster(layout, programs, partial);
    await failpoint("engine.cluster");
    await Deno.rename(partial, data);
  } catch (error) {
    // It may be what filled the disk.
    await Deno.remove(partial, { recursive: true }).catch(() => {});
    throw error;
  }
}

/** Makes a cluster with its database in `partial`; all of it is on the disk when this returns. */
async function makeCluster(layout: Layout, programs: string, partial: string): Promise<void> {
  const { owner } = layout;
  await Deno.mkdir(partial, { mode: 0o700 });
  if (owner !== undefined) await Deno.chown(partial, owner.uid, owner.gid);
  const named = new NamedPrograms(layout, programs);
  const options = ["-U", ENGINE_USER, "-A", "trust", "-E", "UTF8", "--no-locale"];
  const made = await named.run("initdb", ["-D", partial, ...options], "");
  if (!made.success) {
    throw new TarboxError(`initdb failed: ${made.said.split("\n").slice(-3).join(" / ")}`);
  }
  const single = ["--single", "-D", partial, "postgres"];
  const created = await named.run("postgres", single, `create database ${ENGINE_DATABASE};\n`);
  if (!created.success) {
    throw new TarboxError(`the database cannot be created: ${created.said.split("\n").pop()}`);
  }
}

/**
 * Removes what a supervisor that was killed left of a cluster. Its `initdb` may still be at work on it,
 * and make files while they are removed: what is left then is removed at the next start.
 */
async function removeUnfinished(data: string): Promise<void> {
  for await (const { name } of Deno.readDir(dirname(data))) {
    if (!name.startsWith(`${basename(data)}.`) || !name.endsWith(".partial")) continue;
    await Deno.remove(join(dirname(data), name), { recursive: true }).catch(() => {});
  }
}

/**
 * Starts PostgreSQL as a child of this process. A pid file (another process may have its number by
 * now) and a socket that a dead one left are cleared: nobody serves, see {@link stopOrphans}.
 */
export async function startPostgres(
  layout: Layout,
  programs: string,
): Promise<Deno.ChildProcess> {
  await failpoint("engine.start");
  const socket = join(layout.socket, `.s.PGSQL.${ENGINE_PORT}`);
  for (const path of [join(layout.data, "postmaster.pid"), socket, `${socket}.lock`]) {
    await Deno.remove(path).catch(() => {});
  }
  const settings = Object.entries(SETTINGS).flatMap(([key, value]) => ["-c", `${key}=${value}`]);
  return new Deno.Command("/bin/sh", {
    args: [
      "-c",
      'exec "$@" >>"$0" 2>&1 </dev/null',
      layout.log,
      join(programs, "bin", "postgres"),
      "-D",
      layout.data,
      "-k",
      layout.socket,
      "-p",
      String(ENGINE_PORT),
      ...settings,
    ],
    env: { LD_LIBRARY_PATH: join(programs, "lib") },
    cwd: "/",
    stdin: "null",
    stdout: "null",
    stderr: "null",
    ...layout.owner,
  }).spawn();
}

/**
 * Stops what serves the cluster though no supervisor lives: a postmaster whose supervisor was killed,
 * in good order if it can be, and children of a postmaster that was killed, which still hold its shared
 * memory. Only the holder of the supervisor's lock may call this. Returns when all of them are gone.
 */
export async function stopOrphans(layout: Layout): Promise<void> {
  const data = await Deno.realPath(layout.data);
  const postmaster = await postmasterFile(layout);
  const started = Date.now();
  for (let signal: Deno.Signal = "SIGINT";;) {
    const found = await postgresOf(data);
    if (found.length === 0) return;
    const waited = Date.now() - started;
    if (waited > ORPHANS_LIMIT_MS) {
      throw new TarboxError(`processes of a killed PostgreSQL do not end: ${found.join(", ")}`);
    }
    if (!found.includes(postmaster.pid) || waited > ORPHANS_GRACE_MS) signal = "SIGKILL";
    if (signal === "SIGKILL") { for (const pid of found) kill(pid, signal); }
    else if (waited === 0 || waited > ORPHANS_GRACE_MS / 2) kill(postmaster.pid, signal);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Process id of the running postmaster once it takes connections, else null. */
export async function readyPostmaster(layout: Layout): Promise<number | null> {
  const { pid, ready } = await postmasterFile(layout);
  return ready ? pid : null;
}

/** What `postmaster.pid` says (PostgreSQL's pidfile.h): line 1 the process id, line 8 the state. */
async function postmasterFile(layout: Layout): Promise<{ pid: number; ready: boolean }> {
  const text = await Deno.readTextFile(join(layout.data, "postmaster.pid")).catch(() => "");
  const lines = text.split("\n");
  return { pid: Number(lines[0]), ready: lines[7]?.trim() === "ready" };
}
