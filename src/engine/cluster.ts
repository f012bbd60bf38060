import { join } from "node:path";
import { TarboxError } from "../base/errors.ts";
import type { Layout } from "./layout.ts";

/** The database user, the port that names the socket, and the database. */
export const ENGINE_USER = "tarbox";
export const ENGINE_PORT = 5432;
export const ENGINE_DATABASE = "tarbox";

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
  const { data, owner } = layout;
  const version = await Deno.readTextFile(join(data, "PG_VERSION")).catch(() => null);
  if (version !== null) {
    if (version.trim() === "18") return;
    throw new TarboxError(
      `the cluster in ${data} is of PostgreSQL ${version.trim()}; this engine is 18`,
      "export with the older tarbox and import here, or use another TARBOX_HOME",
    );
  }
  const partial = `${data}.partial`;
  await Deno.remove(partial, { recursive: true }).catch(() => {});
  await Deno.mkdir(partial, { mode: 0o700 });
  if (owner !== undefined) await Deno.chown(partial, owner.uid, owner.gid);
  const { success, stderr, stdout } = await new Deno.Command(join(programs, "bin", "initdb"), {
    args: [
      "-D",
      partial,
      "-U",
      ENGINE_USER,
      "-A",
      "trust",
      "-E",
      "UTF8",
      "--no-locale",
      "--no-sync",
    ],
    env: { LD_LIBRARY_PATH: join(programs, "lib") },
    cwd: "/",
    ...owner,
  }).output();
  if (!success) {
    const text = new TextDecoder().decode(stderr) + new TextDecoder().decode(stdout);
    throw new TarboxError(`initdb failed: ${text.trim().split("\n").slice(-3).join(" / ")}`);
  }
  await createDatabase(layout, programs, partial);
  await Deno.rename(partial, data);
}

/** Makes the database in a cluster that nobody serves yet. */
async function createDatabase(layout: Layout, programs: string, data: string): Promise<void> {
  const single = new Deno.Command(join(programs, "bin", "postgres"), {
    args: ["--single", "-D", data, "postgres"],
    env: { LD_LIBRARY_PATH: join(programs, "lib") },
    cwd: "/",
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
    ...layout.owner,
  }).spawn();
  const input = single.stdin.getWriter();
  await input.write(new TextEncoder().encode(`create database ${ENGINE_DATABASE};\n`));
  await input.close();
  const { success, stderr } = await single.output();
  if (success) return;
  const text = new TextDecoder().decode(stderr).trim();
  throw new TarboxError(`the database cannot be created: ${text.split("\n").pop()}`);
}

/** Starts PostgreSQL as a child of this process; what a dead one left behind is cleared. */
export async function startPostgres(
  layout: Layout,
  programs: string,
): Promise<Deno.ChildProcess> {
  await clearStale(layout);
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
 * A postmaster that was killed leaves children that still hold its shared memory, a pid file that
 * another process may have the number of by now, and a socket. Only the holder of the supervisor's
 * lock comes here, so whoever is left is nobody's.
 */
async function clearStale(layout: Layout): Promise<void> {
  for (const entry of processes()) {
    const pid = Number(entry.name);
    if (!Number.isInteger(pid)) continue;
    const owned = await Deno.readLink(`/proc/${pid}/cwd`).then(
      (cwd) => cwd === layout.data,
      () => false,
    );
    if (owned) kill(pid, "SIGKILL");
  }
  const socket = join(layout.socket, `.s.PGSQL.${ENGINE_PORT}`);
  for (const path of [join(layout.data, "postmaster.pid"), socket, `${socket}.lock`]) {
    await Deno.remove(path).catch(() => {});
  }
}

/** Entries of /proc; none where there is no such filesystem. */
function processes(): Deno.DirEntry[] {
  try {
    return [...Deno.readDirSync("/proc")];
  } catch {
    return [];
  }
}

/** Sends a signal; a process that is gone already is well. */
export function kill(pid: number, signal: Deno.Signal): void {
  try {
    Deno.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound) && !(error instanceof TypeError)) throw error;
  }
}

/** Process id of the running postmaster once it takes connections, else null. */
export async function readyPostmaster(layout: Layout): Promise<number | null> {
  const text = await Deno.readTextFile(join(layout.data, "postmaster.pid")).catch(() => "");
  const lines = text.split("\n");
  if (lines[7]?.trim() !== "ready") return null;
  return Number(lines[0]);
}
