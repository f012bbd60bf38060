/** Trees for the tests of layers: file operations in a few words, written through a store's commit. */
import { createHash } from "node:crypto";
import { concatBytes, utf8 } from "../../src/base/bytes.ts";
import { invariant } from "../../src/base/errors.ts";
import { isDirectory, isRegular, S_IFDIR, S_IFLNK, S_IFREG } from "../../src/base/modes.ts";
import { checkpoint } from "../../src/layer/checkpoint.ts";
import { findPath, readWhole } from "../../src/layer/file.ts";
import {
  allocatedBytes,
  type Batch,
  BLOCK_SIZE,
  type BlockRow,
  type ContentRow,
  type Entry,
  type InodeRow,
  type LayerRow,
  ROOT_INODE,
  type WorkspaceRow,
} from "../../src/store/rows.ts";
import type { Store } from "../../src/store/store.ts";

const HOLDER = { host: "test", pid: 1, mountPoint: "/mnt" };

/** A batch being made. */
interface Draft {
  inodes: InodeRow[];
  deadInodes: number[];
  dentries: Batch["dentries"][number][];
  deadDentries: { parent: number; name: Uint8Array }[];
  blocks: BlockRow[];
  deadBlocks: { inode: number; index: number }[];
  contents: ContentRow[];
}

/** A held workspace whose tree is changed by one operation after the other, each its own commit. */
export class TreeFixture {
  /** Births must differ between fixtures, as a clock has it. */
  static #made = 0n;
  #sequence = 0;
  #time = 1_700_000_000_000_000_000n + ++TreeFixture.#made;

  private constructor(readonly store: Store, readonly name: string, readonly epoch: number) {}

  /** Makes the workspace (empty, or on a layer) and takes its lease. */
  static async make(
    store: Store,
    name: string,
    from: LayerRow | null = null,
  ): Promise<TreeFixture> {
    const root = { uid: 0, gid: 0, time: 1_600_000_000_000_000_000n };
    const row = await store.createWorkspace(name, from, root);
    const lease = await store.attach(row.id, HOLDER, 60);
    return new TreeFixture(store, name, lease.epoch);
  }

  async row(): Promise<WorkspaceRow> {
    const row = await this.store.workspace(this.name);
    invariant(row !== null, "the workspace is gone");
    return row;
  }

  async seal(name?: string): Promise<LayerRow> {
    return await checkpoint(this.store, await this.row(), this.epoch, { name });
  }

