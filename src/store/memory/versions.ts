import { latin1 } from "../../base/bytes.ts";
import { ALIVE, type Chain, type Point } from "../rows.ts";

/** One version of a key's row; `row` null is a tombstone, which hides what ancestors show. */
export interface Version<R> {
  readonly row: R | null;
  readonly born: number;
  died: number;
}

/** Every version of every key of one table in one lineage. */
export class VersionedTable<R> {
  readonly #keys = new Map<string, Version<R>[]>();

  /** The version visible at an ordinal. */
  at(key: string, ordinal: number): Version<R> | undefined {
    return this.#keys.get(key)?.find(({ born, died }) => born <= ordinal && ordinal < died);
  }

  /** Every key that has a version visible at an ordinal. */
  *keys(ordinal: number): Generator<string> {
    for (const key of this.#keys.keys()) if (this.at(key, ordinal) !== undefined) yield key;
  }

  /** Keys with a version born or died after `after`, up to and with `upto`. */
  *changed(after: number, upto: number): Generator<string> {
    const within = (ordinal: number) => after < ordinal && ordinal <= upto;
    for (const [key, versions] of this.#keys) {
      if (versions.some(({ born, died }) => within(born) || within(died))) yield key;
    }
  }

  /** Makes `row` (null: a tombstone) the version from `ordinal` on. */
  put(key: string, ordinal: number, row: R | null): void {
    this.end(key, ordinal);
    const versions = this.#keys.get(key) ?? [];
    versions.push({ row, born: ordinal, died: ALIVE });
    this.#keys.set(key, versions);
  }

  /** Forgets versions that were born after one ordinal and had died by another. @returns how many */
  forget(after: number, upto: number): number {
    let count = 0;
    for (const [key, versions] of this.#keys) {
      const kept = versions.filter(({ born, died }) => born <= after || died > upto);
      count += versions.length - kept.length;
      if (kept.length === 0) this.#keys.delete(key);
      else this.#keys.set(key, kept);
    }
    return count;
  }

  /** The row of every version. */
  *all(): Generator<R> {
    for (const versions of this.#keys.values()) {
      for (const { row } of versions) if (row !== null) yield row;
    }
  }

  /** Ends the version that is alive; one born at this very ordinal leaves no trace. */
  end(key: string, ordinal: number): void {
    const versions = this.#keys.get(key) ?? [];
    const alive = versions.findIndex(({ died }) => died === ALIVE);
    if (alive < 0) return;
    if (versions[alive]!.born === ordinal) versions.splice(alive, 1);
    else versions[alive]!.died = ordinal;
    if (versions.length === 0) this.#keys.delete(key);
  }
}

/** A table over all lineages, read through chains. */
export class LineageTable<R> {
  readonly #lineages = new Map<number, VersionedTable<R>>();

  /** The table of one lineage. */
  of(lineage: number): VersionedTable<R> {
    let table = this.#lineages.get(lineage);
    if (table === undefined) this.#lineages.set(lineage, table = new VersionedTable());
    return table;
  }

  /** The row of every version in every lineage. */
  *all(): Generator<R> {
    for (const table of this.#lineages.values()) yield* table.all();
  }

  /** Forgets a lineage. */
  drop(lineage: number): void {
    this.#lineages.delete(lineage);
  }

  /** The row that a chain shows: the nearest lineage with any version decides. */
  read(chain: Chain, key: string): R | null {
    for (const { lineage, ordinal } of chain) {
      const version = this.#lineages.get(lineage)?.at(key, ordinal);
      if (version !== undefined) return version.row;
    }
    return null;
  }

  /** Every row that a chain shows. */
  *rows(chain: Chain): Generator<R> {
    const seen = new Set<string>();
    for (const { lineage, ordinal } of chain) {
      for (const key of this.#lineages.get(lineage)?.keys(ordinal) ?? []) {
        if (seen.has(key)) continue;
        seen.add(key);
        const row = this.read(chain, key);
        if (row !== null) yield row;
      }
    }
  }

  /** Removes a key at the head of a chain; a tombstone stays where an ancestor shows it. */
  remove(chain: Chain, key: string): void {
    const { lineage, ordinal } = chain[0] as Point;
    this.of(lineage).end(key, ordinal);
    if (this.read(chain.slice(1), key) !== null) this.of(lineage).put(key, ordinal, null);
  }
}

/** Key of a name in a directory. */
export function nameKey(parent: number, name: Uint8Array): string {
  return `${parent}/${latin1(name)}`;
}

/** What {@link nameKey} made. */
export function splitNameKey(key: string): { parent: number; name: Uint8Array } {
  const at = key.indexOf("/");
  const name = Uint8Array.from(key.slice(at + 1), (c) => c.charCodeAt(0));
  return { parent: Number(key.slice(0, at)), name };
}
