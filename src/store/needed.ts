import type { Point } from "./rows.ts";

/** A lineage as the collector of garbage sees it. */
export interface LineageFacts {
  readonly lineage: number;
  /** The point that it stands on. */
  readonly on: Point | null;
  /** Written or opened so lately that somebody may be at work on it who has published nothing yet. */
  readonly young: boolean;
}

/** What keeps states alive. */
export interface Roots {
  readonly lineages: readonly LineageFacts[];
  readonly layers: readonly Point[];
  /** Heads go on along their lineage: every later ordinal of it is needed, too. */
  readonly heads: readonly Point[];
}

/**
 * A run of ordinals after `after` up to and with `upto` in which nothing is looked at: a version that
 * was born and had died within it is visible in no state that is needed.
 */
export interface Gap {
  readonly lineage: number;
  readonly after: number;
  readonly upto: number;
}

/** What may be removed. */
export interface Garbage {
  /** Lineages that nothing needs, those above before those they stand on. */
  readonly lineages: readonly number[];
  readonly gaps: readonly Gap[];
}

/** An ordinal above all others; `died` of what lives. */
const END = 2147483647;

/**
 * What no layer, workspace, fork or unfinished import needs.
 *
 * A state `(lineage, ordinal)` is needed when it is a layer's, a head's, a later one of a head's or a
 * young lineage, or one that a needed lineage stands on. A version is visible in the ordinals from
 * `born` up to and without `died`, so what lies within a gap between needed ordinals is in none.
 */
export function garbageOf({ lineages, layers, heads }: Roots): Garbage {
  const facts = new Map(lineages.map((lineage) => [lineage.lineage, lineage]));
  /** Needed ordinals by lineage, and from which ordinal on all are. */
  const needed = new Map<number, { ordinals: Set<number>; from: number }>();
  const need = ({ lineage, ordinal }: Point, onwards: boolean) => {
    for (let at: Point | null = { lineage, ordinal }, whole = onwards; at !== null; whole = false) {
      const seen = needed.has(at.lineage);
      const entry = needed.get(at.lineage) ?? { ordinals: new Set<number>(), from: END };
      needed.set(at.lineage, entry);
      if (whole) entry.from = Math.min(entry.from, at.ordinal);
      else entry.ordinals.add(at.ordinal);
      if (seen) return;
      at = facts.get(at.lineage)?.on ?? null;
    }
  };
  for (const point of layers) need(point, false);
  for (const point of heads) need(point, true);
  for (const { lineage, young } of lineages) if (young) need({ lineage, ordinal: 0 }, true);

  const gaps: Gap[] = [];
  for (const [lineage, { ordinals, from }] of needed) {
    let after = -1;
    for (const ordinal of [...ordinals, ...(from < END ? [from] : [])].sort((a, b) => a - b)) {
      if (ordinal > from) break;
      if (ordinal - after > 1) gaps.push({ lineage, after, upto: ordinal });
      after = ordinal;
    }
    if (from === END) gaps.push({ lineage, after, upto: END });
  }
  const unneeded = [...facts.keys()].filter((lineage) => !needed.has(lineage));
  return { lineages: unneeded.sort((a, b) => b - a), gaps };
}
