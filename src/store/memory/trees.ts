import { equalBytes, hex } from "../../base/bytes.ts";
import { invariant } from "../../base/errors.ts";
import { garbageOf } from "../needed.ts";
import type { Usage } from "../quotas.ts";
import {
  ALIVE,
  type Batch,
  type BlockRow,
  type Chain,
  type ChangedKeys,
  type DentryRow,
  type Entry,
  type InodeRow,
  type Point,
  ROOT_INODE,
} from "../rows.ts";
import type { Collected, Reader } from "../store.ts";
import { LineageTable, nameKey, splitNameKey } from "./versions.ts";

interface Lineage {
  readonly on: Point | null;
  nextInode: number;
  nextCookie: number;
  writtenMs: number;
}

/** The trees of all lineages in memory, and what a batch does to them. */
export abstract class MemoryTrees implements Reader {
  readonly #lineages = new Map<number, Lineage>();
  readonly #inodes = new LineageTable<InodeRow>();
  readonly #dentries = new LineageTable<DentryRow>();
  readonly #blocks = new LineageTable<BlockRow>();
  readonly #contents = new Map<string, Uint8Array>();

  protected abstract newId(): number;

  async chain(point: Point): Promise<Chain> {
    return this.#chain(point);
  }

  async inodes(chain: Chain, numbers: readonly number[]): Promise<InodeRow[]> {
    return numbers.map((inode) => this.#inodes.read(chain, String(inode))).filter(isPresent);
  }

  async lookup(
    chain: Chain,
    keys: readonly { readonly parent: number; readonly name: Uint8Array }[],
  ): Promise<Entry[]> {
    return keys.map(({ parent, name }) => this.#dentries.read(chain, nameKey(parent, name)))
      .filter(isPresent).map((dentry) => this.#entry(chain, dentry));
  }

  async list(chain: Chain, parent: number, after: number, limit: number): Promise<Entry[]> {
    return [...this.#dentries.rows(chain)]
      .filter((dentry) => dentry.parent === parent && dentry.cookie > after)
      .sort((a, b) => a.cookie - b.cookie).slice(0, limit)
      .map((dentry) => this.#entry(chain, dentry));
  }

  async blocks(chain: Chain, inodes: readonly number[]): Promise<BlockRow[]> {
    const wanted = new Set(inodes);
    return [...this.#blocks.rows(chain)].filter(({ inode }) => wanted.has(inode))
      .sort((a, b) => a.inode - b.inode || a.index - b.index);
  }

  async contents(hashes: readonly Uint8Array[]): Promise<Uint8Array[]> {
    return hashes.map((hash) => {
      const data = this.#contents.get(hex(hash));
      invariant(data !== undefined, `content ${hex(hash)} is missing`);
      return data;
    });
  }

  async names(chain: Chain, children: readonly number[]): Promise<DentryRow[]> {
    const wanted = new Set(children);
    return [...this.#dentries.rows(chain)].filter(({ child }) => wanted.has(child));
  }

  async usage(chain: Chain): Promise<Usage> {
    const rows = [...this.#inodes.rows(chain)];
    return {
      inodes: rows.length,
      bytes: rows.reduce((sum, { allocated }) => sum + allocated, 0),
    };
  }

  async changedKeys(lineage: number, after: number, upto: number): Promise<ChangedKeys> {
    return {
      inodes: [...this.#inodes.of(lineage).changed(after, upto)].map(Number),
      dentries: [...this.#dentries.of(lineage).changed(after, upto)].map(splitNameKey),
    };
  }

  async counters(lineage: number): Promise<{ nextInode: number; nextCookie: number }> {
    const { nextInode, nextCookie } = this.#lineages.get(lineage)!;
    return { nextInode, nextCookie };
  }

  protected newLineage(on: Point | null): Point {
    const below = on === null ? null : this.#lineages.get(on.lineage)!;
    const lineage = this.newId();
    this.#lineages.set(lineage, {
      on,
      nextInode: below?.nextInode ?? ROOT_INODE + 1,
      nextCookie: below?.nextCookie ?? 1,
      writtenMs: Date.now(),
    });
    return { lineage, ordinal: 1 };
  }

  #chain(point: Point): Chain {
    const chain: Point[] = [];
    for (let at: Point | null = point; at !== null; at = this.#lineages.get(at.lineage)!.on) {
      chain.push(at);
    }
    return chain;
  }

  /** Removes what neither a layer, a head nor what was written lately needs. */
  protected collect(
    graceSeconds: number,
    layers: readonly Point[],
    heads: readonly Point[],
  ): Collected {
    const limit = Date.now() - graceSeconds * 1000;
    const facts = [...this.#lineages].map(([lineage, { on, writtenMs }]) => ({
      lineage,
      on,
      young: writtenMs > limit,
    }));
    const { lineages, gaps } = garbageOf({ lineages: facts, layers, heads });
    const tables = [this.#inodes, this.#dentries, this.#blocks];
    let rows = 0;
    for (const lineage of lineages) {
      for (const table of tables) {
        rows += table.of(lineage).forget(-1, ALIVE);
        table.drop(lineage);
      }
      this.#lineages.delete(lineage);
    }
    for (const { lineage, after, upto } of gaps) {
      for (const table of tables) rows += table.of(lineage).forget(after, upto);
    }
    const used = new Set([...this.#blocks.all()].map(({ hash }) => hex(hash)));
    let contents = 0;
    let bytes = 0;
    for (const [key, data] of this.#contents) {
      if (used.has(key)) continue;
      this.#contents.delete(key);
      contents++;
      bytes += data.length;
    }
    return { lineages: lineages.length, rows, contents, bytes };
  }

  protected apply(point: Point, batch: Batch): void {
    const chain = this.#chain(point);
    const { lineage, ordinal } = point;
    for (const { hash, data } of batch.contents) {
      const known = this.#contents.get(hex(hash));
      invariant(known === undefined || equalBytes(known, data), "two contents of one hash");
      this.#contents.set(hex(hash), data.slice());
    }
    for (const row of batch.inodes) this.#inodes.of(lineage).put(String(row.inode), ordinal, row);
    for (const row of batch.dentries) {
      this.#dentries.of(lineage).put(nameKey(row.parent, row.name), ordinal, row);
    }
    for (const row of batch.blocks) {
      invariant(this.#contents.has(hex(row.hash)), "a block names a content that is not there");
      this.#blocks.of(lineage).put(`${row.inode}/${row.index}`, ordinal, row);
    }
    for (const { parent, name } of batch.deadDentries) {
      this.#dentries.remove(chain, nameKey(parent, name));
    }
    for (const { inode, index } of batch.deadBlocks) {
      this.#blocks.remove(chain, `${inode}/${index}`);
    }
    for (const inode of batch.deadInodes) this.#killInode(chain, inode);
    const counters = this.#lineages.get(lineage)!;
    counters.writtenMs = Date.now();
    counters.nextInode = Math.max(counters.nextInode, batch.nextInode);
    counters.nextCookie = Math.max(counters.nextCookie, batch.nextCookie);
  }

  #killInode(chain: Chain, inode: number): void {
    const { lineage, ordinal } = chain[0]!;
    this.#inodes.remove(chain, String(inode));
    const blocks = this.#blocks.of(lineage);
    for (const key of [...blocks.keys(ordinal)]) {
      if (key.startsWith(`${inode}/`) && blocks.at(key, ordinal)!.born === ordinal) {
        blocks.end(key, ordinal);
      }
    }
  }

  #entry(chain: Chain, dentry: DentryRow): Entry {
    const inode = this.#inodes.read(chain, String(dentry.child));
    invariant(inode !== null, `inode ${dentry.child} has a name and does not exist`);
    return { dentry, inode };
  }

  /** Removes inodes with nlink 0 that a holder of this head left. */
  protected reclaimOrphans(head: Point): void {
    const own = this.#inodes.of(head.lineage);
    for (const key of [...own.keys(head.ordinal)]) {
      const row = own.at(key, head.ordinal)!.row;
      if (row?.nlink === 0) this.#killInode(this.#chain(head), row.inode);
    }
  }

  protected putInode({ lineage, ordinal }: Point, row: InodeRow): void {
    this.#inodes.of(lineage).put(String(row.inode), ordinal, row);
  }

  protected dropLineages(lineages: readonly number[]): void {
    for (const lineage of lineages) {
      for (const table of [this.#inodes, this.#dentries, this.#blocks]) table.drop(lineage);
      this.#lineages.delete(lineage);
    }
  }
}

function isPresent<T>(row: T | null): row is T {
  return row !== null;
}
