import { equalBytes } from "../base/bytes.ts";
import { isRegular } from "../base/modes.ts";
import { sameInode } from "../layer/changes.ts";
import { keysOf, readBatched, segmentsBetween } from "../layer/chains.ts";
import type { BlockRow, Chain, InodeRow } from "../store/rows.ts";
import type { Reader } from "../store/store.ts";
import type { KnownInode, Rebase } from "../vfs/rebase.ts";

/**
 * What a mounted tree must learn when its head shows the state `after` in place of `before`, or null
 * when nothing differs. Costs what differs between the two, and reads the rows only of what the
 * kernel knows of that.
 * @param inspect tells which of some inodes the kernel knows; the tree stands still meanwhile
 */
export async function rebaseBetween(
  reader: Reader,
  before: Chain,
  after: Chain,
  inspect: (inodes: readonly number[]) => Promise<readonly KnownInode[]>,
): Promise<Rebase | null> {
  const segments = segmentsBetween(before, after);
  const lineage = after[0]!.lineage;
  if (segments.length === 0 && lineage === before[0]!.lineage) return null;
  const keys = await keysOf(reader, segments);
  const nothing = keys.inodes.length + keys.dentries.length === 0;
  if (nothing && lineage === before[0]!.lineage) return null;
  const known = await inspect(keys.inodes);
  const [old, now] = await Promise.all(
    [before, after].map(async (chain) => {
      const numbers = known.map(({ inode }) => inode);
      const rows = await readBatched(numbers, (batch) => reader.inodes(chain, batch));
      return new Map(rows.map((row) => [row.inode, row]));
    }),
  );
  const replaced: Rebase["replaced"][number][] = [];
  const strangers: number[] = [];
  const open = known.filter(({ inode, open }) => open && isRegular(old!.get(inode)?.mode ?? 0));
  const [oldBlocks, newBlocks] = await Promise.all(
    [before, after].map(async (chain) => {
      const rows = await readBatched(
        open.map(({ inode }) => inode),
        (batch) => reader.blocks(chain, batch),
      );
      return Map.groupBy(rows, ({ inode }) => inode);
    }),
  );
  const files = new Set(open.map(({ inode }) => inode));
  for (const { inode } of known) {
    const was = old!.get(inode);
    const is = now!.get(inode);
    if (files.has(inode)) {
      const blocks = oldBlocks!.get(inode) ?? [];
      if (!sameFile(was!, is, blocks, newBlocks!.get(inode) ?? [])) {
        replaced.push({ row: was!, blocks });
      }
    } else if (is !== undefined && !sameInode(was, is)) strangers.push(inode);
  }
  const others = [...replaced.map(({ row }) => row.inode), ...strangers];
  const names = await readBatched(others, (batch) => reader.names(before, batch));
  const renamed = names.map(({ parent, name }) => ({ parent, name }));
  return { ...await reader.counters(lineage), ...keys, replaced, strangers, renamed };
}

function sameFile(
  was: InodeRow,
  is: InodeRow | undefined,
  oldBlocks: readonly BlockRow[],
  newBlocks: readonly BlockRow[],
): boolean {
  return is !== undefined && sameInode(was, is) && was.size === is.size &&
    (was.nlink > 0) === (is.nlink > 0) && oldBlocks.length === newBlocks.length &&
    oldBlocks.every((block, i) => {
      const other = newBlocks[i]!;
      return block.index === other.index && equalBytes(block.hash, other.hash);
    });
}
