import { fromLatin1, latin1, text } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import { isDirectory } from "../base/modes.ts";
import type { Batch, Chain } from "../store/rows.ts";
import type { Reader } from "../store/store.ts";
import { type Change, changes } from "./changes.ts";
import { findPath } from "./file.ts";
import { directoryOf, graftBatch, type Put, type Taken } from "./graft.ts";
import { pathUnder } from "./paths.ts";

/** What brings paths of one state into another. */
export interface Restored {
  /** Null when the paths are the same in both states. */
  readonly batch: Batch | null;
  /** The differences that it undoes, as seen from the head. */
  readonly changes: readonly Change[];
}

/**
 * The batch that makes paths in the state `to` what they are in the state `from`, with everything
 * below them; what is there and was not is removed. Costs what differs between the states, not the
 * trees.
 * @throws {TarboxError} when `from` has no such path, or a directory above is something else now.
 */
export async function restoration(
  reader: Reader,
  from: { readonly chain: Chain; readonly label: string },
  to: { readonly chain: Chain },
  paths: readonly Uint8Array[],
): Promise<Restored> {
  for (const path of paths) {
    if (await findPath(reader, from.chain, path, false) === null) {
      throw new TarboxError(
        `restore ${text(path)}: ${from.label} has no such path`,
        `\`tarbox ls ${from.label}:/\` shows what it has`,
      );
    }
  }
  const all = await changes(reader, to.chain[0]!, from.chain[0]!);
  const selected = (path: Uint8Array) => paths.some((chosen) => pathUnder(path, chosen));
  const puts = new Map<string, Put>();
  const taken = new Map<string, Taken>();
  const told: Change[] = [];
  for (const change of all) {
    const oldPath = change.oldPath ?? change.path;
    const loses = change.before !== null && selected(oldPath);
    const gets = change.after !== null && selected(change.path);
    if (loses || gets) told.push(change);
    if (loses) taken.set(latin1(oldPath), { path: latin1(oldPath), row: change.before! });
    if (gets) puts.set(latin1(change.path), { path: latin1(change.path), row: change.after! });
  }
  if (puts.size + taken.size === 0) return { batch: null, changes: [] };
  await addParents(reader, from.chain, to.chain, puts, taken);
  const batch = await graftBatch(reader, from.chain, to.chain, {
    puts,
    taken,
    keepsTime: (directory) => selected(fromLatin1(directory)),
  });
  return { batch, changes: told };
}

/**
 * Adds to `puts` the directories above them that the state does not have.
 * @throws {TarboxError} when one is something else now.
 */
export async function addParents(
  reader: Reader,
  from: Chain,
  to: Chain,
  puts: Map<string, Put>,
  taken: ReadonlyMap<string, Taken>,
): Promise<void> {
  const known = new Set<string>(["/"]);
  for (const { path } of [...puts.values()]) {
    for (let above = directoryOf(path); !known.has(above); above = directoryOf(above)) {
      known.add(above);
      if (puts.has(above)) continue;
      const there = taken.has(above) ? null : await findPath(reader, to, fromLatin1(above), false);
      if (there !== null && isDirectory(there.inode.mode)) continue;
      if (there !== null) {
        throw new TarboxError(
          `${text(fromLatin1(path))}: ${text(there.path)} is no directory now`,
          `take ${text(there.path)} as well, or move what is there`,
        );
      }
      const was = await findPath(reader, from, fromLatin1(above), false);
      puts.set(above, { path: above, row: was!.inode });
    }
  }
}
