import { latin1 } from "../base/bytes.ts";
import { isRegular } from "../base/modes.ts";
import type { Chain, InodeRow } from "../store/rows.ts";
import type { Reader } from "../store/store.ts";
import type { Change } from "./changes.ts";
import { readBatched } from "./chains.ts";
import { readWhole } from "./file.ts";
import { isText } from "./lines.ts";

/** Share of the lines that two texts must have in common to be one file renamed, as git has it. */
const SIMILAR = 0.5;
/** Texts larger than this are compared by their blocks only. */
const SIMILAR_BYTES_MAX = 1024 * 1024;
/** Removed, and added, texts beyond which only equal contents are found: the pairs are a product. */
const SIMILAR_FILES_MAX = 100;

/**
 * Joins removed and added files to renames where the inode does not tell: those of the same content
 * first, then texts with half of their lines in common. The order of the changes is kept.
 */
export async function findRenames(
  reader: Reader,
  { fromChain, toChain }: { readonly fromChain: Chain; readonly toChain: Chain },
  changes: readonly Change[],
): Promise<Change[]> {
  const files = (kind: Change["kind"], row: (change: Change) => InodeRow | null) =>
    changes.filter((change) =>
      change.kind === kind && isRegular(row(change)!.mode) && row(change)!.size > 0
    );
  const removed = files("removed", ({ before }) => before);
  const added = files("added", ({ after }) => after);
  if (removed.length === 0 || added.length === 0) return [...changes];
  const pairs = new Map<Change, Change>();
  const taken = new Set<Change>();
  const pair = (old: Change, now: Change) => {
    pairs.set(now, old);
    taken.add(old);
  };

  const sizes = new Set(removed.map(({ before }) => before!.size));
  const likely = added.filter(({ after }) => sizes.has(after!.size));
  const [oldKeys, newKeys] = await Promise.all([
    contentKeys(reader, fromChain, removed.map(({ before }) => before!)),
    contentKeys(reader, toChain, likely.map(({ after }) => after!)),
  ]);
  const byContent = Map.groupBy(removed, ({ before }) => oldKeys.get(before!.inode)!);
  for (const now of likely) {
    const old = byContent.get(newKeys.get(now.after!.inode)!)?.shift();
    if (old !== undefined) pair(old, now);
  }

  const small = (row: InodeRow) => row.size <= SIMILAR_BYTES_MAX;
  const oldTexts = removed.filter((change) => !taken.has(change) && small(change.before!));
  const newTexts = added.filter((change) => !pairs.has(change) && small(change.after!));
  const few = oldTexts.length <= SIMILAR_FILES_MAX && newTexts.length <= SIMILAR_FILES_MAX;
  if (few && oldTexts.length > 0 && newTexts.length > 0) {
    const old = await readLines(reader, fromChain, oldTexts, ({ before }) => before!);
    const now = await readLines(reader, toChain, newTexts, ({ after }) => after!);
    const found = [...now].flatMap(([added, lines]) =>
      [...old].map(([removed, others]) => ({ added, removed, share: similarity(others, lines) }))
    ).filter(({ share }) => share >= SIMILAR).sort((a, b) => b.share - a.share);
    for (const { added, removed } of found) {
      if (!pairs.has(added) && !taken.has(removed)) pair(removed, added);
    }
  }
  return changes.filter((change) => !taken.has(change)).map((change): Change => {
    const old = pairs.get(change);
    return old === undefined
      ? change
      : { ...change, kind: "renamed", oldPath: old.path, before: old.before };
  });
}

/** A text for each file that is the same for equal contents. */
async function contentKeys(
  reader: Reader,
  chain: Chain,
  files: readonly InodeRow[],
): Promise<Map<number, string>> {
  const rows = await readBatched(
    [...new Set(files.map(({ inode }) => inode))],
    (batch) => reader.blocks(chain, batch),
  );
  const blocks = Map.groupBy(rows, ({ inode }) => inode);
  return new Map(files.map(({ inode, size }) => {
    const hashes = (blocks.get(inode) ?? []).map(({ index, hash }) => `${index} ${hash.toHex()}`);
    return [inode, `${size} ${hashes.join()}`];
  }));
}

/** Bytes of each distinct line of those that are texts. */
async function readLines(
  reader: Reader,
  chain: Chain,
  changes: readonly Change[],
  row: (change: Change) => InodeRow,
): Promise<Map<Change, Map<string, number>>> {
  const out = new Map<Change, Map<string, number>>();
  for (const change of changes) {
    const bytes = await readWhole(reader, chain, row(change));
    if (!isText(bytes)) continue;
    const lines = new Map<string, number>();
    for (const line of latin1(bytes).split("\n")) {
      lines.set(line, (lines.get(line) ?? 0) + line.length + 1);
    }
    out.set(change, lines);
  }
  return out;
}

/** Bytes in common lines, of those of the longer text. */
function similarity(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): number {
  const total = (lines: ReadonlyMap<string, number>) =>
    lines.values().reduce((sum, bytes) => sum + bytes, 0);
  let common = 0;
  for (const [line, bytes] of a) common += Math.min(bytes, b.get(line) ?? 0);
  return common / Math.max(1, total(a), total(b));
}
