import { S_IFDIR, S_IFREG } from "../../src/base/modes.ts";
import { utf8 } from "../../src/base/bytes.ts";
import { type Batch, type InodeRow, type Point, ROOT_INODE } from "../../src/store/rows.ts";
import type { Store } from "../../src/store/store.ts";

function row(inode: number, mode: number, size: number): InodeRow {
  const times = { atime: 1n, mtime: 1n, ctime: 1n, btime: 1n };
  const nothing = { uid: 0, gid: 0, allocated: 0, rdev: 0, target: null, xattrs: null };
  return { inode, mode, size, nlink: mode === S_IFDIR ? 2 : 1, ...times, ...nothing };
}

/** Batch n makes the file n, and sets the size of the root to n: what came last is seen there. */
export function numberedBatch(n: number): Batch {
  return {
    nextInode: n + 2,
    nextCookie: n + 1,
    inodes: [row(n + 1, S_IFREG, 0), row(ROOT_INODE, S_IFDIR, n)],
    deadInodes: [],
    dentries: [{ parent: ROOT_INODE, name: utf8(`file-${n}`), child: n + 1, cookie: n }],
    deadDentries: [],
    blocks: [],
    deadBlocks: [],
    contents: [],
  };
}

/**
 * Number of the last batch that the store has.
 * @throws {Error} when what it has is not the batches up to that one, each once
 */
export async function numberStored(store: Store, head: Point): Promise<number> {
  const chain = await store.chain(head);
  const entries = await store.list(chain, ROOT_INODE, 0, 1e6);
  const [root] = await store.inodes(chain, [ROOT_INODE]);
  const last = root!.size;
  const numbers = entries.map(({ inode }) => inode.inode - 1);
  if (last !== numbers.length || numbers.some((number, i) => number !== i + 1)) {
    throw new Error(`the root says ${last}, but there are the batches ${numbers}`);
  }
  return last;
}
