import type { Chain } from "../store/rows.ts";
import type { Store } from "../store/store.ts";

/** Lineages that a read looks through at most, once what is below the head was summed up. */
const DEPTH_MAX = 8;

/**
 * Keeps reads of a head cheap however often was forked and switched: sums up what it stands on when
 * that is a long chain. Costs what the upper lineages changed, once in several switches; to be run
 * beside the work, not before it.
 */
export async function keepShallow(store: Store, head: Chain): Promise<void> {
  if (head.length > DEPTH_MAX) await store.summarize(head[1]!, DEPTH_MAX);
}
