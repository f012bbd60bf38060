/** Rows and batches for the tests of stores. */
import { createHash } from "node:crypto";
import assert from "node:assert/strict";
import { hex, latin1 } from "../../../src/base/bytes.ts";
import { S_IFDIR, S_IFREG } from "../../../src/base/modes.ts";
import type {
  Batch,
  BlockRow,
  Chain,
  ContentRow,
  DentryRow,
  InodeRow,
  Point,
  WorkspaceRow,
} from "../../../src/store/rows.ts";
import type { Store } from "../../../src/store/store.ts";

/** One promise that every store keeps: a name and how it is tried on an empty tenant. */
export interface Promised {
  readonly name: string;
  run(store: Store): Promise<void>;
}

export const ROOT = { uid: 1000, gid: 1001, time: 1_700_000_000_123_456_789n };

export const bytes = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text);

/** A regular file without content, or what is given instead. */
export function inode(number: number, change: Partial<InodeRow> = {}): InodeRow {
  return {
    inode: number,
    mode: S_IFREG | 0o644,
    uid: 1000,
    gid: 1000,
    nlink: 1,
    size: 0,
    allocated: 0,
    rdev: 0,
    atime: 1n,
    mtime: 2n,
    ctime: 3n,
    btime: 4n,
    target: null,
    xattrs: null,
    ...change,
  };
}

export const directory = (number: number): InodeRow =>
  inode(number, { mode: S_IFDIR | 0o755, nlink: 2, size: 4096 });

export function dentry(parent: number, name: string | Uint8Array, child: number, cookie: number) {
  return {
    parent,
    name: typeof name === "string" ? bytes(name) : name,
    child,
    cookie,
  } satisfies DentryRow;
}

export function content(text: string): ContentRow {
  const data = bytes(text);
  return { hash: new Uint8Array(createHash("sha256").update(data).digest()), data };
}

export const block = (number: number, index: number, { hash, data }: ContentRow): BlockRow => ({
  inode: number,
  index,
  hash,
  length: data.length,
});

/** A batch of what is given. */
export function batch(change: Partial<Batch>): Batch {
  return {
    nextInode: 2,
    nextCookie: 1,
    inodes: [],
    deadInodes: [],
    dentries: [],
    deadDentries: [],
    blocks: [],
    deadBlocks: [],
    contents: [],
    ...change,
  };
}

/** A workspace that this test holds, with its sequence of commits. */
export class Held {
  #sequence = 0;

  private constructor(
    readonly store: Store,
    public row: WorkspaceRow,
    readonly epoch: number,
  ) {}

  static async create(store: Store, name = "main"): Promise<Held> {
    return await Held.attach(store, await store.createWorkspace(name, null, ROOT));
  }

  static async attach(store: Store, row: WorkspaceRow): Promise<Held> {
    const holder = { host: "here", pid: 1, mountPoint: "/mnt" };
    const { epoch } = await store.attach(row.id, holder, 3600);
    return new Held(store, row, epoch);
  }

  get head(): Point {
    return this.row.head;
  }

  async commit(change: Partial<Batch>): Promise<void> {
    const { store, row, epoch } = this;
    await store.commit(row.id, epoch, row.head, ++this.#sequence, batch(change));
  }

  async seal(name: string, message = "") {
    const sealed = await this.store.seal(this.row.id, this.epoch, { uid: uid(), name, message });
    await this.refresh();
    return sealed.layer;
  }

  async refresh(): Promise<void> {
    this.row = (await this.store.workspace(this.row.name))!;
  }

  async chain(): Promise<Chain> {
    return await this.store.chain(this.row.head);
  }
}

/** A new layer's id. */
export function uid(): string {
  return crypto.randomUUID().replaceAll("-", "");
}

/** Everything of a tree as texts: what two stores must agree on. */
export async function tree(store: Store, chain: Chain, inodes: readonly number[]) {
  const rows = await store.inodes(chain, inodes);
  const blocks = await store.blocks(chain, rows.map(({ inode }) => inode));
  const contents = await store.contents(blocks.map(({ hash }) => hash));
  const listed: string[] = [];
  for (const parent of inodes) {
    for (const { dentry, inode } of await store.list(chain, parent, 0, 1000)) {
      assert.equal(inode.inode, dentry.child);
      listed.push(dentryText(dentry));
    }
  }
  return {
    inodes: rows.map(inodeText).sort(),
    listed,
    names: (await store.names(chain, inodes)).map(dentryText).sort(),
    blocks: blocks.map(({ inode, index, length }, i) =>
      `${inode}/${index} ${length} ${latin1(contents[i]!)}`
    ),
  };
}

export const dentryText = ({ parent, name, child, cookie }: DentryRow): string =>
  `${parent}/${latin1(name)} -> ${child} @${cookie}`;

export function inodeText(row: InodeRow): string {
  return JSON.stringify(
    row,
    (_, value) =>
      typeof value === "bigint" ? String(value) : value instanceof Uint8Array ? hex(value) : value,
  );
}
