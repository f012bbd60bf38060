import { isDirectory } from "../base/modes.ts";
import type { LayerRow } from "../store/rows.ts";
import type { Reader } from "../store/store.ts";
import { ChainCache, EMPTY_CHAIN, keysOf, readBatched, segmentsBetween } from "./chains.ts";

/** Layers whose sizes are read together. */
const LAYERS_AT_ONCE = 16;

/** What a layer changed, as `tarbox layers` shows it. */
export interface LayerUsage {
  /** Inodes other than directories that were made, changed or removed. */
  readonly files: number;
  /** Sizes in bytes of those that are there afterwards. */
  readonly bytes: number;
}

/** Usage of each layer against the one below it, in the order given. */
export async function layerUsage(
  reader: Reader,
  layers: readonly LayerRow[],
  all: readonly LayerRow[],
): Promise<LayerUsage[]> {
  const chains = new ChainCache(reader);
  const byId = new Map(all.map((layer) => [layer.id, layer]));
  const out: LayerUsage[] = [];
  for (let at = 0; at < layers.length; at += LAYERS_AT_ONCE) {
    const group = layers.slice(at, at + LAYERS_AT_ONCE);
    out.push(
      ...await Promise.all(group.map(async (layer) => {
        const parent = layer.parent === null ? undefined : byId.get(layer.parent);
        const from = parent === undefined ? EMPTY_CHAIN : await chains.of(parent.point);
        const to = await chains.of(layer.point);
        const { inodes } = await keysOf(reader, segmentsBetween(from, to));
        const after = await readBatched(inodes, (batch) => reader.inodes(to, batch));
        const there = new Set(after.filter((row) => row.nlink > 0).map((row) => row.inode));
        const gone = inodes.filter((inode) => !there.has(inode));
        const before = from.length === 0
          ? []
          : await readBatched(gone, (batch) => reader.inodes(from, batch));
        const isFile = (row: { mode: number; nlink: number }) =>
          !isDirectory(row.mode) && row.nlink > 0;
        const files = after.filter(isFile);
        return {
          files: files.length + before.filter(isFile).length,
          bytes: files.reduce((sum, row) => sum + row.size, 0),
        };
      })),
    );
  }
  return out;
}
