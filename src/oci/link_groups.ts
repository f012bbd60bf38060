import { isDirectory } from "../base/modes.ts";
import { keysOf, readBatched, segmentsBetween } from "../layer/chains.ts";
import type { Chain, InodeRow } from "../store/rows.ts";
import type { Reader } from "../store/store.ts";
import { type ImagePath, pathsOfInodes, resolvePaths } from "./paths.ts";

/**
 * Paths whose content and attributes are as before but which share an inode with other paths than
 * before: `ln -f` over an equal file, or a copy put in place of a link. Comparing path by path finds
 * nothing there, and yet the tree is another one.
 *
 * @param emitted Paths that the changeset has anyway; their groups are left out.
 */
export async function regroupedLinks(
  reader: Reader,
  from: Chain,
  to: Chain,
  emitted: ReadonlySet<ImagePath>,
): Promise<Map<ImagePath, InodeRow>> {
  const out = new Map<ImagePath, InodeRow>();
  if (from.length === 0) return out;
  const { dentries } = await keysOf(reader, segmentsBetween(from, to));
  const shared = async (chain: Chain) => {
    const entries = await readBatched(dentries, (batch) => reader.lookup(chain, batch));
    const numbers = entries.filter(({ inode }) => !isDirectory(inode.mode) && inode.nlink > 1)
      .map(({ inode }) => inode.inode);
    return await pathsOfInodes(reader, chain, [...new Set(numbers)]);
  };
  const [oldGroups, newGroups] = await Promise.all([shared(from), shared(to)]);
  if (oldGroups.size === 0 && newGroups.size === 0) return out;

  const suspects = new Set<ImagePath>();
  for (const groups of [oldGroups, newGroups]) {
    for (const paths of groups.values()) {
      for (const path of paths) if (!emitted.has(path)) suspects.add(path);
    }
  }
  const now = await resolvePaths(reader, to, suspects);
  const inodes = new Map<number, InodeRow>();
  for (const path of suspects) {
    const inode = now.get(path);
    if (inode !== undefined && !isDirectory(inode.mode)) inodes.set(inode.inode, inode);
  }
  const groups = await pathsOfInodes(reader, to, [...inodes.keys()]);
  const before = await resolvePaths(reader, from, [...groups.values()].flat());
  const beforeNumbers = new Set([...before.values()].map(({ inode }) => inode));
  const beforeGroups = await pathsOfInodes(reader, from, [...beforeNumbers]);
  const stillThere = await resolvePaths(reader, to, [...beforeGroups.values()].flat());

  for (const [number, paths] of groups) {
    if (paths.some((path) => emitted.has(path))) continue;
    const old = before.get(paths[0]!)?.inode;
    const sameGroup = old !== undefined &&
      paths.every((path) => before.get(path)?.inode === old) &&
      beforeGroups.get(old)!.every((path) => paths.includes(path) || !stillThere.has(path));
    if (!sameGroup) { for (const path of paths) out.set(path, inodes.get(number)!); }
  }
  return out;
}
