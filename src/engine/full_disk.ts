import { statfs } from "node:fs/promises";
import { TarboxError } from "../base/errors.ts";

/** With fewer bytes than this PostgreSQL cannot make its next segment of write-ahead log. */
const FREE_BYTES_MIN = 16 * 2 ** 20;

/**
 * What to tell of a failure when the disk of a home is full; null when it is not.
 * @param known whether the failure says so itself: what was half done is removed by now
 */
export async function fullDisk(home: string, known = false): Promise<TarboxError | null> {
  const facts = await statfs(home).catch(() => null);
  if (facts === null) return null;
  const free = facts.bavail * facts.bsize;
  if (!known && free >= FREE_BYTES_MIN) return null;
  return new TarboxError(
    `the disk of TARBOX_HOME ${home} is full (${(free / 2 ** 20).toFixed(0)} MiB are free)`,
    "make room there, or choose a TARBOX_HOME elsewhere",
  );
}
