import { Buffer } from "node:buffer";
import { fromLatin1, latin1, text } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import { isDirectory, S_IFDIR, S_IFLNK, S_IFMT } from "../base/modes.ts";
import { allocatedBytes, BLOCK_SIZE, type InodeRow, ROOT_INODE } from "../store/rows.ts";
import { packXattrs } from "../store/xattrs.ts";
import { WHITEOUT } from "./changeset.ts";
import { blockRoom, encodeDevice, formatOf } from "./inode_entry.ts";
import type { LineageWriter } from "./lineage_writer.ts";
import { baseName, type ImagePath, parentPath } from "./paths.ts";
import type { TarEntry } from "./tar_entry.ts";
import type { TarMember } from "./tar_reader.ts";

const OPAQUE = ".wh..wh..opq";

/** Longest path in components: deeper trees are attacks on the stack. */
const DEPTH_MAX = 4096;

/** A name in the tree. The root has one too, with an empty name. */
interface Node {
  readonly name: string;
  readonly parent: Node | null;
  row: InodeRow;
  /** Of a directory. */
  children: Map<string, Node> | null;
  /** The layer that last had an entry of its own for this path; -1: none had. */
  entry: number;
  /** The last layer that had an entry under this path. */
  inner: number;
}

/**
 * The tree that an import builds, layer by layer: names and attributes in memory, every change
 * handed to the writer. Applies the rules of the OCI image spec ("Applying Changesets") strictly.
 */
export class ImportTree {
  readonly #root: Node;
  readonly #links = new Map<number, Set<Node>>();
  #layer = 0;
  #layerName = "";
  #time = 0n;
  #plain = false;

