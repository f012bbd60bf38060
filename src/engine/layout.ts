import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { TarboxError } from "../base/errors.ts";
import { fullDisk } from "./full_disk.ts";

/** Longest path of a unix socket (sun_path of man 7 unix, without its NUL). */
const SOCKET_PATH_MAX = 107;

/** The engine's user when Tarbox is root, whom PostgreSQL refuses: `nobody`. */
const UNPRIVILEGED_ID = 65534;

/** Where an engine's parts are in its home. */
export interface Layout {
  readonly home: string;
  /** PGDATA. */
  readonly data: string;
  /** Locks and marks of who uses the engine. */
  readonly run: string;
  readonly users: string;
  readonly supervisorLock: string;
  /** New users pass it with a shared lock; the supervisor closes it when it stops the engine. */
  readonly gate: string;
  /** What the supervisor says of itself. */
  readonly state: string;
  readonly keep: string;
  /** Directory of the socket; short enough for a socket's path. */
  readonly socket: string;
  readonly log: string;
  readonly supervisorLog: string;
  /** Whom the engine runs as; undefined: as this very user. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
}

/** The layout of a home. */
export function layoutOf(home: string): Layout {
  const run = join(home, "run");
  const near = join(home, "socket");
  const digest = createHash("sha256").update(home).digest("hex").slice(0, 16);
  const fits = `${near}/.s.PGSQL.5432.lock`.length <= SOCKET_PATH_MAX;
  return {
    home,
    data: join(home, "data"),
    run,
    users: join(run, "users"),
    supervisorLock: join(run, "supervisor.lock"),
    gate: join(run, "gate.lock"),
    state: join(run, "supervisor.json"),
    keep: join(run, "keep"),
    socket: fits ? near : `/tmp/tarbox-${digest}`,
    log: join(home, "logs", "postgres.log"),
    supervisorLog: join(home, "logs", "engine.log"),
    owner: Deno.uid() === 0 ? { uid: UNPRIVILEGED_ID, gid: UNPRIVILEGED_ID } : undefined,
  };
}

/**
 * Makes the directories. The engine's user must be able to come to its data.
 * @throws {TarboxError} when they cannot be made, or a directory above is closed to the engine's user
 */
export async function makeLayout(layout: Layout): Promise<void> {
  try {
    await makeDirectories(layout);
  } catch (error) {
    if (error instanceof TarboxError) throw error;
    const full = await fullDisk(layout.home);
    if (full !== null) throw full;
    const why = error instanceof Error ? error.message : String(error);
    throw new TarboxError(
      `TARBOX_HOME ${layout.home} cannot be used: ${why}`,
      "choose a TARBOX_HOME that you can write to",
    );
  }
}

async function makeDirectories(layout: Layout): Promise<void> {
  const { home, users, log, owner } = layout;
  for (const directory of [home, users, dirname(log)]) {
    await Deno.mkdir(directory, { recursive: true });
  }
  // Found here, not when a lock is taken: a directory of another user is often readable.
  await Deno.writeTextFile(layout.gate, "", { append: true });
  if (owner === undefined) return await makeSocketDirectory(layout);
  await Deno.chmod(home, 0o755);
  for (let above = dirname(home); above !== dirname(above); above = dirname(above)) {
    const { mode } = await Deno.stat(above);
    if (((mode ?? 0o755) & 0o001) !== 0) continue;
    throw new TarboxError(
      `TARBOX_HOME ${home}: PostgreSQL does not run as root, and its user cannot pass ${above}`,
      "choose a TARBOX_HOME elsewhere, or chmod o+x that directory",
    );
  }
  await makeSocketDirectory(layout);
  (await Deno.open(log, { create: true, append: true })).close();
  await Deno.chown(log, owner.uid, owner.gid);
}

/** Whoever owns the directory of the socket can pose as the engine: nobody else may. */
async function makeSocketDirectory({ socket, owner }: Layout): Promise<void> {
  await Deno.mkdir(socket, { recursive: true, mode: 0o700 });
  const { uid, isDirectory } = await Deno.lstat(socket);
  const mine = uid === null || uid === Deno.uid() || uid === owner?.uid;
  if (!isDirectory || !mine) {
    throw new TarboxError(`${socket}, the directory of the engine's socket, is somebody else's`);
  }
  if (owner !== undefined) await Deno.chown(socket, owner.uid, owner.gid);
}
