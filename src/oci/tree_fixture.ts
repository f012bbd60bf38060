/** Trees built row by row for tests, so that exports are not proved by imports alone. */
import { createHash } from "node:crypto";
import { hex, latin1, utf8 } from "../base/bytes.ts";
import { isDirectory, S_IFDIR, S_IFLNK, S_IFREG } from "../base/modes.ts";
import { walk } from "../layer/file.ts";
import {
  allocatedBytes,
  BLOCK_SIZE,
  type BlockRow,
  type DentryRow,
  type InodeRow,
  type LayerRow,
  type Point,
  ROOT_INODE,
  type WorkspaceRow,
} from "../store/rows.ts";
import type { Store } from "../store/store.ts";
import type { ExportFormat } from "./export.ts";
import { exportImage } from "./export.ts";
import type { ExportLayer } from "./pack.ts";
import type { Compression } from "./compression.ts";
import { baseName, type ImagePath, parentPath } from "./paths.ts";

type Attributes = Partial<
  Pick<InodeRow, "mode" | "uid" | "gid" | "rdev" | "mtime" | "target" | "xattrs">
>;

/** A workspace's tree, changed by path; {@link TreeFixture.seal} writes what changed as a layer. */
export class TreeFixture {
  readonly #names = new Map<ImagePath, number>([["", ROOT_INODE]]);
  readonly #inodes = new Map<number, InodeRow>();
  readonly #blocks = new Map<number, readonly BlockRow[]>();
  readonly #contents = new Map<string, Uint8Array>();
  readonly #cookies = new Map<string, number>();
  #sealed: { dentries: Map<string, DentryRow>; inodes: Map<number, InodeRow> } = {
    dentries: new Map(),
    inodes: new Map(),
  };
  #nextInode = 2;
  #nextCookie = 1;
  #sequence = 0;

  private constructor(
    readonly store: Store,
    private row: WorkspaceRow,
    private readonly epoch: number,
  ) {
    this.#inodes.set(ROOT_INODE, this.#rowOf(ROOT_INODE, S_IFDIR | 0o755, 4096, {}));
  }

  static async on(store: Store): Promise<TreeFixture> {
    const row = await store.createWorkspace("main", null, { uid: 0, gid: 0, time: 0n });
    const holder = { host: "test", pid: 1, mountPoint: "/mnt" };
    const { epoch } = await store.attach(row.id, holder, 15);
    return new TreeFixture(store, row, epoch);
  }

  paths(): ImagePath[] {
    return [...this.#names.keys()];
  }

  inodeAt(path: ImagePath): InodeRow | undefined {
    return this.#inodes.get(this.#names.get(path) ?? -1);
  }

  mkdir(path: ImagePath, attributes: Attributes = {}): void {
    this.#create(path, S_IFDIR | 0o755, 4096, attributes);
  }

  symlink(path: ImagePath, target: Uint8Array, attributes: Attributes = {}): void {
    this.#create(path, S_IFLNK | 0o777, target.length, { ...attributes, target });
  }

  node(path: ImagePath, mode: number, attributes: Attributes = {}): void {
    this.#create(path, mode, 0, attributes);
  }

  /** A file; `short` gives blocks fewer stored bytes than they have, 0 for a hole. */
  file(
    path: ImagePath,
    content: Uint8Array,
    attributes: Attributes = {},
    short: (index: number) => number = () => BLOCK_SIZE,
  ): void {
    const inode = this.#create(path, S_IFREG | 0o644, content.length, attributes);
    const blocks: BlockRow[] = [];
    for (let index = 0; index * BLOCK_SIZE < content.length; index++) {
      const room = content.subarray(index * BLOCK_SIZE, (index + 1) * BLOCK_SIZE);
      const data = room.slice(0, short(index));
      if (data.length === 0) continue;
      const hash = new Uint8Array(createHash("sha256").update(data).digest());
      this.#contents.set(hex(hash), data);
      blocks.push({ inode, index, hash, length: data.length });
    }
    this.#blocks.set(inode, blocks);
    const allocated = blocks.reduce((sum, { length }) => sum + allocatedBytes(length), 0);
    this.#inodes.set(inode, { ...this.#inodes.get(inode)!, allocated });
  }

  link(target: ImagePath, path: ImagePath): void {
    const row = this.inodeAt(target)!;
    if (this.#names.get(path) === row.inode) return;
    this.remove(path);
    this.#inodes.set(row.inode, { ...row, nlink: row.nlink + 1 });
    this.#names.set(path, row.inode);
  }

  rename(from: ImagePath, to: ImagePath): void {
    if (from === to || this.#names.get(from) === this.#names.get(to)) return;
    this.remove(to);
    for (const [path, inode] of [...this.#names]) {
      if (path !== from && !path.startsWith(`${from}/`)) continue;
      this.#names.delete(path);
      this.#names.set(to + path.slice(from.length), inode);
    }
    if (isDirectory(this.inodeAt(to)!.mode)) {
      this.#addSubdirectories(from, -1);
      this.#addSubdirectories(to, 1);
    }
  }

  /** Removes a path and everything under it. */
  remove(path: ImagePath): void {
    if (!this.#names.has(path)) return;
    for (const below of this.paths()) {
      if (parentPath(below) === path && below !== path) this.remove(below);
    }
    const row = this.inodeAt(path)!;
    this.#names.delete(path);
    if (isDirectory(row.mode)) this.#addSubdirectories(path, -1);
    if (isDirectory(row.mode) || row.nlink === 1) {
      this.#inodes.delete(row.inode);
      this.#blocks.delete(row.inode);
    } else this.#inodes.set(row.inode, { ...row, nlink: row.nlink - 1 });
  }

  set(path: ImagePath, attributes: Attributes): void {
    const row = this.inodeAt(path)!;
    const mode = attributes.mode ?? row.mode;
    this.#inodes.set(row.inode, { ...row, ...attributes, mode });
  }

  /** Commits what changed and seals it. */
  async seal(name: string, message = ""): Promise<LayerRow> {
    const dentries = new Map<string, DentryRow>();
    for (const [path, child] of this.#names) {
      if (path === "") continue;
      const parent = this.#names.get(parentPath(path))!;
      const key = `${parent}/${baseName(path)}`;
      const cookie = this.#cookies.get(`${key} ${child}`) ?? this.#nextCookie++;
      this.#cookies.set(`${key} ${child}`, cookie);
      const bytes = Uint8Array.from(baseName(path), (c) => c.charCodeAt(0));
      dentries.set(key, { parent, name: bytes, child, cookie });
    }
    const old = this.#sealed;
    const fresh = [...this.#inodes.values()].filter((row) => !old.inodes.has(row.inode));
    await this.store.commit(this.row.id, this.epoch, this.row.head, ++this.#sequence, {
      nextInode: this.#nextInode,
      nextCookie: this.#nextCookie,
      inodes: [...this.#inodes.values()].filter((row) => old.inodes.get(row.inode) !== row),
      deadInodes: [...old.inodes.keys()].filter((inode) => !this.#inodes.has(inode)),
      dentries: [...dentries].filter(([key, row]) => old.dentries.get(key)?.cookie !== row.cookie)
        .map(([, row]) => row),
      deadDentries: [...old.dentries].filter(([key]) => !dentries.has(key)).map(([, row]) => row),
      blocks: fresh.flatMap((row) => this.#blocks.get(row.inode) ?? []),
      deadBlocks: [],
      contents: [...this.#contents].map(([hash, data]) => ({
        hash: Uint8Array.fromHex(hash),
        data,
      })),
    });
    this.#sealed = { dentries, inodes: new Map(this.#inodes) };
    const uid = name.padEnd(32, "0").slice(0, 32);
    const { layer, head } = await this.store.seal(this.row.id, this.epoch, { uid, name, message });
    this.row = { ...this.row, head };
    return layer;
  }

  #create(path: ImagePath, mode: number, size: number, attributes: Attributes): number {
    this.remove(path);
    const inode = this.#nextInode++;
    this.#inodes.set(inode, this.#rowOf(inode, mode, size, attributes));
    this.#names.set(path, inode);
    if (isDirectory(mode)) this.#addSubdirectories(path, 1);
    return inode;
  }

  #addSubdirectories(path: ImagePath, change: number): void {
    const parent = this.inodeAt(parentPath(path))!;
    this.#inodes.set(parent.inode, { ...parent, nlink: parent.nlink + change });
  }

  #rowOf(inode: number, mode: number, size: number, attributes: Attributes): InodeRow {
    const row: InodeRow = {
      inode,
      mode,
      uid: 0,
      gid: 0,
      nlink: isDirectory(mode) ? 2 : 1,
      size,
      allocated: 0,
      rdev: 0,
      atime: 0n,
      mtime: 1_600_000_000_000_000_000n,
      ctime: BigInt(inode),
      btime: BigInt(inode),
      target: null,
      xattrs: null,
    };
    return { ...row, ...attributes, mode: attributes.mode ?? mode };
  }
}

/** Everything of a state that an image keeps, a line for each path; equal trees give equal lines. */
export async function describeTree(store: Store, point: Point): Promise<string[]> {
  const chain = await store.chain(point);
  const first = new Map<number, string>();
  const lines: string[] = [];
  for await (const { path, inode: row } of walk(store, chain)) {
    const name = latin1(path);
    if (!first.has(row.inode)) first.set(row.inode, name);
    const blocks = await store.blocks(chain, [row.inode]);
    const contents = await store.contents(blocks.map(({ hash }) => hash));
    const parts = [
      name,
      row.mode.toString(8),
      row.uid,
      row.gid,
      row.nlink,
      row.size,
      row.allocated,
      row.rdev,
      row.mtime,
      row.target === null ? "-" : hex(row.target),
      row.xattrs === null ? "-" : hex(row.xattrs),
      first.get(row.inode),
      ...blocks.map(({ index, hash, length }, i) =>
        `${index}:${hex(hash)}:${length}:${contents[i]!.length}`
      ),
    ];
    lines.push(parts.join(" "));
  }
  return lines;
}

/** An export as bytes. */
export async function exportBytes(
  store: Store,
  layers: readonly ExportLayer[],
  options: { format?: ExportFormat; compression?: Compression; squash?: boolean; since?: Point } =
    {},
): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const bytes = exportImage(store, layers, {
    format: options.format ?? "oci",
    compression: options.compression ?? "stored",
    squash: options.squash ?? false,
    since: options.since ?? null,
    reference: layers.at(-1)!.name,
    leftOut: null,
    notes: { labels: {}, annotations: {} },
    notice: () => {},
  });
  for await (const chunk of bytes) parts.push(chunk.slice());
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** Bytes as a stream of chunks of an odd size, so that no border falls on a record. */
export async function* inChunks(bytes: Uint8Array, size = 1000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** Path of a name given as text. */
export function imagePath(name: string): ImagePath {
  return latin1(utf8(name));
}
