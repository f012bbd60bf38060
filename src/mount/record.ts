import { createHash } from "node:crypto";
import { join } from "node:path";
import { processAlive } from "../base/process.ts";
import { isMountPoint } from "../fuse/mount.ts";

/** What a home remembers of a mount, so that other commands find its daemon. */
export interface MountRecord {
  readonly directory: string;
  readonly pid: number;
  readonly tenant: string;
  readonly workspace: string;
  /** The daemon's log file. */
  readonly log: string;
  /** `serving` once requests are answered; `failed` says why it never did. */
  readonly state: "starting" | "serving" | "failed";
  readonly error?: { readonly message: string; readonly hint?: string };
  /** What is wrong with a mount that serves; absent: nothing. */
  readonly trouble?: Trouble;
}

/** Why a mount that serves cannot commit. */
export interface Trouble {
  /** The database is away; commits failed for good; somebody else has the lease. */
  readonly kind: "waiting" | "failed" | "lost lease";
  readonly why: string;
  /** ISO time. */
  readonly since: string;
}

/** A record and what is true of it now. */
export interface FoundRecord {
  readonly record: MountRecord;
  readonly alive: boolean;
  readonly mounted: boolean;
}

/** The file that holds the record of a mount directory. */
export function recordPath(home: string, directory: string): string {
  const name = createHash("sha256").update(directory).digest("hex").slice(0, 32);
  return join(home, "mounts", `${name}.json`);
}

/** Writes a record, at once or not at all. */
export async function writeRecord(home: string, record: MountRecord): Promise<void> {
  const path = recordPath(home, record.directory);
  await Deno.mkdir(join(home, "mounts"), { recursive: true });
  const next = `${path}.${Deno.pid}`;
  await Deno.writeTextFile(next, JSON.stringify(record));
  await Deno.rename(next, path);
}

/** The record of a directory, or null. */
export async function readRecord(home: string, directory: string): Promise<MountRecord | null> {
  return await parseRecord(recordPath(home, directory));
}

/** Forgets a mount, if `pid` is still its daemon. */
export async function removeRecord(home: string, directory: string, pid: number): Promise<void> {
  const record = await readRecord(home, directory);
  if (record?.pid === pid) {
    await Deno.remove(recordPath(home, directory)).catch(ignoreMissing);
  }
}

/** All mounts of a home, without those that are neither alive nor mounted any more. */
export async function readRecords(home: string): Promise<FoundRecord[]> {
  const found: FoundRecord[] = [];
  const directory = join(home, "mounts");
  try {
    for await (const entry of Deno.readDir(directory)) {
      if (!entry.name.endsWith(".json")) continue;
      const record = await parseRecord(join(directory, entry.name));
      if (record === null || record.state === "failed") continue;
      const alive = processAlive(record.pid);
      const mounted = await isMountPoint(record.directory);
      if (alive || mounted) found.push({ record, alive, mounted });
    }
  } catch (error) {
    ignoreMissing(error);
  }
  return found.sort((a, b) => a.record.directory < b.record.directory ? -1 : 1);
}

async function parseRecord(path: string): Promise<MountRecord | null> {
  try {
    return JSON.parse(await Deno.readTextFile(path));
  } catch (error) {
    ignoreMissing(error);
    return null;
  }
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
