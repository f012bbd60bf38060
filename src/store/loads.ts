import { latin1 } from "../base/bytes.ts";
import type { BlockRow, Chain, Entry, InodeRow } from "./rows.ts";
import type { Reader } from "./store.ts";

/** Entries of one page when a directory is loaded. */
export const LIST_PAGE = 5000;

/** What the tree in memory lacks, asked of the store. Plain data: it crosses threads. */
export type Load =
  | { readonly kind: "inodes"; readonly numbers: readonly number[] }
  | { readonly kind: "lookup"; readonly parent: number; readonly name: Uint8Array }
  | { readonly kind: "list"; readonly parent: number; readonly after: number }
  | { readonly kind: "blocks"; readonly inode: number }
  | { readonly kind: "contents"; readonly hashes: readonly Uint8Array[] };

/** The answer to a {@link Load}, of the same kind. */
export type Loaded =
  | { readonly kind: "inodes"; readonly rows: readonly InodeRow[] }
  | { readonly kind: "lookup"; readonly entry: Entry | null }
  | { readonly kind: "list"; readonly entries: readonly Entry[]; readonly complete: boolean }
  | {
    readonly kind: "blocks";
    readonly rows: readonly BlockRow[];
    /** Content of a file of one block, which a reader wants next, with its one row. */
    readonly data: Uint8Array | null;
  }
  | { readonly kind: "contents"; readonly data: readonly Uint8Array[] };

/** Answers a load from the state that `chain` shows. */
export async function answerLoad(reader: Reader, chain: Chain, load: Load): Promise<Loaded> {
  switch (load.kind) {
    case "inodes":
      return { kind: "inodes", rows: await reader.inodes(chain, load.numbers) };
    case "lookup": {
      const entries = await reader.lookup(chain, [{ parent: load.parent, name: load.name }]);
      return { kind: "lookup", entry: entries[0] ?? null };
    }
    case "list": {
      const entries = await reader.list(chain, load.parent, load.after, LIST_PAGE);
      return { kind: "list", entries, complete: entries.length < LIST_PAGE };
    }
    case "blocks": {
      const rows = await reader.blocks(chain, [load.inode]);
      const data = rows.length === 1 ? (await reader.contents([rows[0]!.hash]))[0]! : null;
      return { kind: "blocks", rows, data };
    }
    case "contents":
      return { kind: "contents", data: await reader.contents(load.hashes) };
  }
}

/** Tells one load from another; all loads of contents are alike. */
export function loadKey(load: Load): string {
  switch (load.kind) {
    case "inodes":
      return `i${load.numbers.join()}`;
    case "lookup":
      return `n${load.parent}/${latin1(load.name)}`;
    case "list":
      return `l${load.parent}/${load.after}`;
    case "blocks":
      return `b${load.inode}`;
    case "contents":
      return "c";
  }
}
