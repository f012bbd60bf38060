import { fromLatin1, latin1, utf8 } from "../base/bytes.ts";
import { isRegular } from "../base/modes.ts";
import type { Chain, InodeRow, LayerRow } from "../store/rows.ts";
import type { Reader } from "../store/store.ts";
import { type Change, sameInode } from "./changes.ts";
import { ChainCache, EMPTY_CHAIN, PathBuilder } from "./chains.ts";
import { diffFile, type FileDiff, tellable } from "./diff.ts";
import { findPath } from "./file.ts";
import { formatSize, formatTime, quotePath } from "./format.ts";

/** Layers whose states are looked at together. */
const LAYERS_AT_ONCE = 32;

/** One layer in which a path changed. */
export interface HistoryEntry {
  readonly layer: LayerRow;
  /** The layer below; null at the bottom. */
  readonly parent: LayerRow | null;
  readonly file: FileDiff;
}

/**
 * Each layer of a chain (newest first) in which a path changed. Going down it follows the inode
 * where it had another name (number and birth time tell it), else the path.
 */
export async function* history(
  reader: Reader,
  chain: readonly LayerRow[],
  path: Uint8Array,
): AsyncGenerator<HistoryEntry> {
  const chains = new ChainCache(reader);
  const state = async (layer: LayerRow | null): Promise<Chain> =>
    layer === null ? EMPTY_CHAIN : await chains.of(layer.point);
  let current = path;
  let seen: Map<number, InodeRow | null> = new Map();
  for (let at = 0; at < chain.length; at++) {
    if (!seen.has(at) || !seen.has(at + 1)) {
      seen = await look(reader, chain.slice(at, at + LAYERS_AT_ONCE + 1), at, state, current);
      if (at + LAYERS_AT_ONCE >= chain.length) seen.set(chain.length, null);
    }
    const layer = chain[at]!;
    const parent = chain[at + 1] ?? null;
    const after = seen.get(at) ?? null;
    let before = seen.get(at + 1) ?? null;
    let oldPath: Uint8Array | null = null;
    const fromChain = await state(parent);
    if (after !== null && before === null) {
      oldPath = await pathOf(reader, fromChain, after);
      if (oldPath !== null) {
        before = await inodeAt(reader, fromChain, oldPath);
        // From here down it is the old name's history.
        seen = new Map();
      }
    }
    const change = changeOf(current, oldPath, before, after);
    if (change !== null) {
      const file = await diffFile(reader, { fromChain, toChain: await state(layer) }, change);
      if (file.form !== "same" || tellable({ ...change, content: false })) {
        yield { layer, parent, file };
      }
    }
    if (oldPath !== null) current = oldPath;
  }
}

async function look(
  reader: Reader,
  layers: readonly LayerRow[],
  first: number,
  state: (layer: LayerRow) => Promise<Chain>,
  path: Uint8Array,
): Promise<Map<number, InodeRow | null>> {
  const rows = await Promise.all(
    layers.map(async (layer) => await inodeAt(reader, await state(layer), path)),
  );
  return new Map(rows.map((row, i) => [first + i, row]));
}

async function inodeAt(reader: Reader, chain: Chain, path: Uint8Array): Promise<InodeRow | null> {
  return (await findPath(reader, chain, path, false))?.inode ?? null;
}

/** A path of the same inode in another state, or null. */
async function pathOf(reader: Reader, chain: Chain, inode: InodeRow): Promise<Uint8Array | null> {
  if (chain.length === 0) return null;
  const [row] = await reader.inodes(chain, [inode.inode]);
  if (!sameInode(row, inode)) return null;
  const builder = new PathBuilder(reader, chain);
  await builder.load([inode.inode]);
  const name = builder.names(inode.inode)[0];
  const directory = name === undefined ? null : builder.directory(name.parent);
  return directory === null ? null : fromLatin1(`${directory}/${latin1(name!.name)}`);
}

function changeOf(
  path: Uint8Array,
  oldPath: Uint8Array | null,
  before: InodeRow | null,
  after: InodeRow | null,
): Change | null {
  if (before === null && after === null) return null;
  const kind = before === null
    ? "added"
    : after === null
    ? "removed"
    : oldPath !== null
    ? "renamed"
    : "modified";
  // Whether the bytes differ is seen when they are compared; the stamps say where they cannot.
  const content = before === null || after === null || before.size !== after.size ||
    before.mtime !== after.mtime || !sameInode(before, after);
  return { kind, path, oldPath, before, after, content, metadata: true };
}

/** The two or three lines that tell of one entry, in the form of the design (one character a byte). */
export function historyLines({ layer, file }: HistoryEntry): string {
  const { change } = file;
  const lines = [`Layer: ${latin1(utf8(layer.name))} (${formatTime(layer.createdAt)})`];
  if (change.after === null) lines.push("  Removed");
  else {
    const size = `  Size: ${formatSize(change.after.size)}`;
    const { added, removed, modified } = file;
    lines.push(
      file.form === "binary"
        ? `${size}, binary`
        : file.form === "large" || !isRegular(change.after.mode)
        ? size
        : `${size}, Lines: ${file.lines} (+${added} -${removed} ~${modified})`,
    );
  }
  if (change.oldPath !== null) lines.push(`  Renamed from ${quotePath(latin1(change.oldPath))}`);
  return lines.map((line) => `${line}\n`).join("");
}
