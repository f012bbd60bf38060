/**
 * A small file system for the tests of this folder: a fixed tree of files in memory that can be
 * listed, read, written in place and locked. Everything else answers ENOSYS or EROFS.
 */
import { EAGAIN, EEXIST, ENODATA, ENOENT, ENOSYS, EROFS } from "../base/errno.ts";
import { latin1, utf8 } from "../base/bytes.ts";
import { FsError } from "../base/errors.ts";
import { isDirectory, S_IFDIR, S_IFLNK, S_IFREG } from "../base/modes.ts";
import type {
  AttributeChange,
  Attributes,
  Context,
  FileSystem,
  FileSystemFigures,
  Listed,
  LockRange,
  Opened,
} from "../vfs/operations.ts";
import { Suspension } from "../vfs/suspension.ts";

interface Node {
  attributes: Attributes;
  content: Uint8Array;
}

const SECOND = 1_000_000_000n;
const OPENED: Opened = { handle: 9, keepCache: true, directIo: false };

/** Attributes of an inode as the tests expect them in replies. */
export function attributesOf(inode: number, mode: number, size: number): Attributes {
  return {
    inode,
    mode,
    uid: 1000,
    gid: 100,
    nlink: isDirectory(mode) ? 2 : 1,
    size,
    blocks: Math.ceil(size / 4096) * 8,
    rdev: 0,
    atime: 3n * SECOND + 7n,
    mtime: -1n,
    ctime: 5n * SECOND,
    btime: 6n * SECOND + 1n,
    validSeconds: 60,
  };
}

/**
 * The tree: `/hello` (5 bytes), `/big` (300,000 bytes), `/link` to `hello`, and `/stuck`, of which a
 * lookup waits for ever.
 */
export class TestingFileSystem implements FileSystem {
  readonly #nodes = new Map<number, Node>();
  readonly #names = new Map<string, number>();
  #lock: { owner: bigint; range: LockRange } | null = null;
  /** What was forgotten, as the kernel said it. */
  readonly forgotten: [inode: number, count: number][] = [];
  /** What was called, with its arguments, newest last. */
  readonly calls: [name: string, ...args: unknown[]][] = [];
  /** Thrown by the next operation that is not a forget, then cleared. */
  next: unknown = null;

  constructor() {
    const big = new Uint8Array(300_000).map((_, i) => i % 251);
    this.#nodes.set(1, { attributes: attributesOf(1, S_IFDIR | 0o755, 4096), content: utf8("") });
    this.#add("hello", 2, S_IFREG | 0o666, utf8("hello"));
    this.#add("big", 3, S_IFREG | 0o644, big);
    this.#add("link", 4, S_IFLNK | 0o777, utf8("hello"));
  }