  /**
   * @param now Change and birth time of everything, in nanoseconds; a tar tells neither.
   */
  private constructor(private readonly writer: LineageWriter, private readonly now: bigint) {
    this.#root = {
      name: "",
      parent: null,
      row: this.#directoryRow(ROOT_INODE),
      children: new Map(),
      entry: -1,
      inner: -1,
    };
  }

  /** A tree that continues one that is there: `entries` is all of it, the root first. */
  static async standingOn(
    writer: LineageWriter,
    now: bigint,
    entries: AsyncIterable<{ readonly path: Uint8Array; readonly inode: InodeRow }>,
  ): Promise<ImportTree> {
    const tree = new ImportTree(writer, now);
    const directories = new Map<ImagePath, Node>([["", tree.#root]]);
    const linked = new Map<number, Node>();
    for await (const { path: absolute, inode: row } of entries) {
      const path = latin1(absolute).slice(1);
      if (path === "") {
        tree.#root.row = row;
        continue;
      }
      const parent = directories.get(parentPath(path))!;
      const children = isDirectory(row.mode) ? new Map<string, Node>() : null;
      const node: Node = { name: baseName(path), parent, row, children, entry: -1, inner: -1 };
      parent.children!.set(node.name, node);
      if (children !== null) {
        directories.set(path, node);
        continue;
      }
      if (row.nlink < 2) continue;
      const first = linked.get(row.inode);
      if (first === undefined) linked.set(row.inode, node);
      else tree.#links.set(row.inode, (tree.#links.get(row.inode) ?? new Set([first])).add(node));
    }
    return tree;
  }

  /** An empty tree, whose root is handed to the writer. */
  static empty(writer: LineageWriter, now: bigint): ImportTree {
    const tree = new ImportTree(writer, now);
    writer.putInode(tree.#root.row);
    return tree;
  }

  /**
   * Begins the next layer.
   *
   * @param time Modification time of directories that the layer has things in, but does not name.
   * @param plain The layer is a plain tar: a whiteout is nothing that it can mean.
   */
  beginLayer(name: string, time: bigint, plain: boolean): void {
    this.#layer++;
    this.#layerName = name;
    this.#time = time;
    this.#plain = plain;
  }

  /** Applies one member. @throws {TarboxError} saying what is wrong with it. */
  async apply(member: TarMember): Promise<void> {
    const { entry } = member;
    const path = latin1(entry.path);
    const components = path.split("/");
    if (components.length > DEPTH_MAX) this.#refuse(entry, "is nested too deep");
    if (components.slice(0, -1).some((name) => name.startsWith(WHITEOUT))) {
      this.#refuse(entry, "lies under a whiteout");
    }
    const name = baseName(path);
    if (name.startsWith(WHITEOUT)) return this.#whiteout(entry, path, name);
    if (path === "") {
      if (entry.type !== "directory") this.#refuse(entry, "is the root, but no directory");
      if (this.#root.entry === this.#layer) this.#refuse(entry, "is there twice");
      this.#root.entry = this.#layer;
      this.#update(this.#root, this.#attributes(entry, this.#root.row));
      return;
    }
    const parent = this.#parentOf(entry, path);
    const old = parent.children!.get(name);
    if (old?.entry === this.#layer) this.#refuse(entry, "is there twice");
    this.#touch(parent);
    if (entry.type === "directory" && old !== undefined && isDirectory(old.row.mode)) {
      old.entry = this.#layer;
      this.#update(old, this.#attributes(entry, old.row));
      return;
    }
    // The target is found before the old name goes: it may be the last one of the same file.
    const target = entry.type === "link" ? this.#linkTarget(entry) : null;
    if (old !== undefined) {
      if (old.inner === this.#layer) this.#refuse(entry, "holds files and is no directory");
      if (target === old) this.#refuse(entry, "is a link to itself");
      this.#remove(old);
    }
    if (target !== null) {
      this.#addLink(parent, name, target);
    } else {
      const node = this.#add(parent, name, this.#newRow(entry), this.#layer);
      if (entry.type === "file") await this.#fill(node, member);
    }
    await this.writer.breathe();
  }

  #refuse(entry: TarEntry, why: string): never {
    throw new TarboxError(
      `${this.#layerName}: ${text(entry.path) || "./"} ${why}`,
      "the archive is damaged or hostile; nothing of it was added",
    );
  }

  #whiteout(entry: TarEntry, path: ImagePath, name: string): void {
    if (this.#plain) {
      throw new TarboxError(
        `${this.#layerName}: ${
          text(entry.path)
        } is a whiteout, and a plain tar has nothing below it`,
        "export the image with --format oci, or rename the file",
      );
    }
    const hidden = name.slice(WHITEOUT.length);
    if (hidden === "" || hidden === "." || hidden === "..") {
      this.#refuse(entry, "is a whiteout of no name");
    }
    if (entry.type !== "file" || entry.size > 0) this.#refuse(entry, "is no empty file");
    const opaque = name === OPAQUE;
    // Metadata of aufs, which docker's old archives hold: nothing of it is in the tree.
    if (!opaque && hidden.startsWith(WHITEOUT)) return;
    const parent = this.#parentOf(entry, path);
    this.#touch(parent);
    const nodes = opaque ? [...parent.children!.values()] : [parent.children!.get(hidden)];
    for (const node of nodes) if (node !== undefined) this.#hideLower(node);
  }

  /** Removes what lower layers have at a path and under it; what this layer has there stays. */
  #hideLower(node: Node): void {
    if (node.entry !== this.#layer && node.inner !== this.#layer) return this.#remove(node);
    if (node.children === null) return;
    for (const child of [...node.children.values()]) this.#hideLower(child);
    if (node.entry !== this.#layer) {
      const { nlink } = node.row;
      this.#update(node, { ...this.#directoryRow(node.row.inode), mtime: this.#time, nlink });
    }
  }

  /** The directory that a path is in; made where the layer leaves it out. */
  #parentOf(entry: TarEntry, path: ImagePath): Node {
    let at = this.#root;
    const directory = parentPath(path);
    if (directory === "") return at;
    for (const name of directory.split("/")) {
      let next = at.children!.get(name);
      if (next === undefined) {
        this.#touch(at);
        const row = { ...this.#directoryRow(this.writer.newInode()), mtime: this.#time };
        next = this.#add(at, name, row, -1);
      }
      if ((next.row.mode & S_IFMT) === S_IFLNK) {
        this.#refuse(entry, "leads through a symbolic link");
      }
      if (next.children === null) this.#refuse(entry, "lies under something that is no directory");
      at = next;
    }
    return at;
  }

  /** Notes that this layer has something in a directory. */
  #touch(directory: Node): void {
    for (let at: Node | null = directory; at !== null && at.inner !== this.#layer; at = at.parent) {
      at.inner = this.#layer;
    }
  }

  #linkTarget(entry: TarEntry): Node {
    let at: Node | undefined = this.#root;
    for (const name of latin1(entry.target).split("/")) {
      if ((at.row.mode & S_IFMT) === S_IFLNK) {
        this.#refuse(entry, "is a hard link through a symbolic link");
      }
      at = at.children?.get(name);
      if (at === undefined) {
        this.#refuse(entry, `is a hard link to ${text(entry.target)}, which is not there`);
      }
    }
    if (isDirectory(at.row.mode)) this.#refuse(entry, "is a hard link to a directory");
    return at;
  }

  #add(parent: Node, name: string, row: InodeRow, entry: number): Node {
    const children = isDirectory(row.mode) ? new Map<string, Node>() : null;
    const node: Node = { name, parent, row, children, entry, inner: -1 };
    parent.children!.set(name, node);
    this.writer.putInode(row);
    this.#putDentry(node);
    if (children !== null) this.#update(parent, { ...parent.row, nlink: parent.row.nlink + 1 });
    return node;
  }

  #addLink(parent: Node, name: string, target: Node): void {
    const row = { ...target.row, nlink: target.row.nlink + 1 };
    const children = null;
    const node: Node = { name, parent, row, children, entry: this.#layer, inner: -1 };
    const names = this.#links.get(row.inode) ?? new Set([target]);
    this.#links.set(row.inode, names.add(node));
    for (const one of names) one.row = row;
    parent.children!.set(name, node);
    this.writer.putInode(row);
    this.#putDentry(node);
  }

  #putDentry({ parent, name, row }: Node): void {
    this.writer.putDentry({
      parent: parent!.row.inode,
      name: fromLatin1(name),
      child: row.inode,
      cookie: this.writer.newCookie(),
    }, name);
  }

  #remove(node: Node): void {
    for (const child of [...node.children?.values() ?? []]) this.#remove(child);
    const parent = node.parent!;
    parent.children!.delete(node.name);
    this.writer.killDentry(parent.row.inode, node.name);
    if (node.children !== null) {
      this.#update(parent, { ...parent.row, nlink: parent.row.nlink - 1 });
    }
    const names = this.#links.get(node.row.inode);
    names?.delete(node);
    if (names === undefined || names.size === 0) {
      this.#links.delete(node.row.inode);
      this.writer.killInode(node.row.inode);
      return;
    }
    const row = { ...node.row, nlink: names.size };
    for (const one of names) one.row = row;
    this.writer.putInode(row);
  }

  #update(node: Node, row: InodeRow): void {
    node.row = row;
    this.writer.putInode(row);
  }

  #directoryRow(inode: number): InodeRow {
    return {
      inode,
      mode: S_IFDIR | 0o755,
      uid: 0,
      gid: 0,
      nlink: 2,
      size: 4096,
      allocated: 0,
      rdev: 0,
      atime: this.now,
      mtime: this.now,
      ctime: this.now,
      btime: this.now,
      target: null,
      xattrs: null,
    };
  }

  #newRow(entry: TarEntry): InodeRow {
    const row = { ...this.#directoryRow(this.writer.newInode()), mode: formatOf(entry.type) };
    if (entry.type === "directory") return this.#attributes(entry, row);
    const symlink = entry.type === "symlink";
    return this.#attributes(entry, {
      ...row,
      nlink: 1,
      size: symlink ? entry.target.length : entry.size,
      rdev: encodeDevice(entry.major, entry.minor),
      target: symlink ? entry.target.slice() : null,
    });
  }

  /** The row with what an entry says of any kind of inode. */
  #attributes(entry: TarEntry, row: InodeRow): InodeRow {
    return {
      ...row,
      mode: (row.mode & S_IFMT) | entry.mode,
      uid: entry.uid,
      gid: entry.gid,
      atime: entry.mtime,
      mtime: entry.mtime,
      xattrs: packXattrs(entry.xattrs),
    };
  }

  /** Reads the content of a new file into blocks. */
  async #fill(node: Node, { entry, content }: TarMember): Promise<void> {
    const short = lengthsOf(entry);
    let index = 0;
    let filled = 0;
    let allocated = 0;
    let room = blockRoom(entry.size, 0);
    let block: Uint8Array | null = null;
    const store = async (full: Uint8Array) => {
      const length = short(index, full);
      if (length > 0) {
        allocated += allocatedBytes(length);
        const data = length === full.length ? full : full.slice(0, length);
        await this.writer.putBlock(node.row.inode, index, data);
      }
      room = blockRoom(entry.size, ++index);
      filled = 0;
    };
    for await (const piece of content()) {
      for (let at = 0; at < piece.length;) {
        const part = piece.subarray(at, at + room - filled);
        at += part.length;
        // Most files are one block in one piece: that is stored as it is, without a copy.
        if (part.length === room) {
          await store(part);
          continue;
        }
        block ??= new Uint8Array(room);
        block.set(part, filled);
        filled += part.length;
        if (filled < room) continue;
        await store(block);
        block = null;
      }
    }
    this.#update(node, { ...node.row, allocated });
  }
}

const ZEROS = new Uint8Array(BLOCK_SIZE);

/**
 * How many bytes of a block are to be stored: what our own key says, where the rest is zeros indeed,
 * else all of them. Blocks must be asked for in order.
 */
function lengthsOf(entry: TarEntry): (index: number, block: Uint8Array) => number {
  let run = 0;
  return (index, block) => {
    const runs = entry.shortBlocks;
    while (run < runs.length && runs[run]!.first + runs[run]!.count <= index) run++;
    const short = runs[run];
    if (short === undefined || index < short.first || short.length >= block.length) {
      return block.length;
    }
    const rest = block.subarray(short.length);
    const zero = Buffer.compare(rest, ZEROS.subarray(0, rest.length)) === 0;
    return zero ? short.length : block.length;
  };
}
