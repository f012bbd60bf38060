import type { ChangesetRow, Point } from "../rows.ts";
import { MemoryTrees } from "./trees.ts";

/** What is known of sealed states as container images, in memory. */
export abstract class MemoryImages extends MemoryTrees {
  readonly #changesets = new Map<string, ChangesetRow>();
  readonly #configs = new Map<string, { readonly point: Point; readonly config: unknown }>();

  async changesetsTo(points: readonly Point[]): Promise<ChangesetRow[]> {
    const wanted = new Set(points.map(pointKey));
    return [...this.#changesets.values()].filter(({ point }) => wanted.has(pointKey(point)));
  }

  async changesetsOf(diffIds: readonly string[]): Promise<ChangesetRow[]> {
    return [...this.#changesets.values()].filter(({ diffId }) => diffIds.includes(diffId));
  }

  async noteChangesets(rows: readonly ChangesetRow[]): Promise<void> {
    for (const row of rows) {
      const below = row.below === null ? "" : pointKey(row.below);
      const key = `${pointKey(row.point)} ${below} ${row.digest} ${row.packing}`;
      const known = this.#changesets.get(key)?.repositories ?? [];
      const repositories = [...new Set([...known, ...row.repositories])].sort();
      this.#changesets.set(key, { ...row, repositories });
    }
  }

  async imageConfigs(points: readonly Point[]): Promise<{ point: Point; config: unknown }[]> {
    return points.flatMap((point) => this.#configs.get(pointKey(point)) ?? []);
  }

  async noteImageConfig(point: Point, config: unknown): Promise<void> {
    this.#configs.set(pointKey(point), { point, config });
  }
}

function pointKey({ lineage, ordinal }: Point): string {
  return `${lineage}:${ordinal}`;
}
