import type { Chain, LayerRow } from "../rows.ts";

/** A tenant's layers as one workspace looks for them. */
export class LayersSeen {
  readonly #all: readonly LayerRow[];
  readonly #own: readonly LayerRow[];
  readonly #chain: Chain;

  /**
   * @param all layers of the tenant, oldest first
   * @param chain of the workspace's head
   */
  constructor(all: readonly LayerRow[], workspace: number, chain: Chain) {
    this.#all = all;
    this.#own = all.filter((layer) => layer.workspace === workspace);
    this.#chain = chain;
  }

  /** As `Layers.layerNamed` says. */
  named(name: string): LayerRow | null {
    const own = this.#own.find((layer) => layer.name === name);
    if (own !== undefined) return own;
    for (const visible of this.#visible()) {
      const [nearest] = visible.filter((layer) => layer.name === name)
        .sort((a, b) => b.point.ordinal - a.point.ordinal || a.id - b.id);
      if (nearest !== undefined) return nearest;
    }
    return null;
  }

  /** As `Layers.layersOfPrefix` says, without the limit. */
  ofPrefix(prefix: string): LayerRow[] {
    const fits = ({ uid }: LayerRow) => uid.startsWith(prefix);
    const own = this.#own.filter(fits);
    return (own.length > 0 ? own : this.#all.filter(fits))
      .sort((a, b) => a.uid < b.uid ? -1 : 1);
  }

  /** As `Layers.layerAt` says. */
  at(time: Date): LayerRow | null {
    const candidates = [...this.#own];
    for (const visible of this.#visible()) {
      const [newest] = visible.toSorted((a, b) => b.point.ordinal - a.point.ordinal || b.id - a.id);
      candidates.push(...visible.filter((layer) => layer.createdAt <= newest!.createdAt));
    }
    const [last] = candidates.filter((layer) => layer.createdAt <= time)
      .sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime() || b.id - a.id);
    return last ?? null;
  }

  /** As `Layers.highestNumber` says. */
  highestNumber(stem: string): number {
    return Math.max(
      0,
      ...this.#own.map(({ name }) => {
        const match = /^(.*)-([0-9]{1,15})$/.exec(name);
        return match?.[1] === stem ? Number(match[2]) : 0;
      }),
    );
  }

  /** What the head's chain goes through, a lineage at a time, nearest first. */
  #visible(): LayerRow[][] {
    return this.#chain.map(({ lineage, ordinal }) =>
      this.#all.filter(({ point }) => point.lineage === lineage && point.ordinal <= ordinal)
    );
  }
}
