import { latin1 } from "../base/bytes.ts";
import {
  type Chain,
  type ChangedKeys,
  type DentryRow,
  type LayerRow,
  type Point,
  ROOT_INODE,
} from "../store/rows.ts";
import type { Reader } from "../store/store.ts";

/** Keys of one read: large enough that round trips do not count, small enough for one message. */
export const READ_BATCH = 5000;

/** A run of ordinals of one lineage: after `after`, up to and with `upto`. */
export interface Segment {
  readonly lineage: number;
  readonly after: number;
  readonly upto: number;
}

/**
 * The lineage segments on the way from one state over the nearest common ancestor to another. Two
 * states can differ only in keys that changed in one of them.
 */
export function segmentsBetween(from: Chain, to: Chain): Segment[] {
  const ordinals = new Map(from.map((point) => [point.lineage, point.ordinal]));
  const shared = to.find((point) => ordinals.has(point.lineage));
  const out: Segment[] = [];
  const own = (chain: Chain) => {
    for (const point of chain) {
      if (point.lineage === shared?.lineage) break;
      out.push({ lineage: point.lineage, after: -1, upto: point.ordinal });
    }
  };
  own(from);
  own(to);
  if (shared !== undefined) {
    const other = ordinals.get(shared.lineage)!;
    const after = Math.min(other, shared.ordinal);
    const upto = Math.max(other, shared.ordinal);
    if (after < upto) out.push({ lineage: shared.lineage, after, upto });
  }
  return out;
}

/** All keys that changed in these segments, each once. */
export async function keysOf(reader: Reader, segments: readonly Segment[]): Promise<ChangedKeys> {
  const parts = await Promise.all(
    segments.map(({ lineage, after, upto }) => reader.changedKeys(lineage, after, upto)),
  );
  if (parts.length === 1) return parts[0]!;
  const inodes = new Set<number>();
  const dentries = new Map<string, { parent: number; name: Uint8Array }>();
  for (const part of parts) {
    for (const inode of part.inodes) inodes.add(inode);
    for (const key of part.dentries) dentries.set(dentryKey(key.parent, key.name), key);
  }
  return { inodes: [...inodes], dentries: [...dentries.values()] };
}

/** The chain of nothing: what an empty tree looks like to {@link segmentsBetween}. */
export const EMPTY_CHAIN: Chain = [];

/** Map key of a name in a directory. */
export function dentryKey(parent: number, name: Uint8Array): string {
  return `${parent}/${name.toHex()}`;
}

/** `items` in runs of at most `size`. */
export function* batches<T>(items: readonly T[], size = READ_BATCH): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += size) yield items.slice(at, at + size);
}

/** Reads in batches, all results in one array. An empty chain (no state) has nothing. */
export async function readBatched<K, R>(
  keys: readonly K[],
  read: (batch: readonly K[]) => Promise<readonly R[]>,
): Promise<R[]> {
  const out: R[] = [];
  for (const batch of batches(keys)) for (const row of await read(batch)) out.push(row);
  return out;
}

/** Chains of many points with one read for each lineage: points of a lineage share what is below. */
export class ChainCache {
  readonly #below = new Map<number, Promise<Chain>>();

  constructor(private readonly reader: Reader) {}

  async of(point: Point): Promise<Chain> {
    let below = this.#below.get(point.lineage);
    if (below === undefined) {
      below = this.reader.chain(point).then((chain) => chain.slice(1));
      this.#below.set(point.lineage, below);
    }
    return [{ lineage: point.lineage, ordinal: point.ordinal }, ...await below];
  }
}

/** The layers that a layer stands on, itself first, down to the bottom. */
export function ancestry(layers: readonly LayerRow[], from: number | null): LayerRow[] {
  const byId = new Map(layers.map((layer) => [layer.id, layer]));
  const out: LayerRow[] = [];
  for (let at = from; at !== null;) {
    const layer = byId.get(at);
    if (layer === undefined) break;
    out.push(layer);
    at = layer.parent;
  }
  return out;
}

/** Builds paths of inodes of one state from their names upwards, a whole level of them at a time. */
export class PathBuilder {
  readonly #names = new Map<number, readonly DentryRow[]>();

  constructor(private readonly reader: Reader, private readonly chain: Chain) {}

  /** Reads the names of these inodes and of all directories above them. */
  async load(inodes: Iterable<number>): Promise<void> {
    let wanted = new Set(inodes);
    while (wanted.size > 0) {
      const missing = [...wanted].filter((inode) => !this.#names.has(inode));
      if (missing.length === 0) return;
      const rows = this.chain.length === 0
        ? []
        : await readBatched(missing, (batch) => this.reader.names(this.chain, batch));
      const byChild = Map.groupBy(rows, (row) => row.child);
      for (const inode of missing) this.#names.set(inode, byChild.get(inode) ?? []);
      wanted = new Set(rows.map((row) => row.parent).filter((parent) => parent !== ROOT_INODE));
    }
  }

  /** Names of an inode that was loaded. */
  names(inode: number): readonly DentryRow[] {
    return this.#names.get(inode) ?? [];
  }

  /**
   * Path of a directory that was loaded, one character per byte, `""` for the root; null when it is
   * not reachable in this state.
   */
  directory(inode: number): string | null {
    const parts: string[] = [];
    const seen = new Set<number>();
    for (let at = inode; at !== ROOT_INODE;) {
      const name = this.#names.get(at)?.[0];
      if (name === undefined || seen.has(at)) return null;
      seen.add(at);
      parts.push(latin1(name.name));
      at = name.parent;
    }
    return parts.reverse().map((part) => `/${part}`).join("");
  }
}