  /** Makes a file, or replaces the content of one in place. */
  async write(path: string, content: string | Uint8Array): Promise<void> {
    const data = typeof content === "string" ? utf8(content) : content;
    const there = await this.#find(path);
    await this.#commit(async (draft, next) => {
      const inode = there?.inode.inode ?? next.inode();
      let allocated = 0;
      const count = Math.ceil(data.length / BLOCK_SIZE);
      for (let index = 0; index < count; index++) {
        const part = data.slice(index * BLOCK_SIZE, (index + 1) * BLOCK_SIZE);
        const hash = new Uint8Array(createHash("sha256").update(part).digest());
        draft.contents.push({ hash, data: part });
        draft.blocks.push({ inode, index, hash, length: part.length });
        allocated += allocatedBytes(part.length);
      }
      const row = there?.inode ?? this.#fresh(inode, S_IFREG | 0o644);
      const old = there === null ? 0 : Math.ceil(row.size / BLOCK_SIZE);
      for (let index = count; index < old; index++) draft.deadBlocks.push({ inode, index });
      const time = this.#time;
      draft.inodes.push({ ...row, size: data.length, allocated, mtime: time, ctime: time });
      if (there === null) await this.#name(draft, path, inode, next.cookie());
    });
  }

  async mkdir(path: string): Promise<void> {
    await this.#commit(async (draft, next) => {
      const inode = next.inode();
      draft.inodes.push({ ...this.#fresh(inode, S_IFDIR | 0o755), nlink: 2, size: 4096 });
      const parent = await this.#name(draft, path, inode, next.cookie());
      draft.inodes.push({ ...parent, nlink: parent.nlink + 1, mtime: this.#time });
    });
  }

  async symlink(target: string, path: string): Promise<void> {
    await this.#commit(async (draft, next) => {
      const inode = next.inode();
      const bytes = utf8(target);
      const row = this.#fresh(inode, S_IFLNK | 0o777);
      draft.inodes.push({ ...row, size: bytes.length, target: bytes });
      await this.#name(draft, path, inode, next.cookie());
    });
  }

  async link(existing: string, path: string): Promise<void> {
    const { inode } = await this.#need(existing);
    await this.#commit(async (draft, next) => {
      draft.inodes.push({ ...inode, nlink: inode.nlink + 1, ctime: this.#time });
      await this.#name(draft, path, inode.inode, next.cookie());
    });
  }

  async chmod(path: string, mode: number): Promise<void> {
    const { inode } = await this.#need(path);
    await this.#commit(async (draft) => {
      draft.inodes.push({ ...inode, mode: (inode.mode & ~0o7777) | mode, ctime: this.#time });
    });
  }

  /** Removes a name of a file, or an empty directory. */
  async remove(path: string): Promise<void> {
    const { dentry, inode } = await this.#need(path);
    await this.#commit(async (draft) => {
      draft.deadDentries.push({ parent: dentry.parent, name: dentry.name });
      if (isDirectory(inode.mode)) {
        draft.deadInodes.push(inode.inode);
        const [parent] = await this.#inodes(dentry.parent);
        draft.inodes.push({ ...parent!, nlink: parent!.nlink - 1 });
      } else if (inode.nlink > 1) draft.inodes.push({ ...inode, nlink: inode.nlink - 1 });
      else draft.deadInodes.push(inode.inode);
    });
  }

  /** Renames; a file that has the new name is replaced. */
  async rename(from: string, to: string): Promise<void> {
    const { dentry, inode } = await this.#need(from);
    const target = await this.#find(to);
    await this.#commit(async (draft, next) => {
      draft.deadDentries.push({ parent: dentry.parent, name: dentry.name });
      if (target !== null) draft.deadInodes.push(target.inode.inode);
      draft.inodes.push({ ...inode, ctime: this.#time });
      const parent = await this.#name(draft, to, inode.inode, next.cookie());
      if (isDirectory(inode.mode) && parent.inode !== dentry.parent) {
        const [old] = await this.#inodes(dentry.parent);
        draft.inodes.push({ ...old!, nlink: old!.nlink - 1 });
        draft.inodes.push({ ...parent, nlink: parent.nlink + 1 });
      }
    });
  }

  /** Commits rows as they are given, also wrong ones. */
  async raw(change: (draft: Draft) => void): Promise<void> {
    await this.#commit(async (draft) => change(draft));
  }

  /** Content of a file at a layer. */
  async read(layer: LayerRow, path: string): Promise<Uint8Array> {
    const chain = await this.store.chain(layer.point);
    const place = await findPath(this.store, chain, utf8(path));
    invariant(place !== null && isRegular(place.inode.mode), `${path} is no file`);
    return await readWhole(this.store, chain, place.inode);
  }

  /** The entry at an absolute path of the head. */
  async entry(path: string): Promise<Entry> {
    return await this.#need(path);
  }

  async #commit(
    fill: (
      draft: Draft,
      next: { inode: () => number; cookie: () => number },
    ) => Promise<void>,
  ): Promise<void> {
    this.#time += 1_000_000_000n;
    const { id, head } = await this.row();
    let { nextInode, nextCookie } = await this.store.counters(head.lineage);
    const draft: Draft = {
      inodes: [],
      deadInodes: [],
      dentries: [],
      deadDentries: [],
      blocks: [],
      deadBlocks: [],
      contents: [],
    };
    await fill(draft, { inode: () => nextInode++, cookie: () => nextCookie++ });
    await this.store.commit(id, this.epoch, head, ++this.#sequence, {
      ...draft,
      nextInode,
      nextCookie,
    });
  }

  #fresh(inode: number, mode: number): InodeRow {
    const time = this.#time;
    return {
      inode,
      mode,
      uid: 0,
      gid: 0,
      nlink: 1,
      size: 0,
      allocated: 0,
      rdev: 0,
      atime: time,
      mtime: time,
      ctime: time,
      btime: time,
      target: null,
      xattrs: null,
    };
  }

  async #name(draft: Draft, path: string, child: number, cookie: number): Promise<InodeRow> {
    const { directory, name } = split(path);
    const parent = directory === "/"
      ? (await this.#inodes(ROOT_INODE))[0]!
      : (await this.#need(directory)).inode;
    draft.dentries.push({ parent: parent.inode, name, child, cookie });
    return parent;
  }

  async #inodes(...numbers: number[]): Promise<InodeRow[]> {
    const { head } = await this.row();
    return await this.store.inodes(await this.store.chain(head), numbers);
  }

  async #find(path: string): Promise<Entry | null> {
    const { directory, name } = split(path);
    const parent = directory === "/" ? ROOT_INODE : (await this.#find(directory))?.inode.inode;
    if (parent === undefined) return null;
    const { head } = await this.row();
    const [entry] = await this.store.lookup(await this.store.chain(head), [{ parent, name }]);
    return entry ?? null;
  }

  async #need(path: string): Promise<Entry> {
    const entry = await this.#find(path);
    invariant(entry !== null, `${path} does not exist`);
    return entry;
  }
}

function split(path: string): { directory: string; name: Uint8Array } {
  const at = path.lastIndexOf("/");
  return { directory: at === 0 ? "/" : path.slice(0, at), name: utf8(path.slice(at + 1)) };
}

/** All bytes of an async sequence. */
export async function gather(parts: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const out: Uint8Array[] = [];
  for await (const part of parts) out.push(part);
  return concatBytes(out);
}
