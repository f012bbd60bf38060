import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { TarboxError } from "../base/errors.ts";

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
    keep: join(run, "keep"),
    socket: fits ? near : `/tmp/tarbox-${digest}`,
    log: join(home, "logs", "postgres.log"),
    supervisorLog: join(home, "logs", "engine.log"),
    owner: Deno.uid() === 0 ? { uid: UNPRIVILEGED_ID, gid: UNPRIVILEGED_ID } : undefined,
  };
}

/**
 * Makes the directories. The engine's user must be able to come to its data.
 * @throws {TarboxError} when a directory above the home is closed to it
 */
export async function makeLayout(layout: Layout): Promise<void> {
  const { home, users, log, socket, owner } = layout;
  for (const directory of [home, users, dirname(log)]) {
    await Deno.mkdir(directory, { recursive: true });
  }
  if (owner === undefined) {
    await Deno.mkdir(socket, { recursive: true, mode: 0o700 });
    return;
  }
  await Deno.chmod(home, 0o755);
  for (let above = dirname(home); above !== dirname(above); above = dirname(above)) {
    const { mode } = await Deno.stat(above);
    if (((mode ?? 0o755) & 0o001) !== 0) continue;
    throw new TarboxError(
      `TARBOX_HOME ${home}: PostgreSQL does not run as root, and its user cannot pass ${above}`,
      "choose a TARBOX_HOME elsewhere, or chmod o+x that directory",
    );
  }
  await Deno.mkdir(socket, { recursive: true, mode: 0o700 });
  await Deno.chown(socket, owner.uid, owner.gid);
  (await Deno.open(log, { create: true, append: true })).close();
  await Deno.chown(log, owner.uid, owner.gid);
}