  #add(name: string, inode: number, mode: number, content: Uint8Array): void {
    this.#names.set(name, inode);
    this.#nodes.set(inode, { attributes: attributesOf(inode, mode, content.length), content });
  }

  #called(name: string, ...args: unknown[]): void {
    if (this.next !== null) {
      const thrown = this.next;
      this.next = null;
      throw thrown;
    }
    this.calls.push([name, ...args]);
  }

  #node(inode: number): Node {
    const node = this.#nodes.get(inode);
    if (node === undefined) throw new FsError(ENOENT);
    return node;
  }

  #made(name: Uint8Array): Attributes {
    if (this.#names.has(latin1(name))) throw new FsError(EEXIST);
    return attributesOf(77, S_IFREG | 0o644, 0);
  }

  lookup(_: Context, parent: number, name: Uint8Array): Attributes {
    this.#called("lookup", parent, latin1(name));
    if (latin1(name) === "stuck") throw new Suspension({ kind: "pressure" });
    const inode = this.#names.get(latin1(name));
    if (inode === undefined || parent !== 1) throw new FsError(ENOENT);
    return this.#node(inode).attributes;
  }
  forget(inode: number, count: number): void {
    this.forgotten.push([inode, count]);
  }
  getattr(context: Context, inode: number, handle: number | null): Attributes {
    this.#called("getattr", inode, handle, context.uid, context.gid, context.pid);
    return this.#node(inode).attributes;
  }
  setattr(_: Context, inode: number, change: AttributeChange): Attributes {
    this.#called("setattr", inode, change);
    const node = this.#node(inode);
    if (change.size !== undefined) {
      const content = new Uint8Array(change.size);
      content.set(node.content.subarray(0, change.size));
      node.content = content;
      node.attributes = { ...node.attributes, size: change.size };
    }
    return node.attributes;
  }
  readlink(_: Context, inode: number): Uint8Array {
    this.#called("readlink", inode);
    return this.#node(inode).content;
  }
  symlink(_: Context, parent: number, name: Uint8Array, target: Uint8Array): Attributes {
    this.#called("symlink", parent, latin1(name), latin1(target));
    return this.#made(name);
  }
  mknod(
    _: Context,
    parent: number,
    name: Uint8Array,
    mode: number,
    rdev: number,
    umask: number,
  ): Attributes {
    this.#called("mknod", parent, latin1(name), mode, rdev, umask);
    return this.#made(name);
  }
  mkdir(_: Context, parent: number, name: Uint8Array, mode: number, umask: number): Attributes {
    this.#called("mkdir", parent, latin1(name), mode, umask);
    return this.#made(name);
  }
  unlink(_: Context, parent: number, name: Uint8Array): void {
    this.#called("unlink", parent, latin1(name));
  }
  rmdir(_: Context, parent: number, name: Uint8Array): void {
    this.#called("rmdir", parent, latin1(name));
  }
  rename(
    _: Context,
    parent: number,
    name: Uint8Array,
    newParent: number,
    newName: Uint8Array,
    flags: number,
  ): void {
    this.#called("rename", parent, latin1(name), newParent, latin1(newName), flags);
  }
  link(_: Context, inode: number, newParent: number, newName: Uint8Array): Attributes {
    this.#called("link", inode, newParent, latin1(newName));
    return this.#node(inode).attributes;
  }
  open(_: Context, inode: number, flags: number): Opened {
    this.#called("open", inode, flags);
    return OPENED;
  }
  create(
    _: Context,
    parent: number,
    name: Uint8Array,
    flags: number,
    mode: number,
    umask: number,
  ): { attributes: Attributes; opened: Opened } {
    this.#called("create", parent, latin1(name), flags, mode, umask);
    return { attributes: this.#made(name), opened: OPENED };
  }
  tmpfile(
    _: Context,
    parent: number,
    flags: number,
    mode: number,
    umask: number,
  ): { attributes: Attributes; opened: Opened } {
    this.#called("tmpfile", parent, flags, mode, umask);
    return { attributes: attributesOf(78, S_IFREG | 0o600, 0), opened: OPENED };
  }
  read(
    _: Context,
    inode: number,
    handle: number,
    offset: number,
    size: number,
  ): readonly Uint8Array[] {
    this.#called("read", inode, handle, offset, size);
    const { content } = this.#node(inode);
    const end = Math.min(content.length, offset + size);
    const parts: Uint8Array[] = [];
    for (let at = offset; at < end; at += 65536) {
      parts.push(content.subarray(at, Math.min(end, at + 65536)));
    }
    return parts;
  }
  write(
    _: Context,
    inode: number,
    handle: number,
    offset: number,
    data: Uint8Array,
    killPrivileges: boolean,
  ): number {
    this.#called("write", inode, handle, offset, latin1(data), killPrivileges);
    this.#node(inode).content.set(data, offset);
    return data.length;
  }
  flush(_: Context, inode: number, handle: number, lockOwner: bigint): void {
    this.#called("flush", inode, handle, lockOwner);
    if (this.#lock?.owner === lockOwner) this.#lock = null;
  }
  release(_: Context, inode: number, handle: number, lockOwner: bigint | null): void {
    this.#called("release", inode, handle, lockOwner);
    if (lockOwner !== null && this.#lock?.owner === lockOwner) this.#lock = null;
  }
  fsync(_: Context, inode: number, handle: number | null): void {
    this.#called("fsync", inode, handle);
  }
  opendir(_: Context, inode: number): Opened {
    this.#called("opendir", inode);
    return OPENED;
  }
  readdir(
    _: Context,
    inode: number,
    handle: number,
    after: number,
    plus: boolean,
    take: (entry: Listed) => boolean,
  ): void {
    this.#called("readdir", inode, handle, after, plus);
    let next = 0;
    const directory = S_IFDIR | 0o755;
    const entries: Listed[] = [".", ".."].map((name) => (
      { name: utf8(name), inode: 1, mode: directory, next: ++next, attributes: null }
    ));
    for (const [name, child] of this.#names) {
      const { attributes } = this.#node(child);
      const { mode } = attributes;
      entries.push({ name: utf8(name), inode: child, mode, next: ++next, attributes });
    }
    for (const entry of entries.slice(after)) if (!take(entry)) return;
  }
  releasedir(_: Context, inode: number, handle: number): void {
    this.#called("releasedir", inode, handle);
  }
  statfs(): FileSystemFigures {
    this.#called("statfs");
    return {
      blockSize: 4096,
      blocks: 1000,
      freeBlocks: 900,
      files: 50,
      freeFiles: 40,
      nameMax: 255,
    };
  }
  setxattr(_: Context, inode: number, name: Uint8Array, value: Uint8Array, flags: number): void {
    this.#called("setxattr", inode, latin1(name), latin1(value), flags);
  }
  getxattr(_: Context, inode: number, name: Uint8Array): Uint8Array {
    this.#called("getxattr", inode, latin1(name));
    if (latin1(name) !== "user.a") throw new FsError(ENODATA);
    return utf8("value");
  }
  listxattr(_: Context, inode: number): readonly Uint8Array[] {
    this.#called("listxattr", inode);
    return [utf8("user.a"), utf8("user.b")];
  }
  removexattr(_: Context, inode: number, name: Uint8Array): void {
    this.#called("removexattr", inode, latin1(name));
  }
  access(_: Context, inode: number, mask: number): void {
    this.#called("access", inode, mask);
    if ((mask & 2) !== 0 && inode === 1) throw new FsError(EROFS);
  }
  fallocate(
    _: Context,
    inode: number,
    handle: number,
    mode: number,
    offset: number,
    length: number,
  ): void {
    this.#called("fallocate", inode, handle, mode, offset, length);
    if (mode !== 0) throw new FsError(ENOSYS);
  }
  lseek(_: Context, inode: number, handle: number, offset: number, whence: number): number {
    this.#called("lseek", inode, handle, offset, whence);
    return whence === 3 ? offset : this.#node(inode).content.length;
  }
  copyFileRange(_: Context, ...args: number[]): number {
    this.#called("copyFileRange", ...args);
    return args[6]!;
  }
  getlk(
    _: Context,
    inode: number,
    owner: bigint,
    range: LockRange,
    flock: boolean,
  ): LockRange | null {
    this.#called("getlk", inode, owner, range, flock);
    return this.#lock === null || this.#lock.owner === owner ? null : this.#lock.range;
  }
  setlk(
    _: Context,
    inode: number,
    handle: number,
    owner: bigint,
    range: LockRange,
    flock: boolean,
    wait: boolean,
  ): void {
    this.#called("setlk", inode, handle, owner, range, flock, wait);
    if (this.#lock !== null && this.#lock.owner !== owner) {
      if (wait) throw new Suspension({ kind: "lock", inode });
      throw new FsError(EAGAIN);
    }
    this.#lock = range.type === "unlock" ? null : { owner, range };
  }
}
