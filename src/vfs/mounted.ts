import { fromLatin1 } from "../base/bytes.ts";
import { EINVAL, EISDIR, ENOENT, EROFS } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import { isRegular, isSymlink, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from "../base/modes.ts";
import type { Journal } from "../journal/journal.ts";
import type { Load, Loaded } from "../store/loads.ts";
import { ROOT_INODE } from "../store/rows.ts";
import { atimeIsDue, attributesOf, noteRead, setAttributes } from "./attributes.ts";
import { CommitGate } from "./commit_gate.ts";
import { getXattr, listXattrs, removeXattr, setXattr } from "./extended.ts";
import { allocateFile, copyFile, readFile, seekFile, truncateFile, writeFile } from "./file_io.ts";
import { type ForeignLock, Lockers, LockTable } from "./locks.ts";
import {
  checkNameLength,
  link,
  makeInode,
  makeNamed,
  type NewInode,
  rename,
  rmdir,
  unlink,
} from "./namespace.ts";
import type { Node } from "./node.ts";
import type {
  AttributeChange,
  Attributes,
  Context,
  FileSystem,
  FileSystemFigures,
  Listed,
  LockRange,
  Opened,
} from "./operations.ts";
import { dropPrivileges, dropUnlessCapable } from "./privileges.ts";
import { Tree, type TreeOptions } from "./tree.ts";

const O_ACCMODE = 3;
const O_WRONLY = 1;
const O_TRUNC = 0o1000;
const O_APPEND = 0o2000;
const O_EXCL = 0o200;
const O_NOATIME = 0o1000000;

/** Positions of a listing: 1 and 2 follow `.` and `..`, an entry's is its cookie and this. */
const COOKIE_OFFSET = 2;

/** Bytes of a block in the figures of statvfs(3). */
const FIGURES_BYTES = 4096;

/** How a workspace is mounted. */
export interface MountedOptions extends TreeOptions {
  readonly readOnly: boolean;
  readonly atime: "relatime" | "noatime";
}

interface Handle {
  readonly inode: number;
  readonly flags: number;
  /** Where a listing through it ends: names given later are not shown before it begins anew. */
  endCookie: number;
}

/** A workspace's tree as the kernel sees it: the operations on top of {@link Tree}. */
export class MountedFileSystem implements FileSystem {
  readonly tree: Tree;
  /** Told when a lock of an inode may have become free. */
  onUnlock: (inode: number) => void = () => {};
  readonly #options: MountedOptions;
  readonly #handles = new Map<number, Handle>();
  #nextHandle = 1;
  readonly #records = new LockTable(true, (inode) => this.onUnlock(inode));
  readonly #lockers = new Lockers();
  readonly #flocks = new LockTable(false, (inode) => this.onUnlock(inode));
  #gate: CommitGate | null = null;

  constructor(options: MountedOptions) {
    this.#options = options;
    this.tree = new Tree(options);
  }

  /** From now on changes go through this journal. */
  useJournal(journal: Journal): void {
    this.#gate = new CommitGate(journal);
    this.tree.gate = this.#gate;
  }

  absorb(load: Load, loaded: Loaded): void {
    this.tree.absorb(load, loaded);
  }

  /** Whether this mount may change something now; several mounts do in turns (spec/coherence.md). */
  set mayChange(may: boolean) {
    if (this.#gate !== null) this.#gate.mayChange = may;
  }

  /** From now on several mounts have the tree, or this one alone again. */
  set shared(shared: boolean) {
    this.tree.shared = shared;
    // Written together with the next change of the inode, which may be another mount's.
    if (shared) { for (const node of this.tree.nodes.values()) node.lazyAtime = false; }
    this.#records.shared = shared;
    this.#flocks.shared = shared;
  }

  /** Inodes that are open, with their node ids. */
  get openInodes(): [inode: number, id: number][] {
    const inodes = new Set([...this.#handles.values()].map(({ inode }) => inode));
    return [...inodes].map((inode) => [inode, this.tree.ids.id(inode)]);
  }

  /** Locks that processes of other mounts have. */
  set foreignLocks(locks: readonly ForeignLock[]) {
    this.#records.foreign = locks.filter(({ flock }) => !flock);
    this.#flocks.foreign = locks.filter(({ flock }) => flock);
  }

  /** All locks of the inodes on which some changed since the last call. */
  takeLockChanges(): { inodes: number[]; locks: ForeignLock[] } {
    const inodes = [...new Set([...this.#records.takeChanged(), ...this.#flocks.takeChanged()])];
    const locks = inodes.flatMap((inode) => [
      ...this.#records.of(inode).map((lock) => ({ ...lock, inode, flock: false })),
      ...this.#flocks.of(inode).map((lock) => ({ ...lock, inode, flock: true })),
    ]);
    return { inodes, locks };
  }

  /** The mount is gone: nothing is open or known to the kernel any more. */
  close(): void {
    this.#handles.clear();
    for (const node of [...this.tree.nodes.values()]) {
      node.lookups = 0;
      node.opens = 0;
      if (node.lazyAtime && this.#notesReads) this.tree.markInode(node);
      this.tree.buryIfUnused(node);
    }
  }

  lookup(_context: Context, parent: number, name: Uint8Array): Attributes {
    checkNameLength(name);
    return this.#entry(this.tree.child(this.tree.directory(parent), name));
  }

  forget(inode: number, count: number): void {
    this.tree.forget(inode, count);
  }

  getattr(_context: Context, inode: number): Attributes {
    return this.#attributes(this.tree.node(inode));
  }

  setattr(context: Context, inode: number, change: AttributeChange): Attributes {
    this.#writable();
    const node = this.tree.node(inode);
    setAttributes(this.tree, context, node, change);
    return this.#attributes(node);
  }

  readlink(_context: Context, inode: number): Uint8Array {
    const node = this.tree.node(inode);
    const { mode, target } = node.row;
    if (!isSymlink(mode) || target === null) throw new FsError(EINVAL);
    if (this.#marksAtime(0)) noteRead(this.tree, node);
    return target;
  }

  symlink(context: Context, parent: number, name: Uint8Array, target: Uint8Array): Attributes {
    return this.#make(context, parent, name, { mode: S_IFLNK | 0o777, umask: 0, target });
  }

  mknod(
    context: Context,
    parent: number,
    name: Uint8Array,
    mode: number,
    rdev: number,
    umask: number,
  ): Attributes {
    if ((mode & S_IFMT) === 0) mode |= S_IFREG;
    return this.#make(context, parent, name, { mode, rdev, umask });
  }

  mkdir(
    context: Context,
    parent: number,
    name: Uint8Array,
    mode: number,
    umask: number,
  ): Attributes {
    return this.#make(context, parent, name, { mode: S_IFDIR | (mode & 0o7777), umask });
  }

  unlink(_context: Context, parent: number, name: Uint8Array): void {
    this.#writable();
    unlink(this.tree, parent, name);
  }

  rmdir(_context: Context, parent: number, name: Uint8Array): void {
    this.#writable();
    rmdir(this.tree, parent, name);
  }

  rename(
    context: Context,
    parent: number,
    name: Uint8Array,
    newParent: number,
    newName: Uint8Array,
    flags: number,
  ): void {
    this.#writable();
    rename(this.tree, context, parent, name, newParent, newName, flags);
  }

  link(_context: Context, inode: number, newParent: number, newName: Uint8Array): Attributes {
    this.#writable();
    return this.#entry(link(this.tree, inode, newParent, newName));
  }

  open(_context: Context, inode: number, flags: number): Opened {
    const node = this.tree.node(inode);
    if ((flags & O_ACCMODE) !== 0 || (flags & O_TRUNC) !== 0) {
      this.#writable();
      if (node.children !== null) throw new FsError(EISDIR);
    }
    if ((flags & O_TRUNC) !== 0 && isRegular(node.row.mode)) {
      truncateFile(this.tree, node, 0);
    }
    node.opens++;
    const reads = (flags & O_ACCMODE) !== O_WRONLY && this.#marksAtime(flags);
    // The kernel tells of no read that its cache serves: the one that marks the atime must reach us.
    const cached = !reads || !isRegular(node.row.mode) || !atimeIsDue(node, this.tree.now());
    return { ...this.#opened(inode, flags), keepCache: cached };
  }

  create(
    context: Context,
    parent: number,
    name: Uint8Array,
    flags: number,
    mode: number,
    umask: number,
  ): { attributes: Attributes; opened: Opened } {
    this.#writable();
    checkNameLength(name);
    const directory = this.tree.directory(parent);
    // The kernel's negative dentry may be older than a name that another way made.
    if ((flags & O_EXCL) === 0 && this.tree.find(directory, name) !== null) {
      const node = this.tree.child(directory, name);
      const opened = this.open(context, node.inode, flags);
      return { attributes: this.#entry(node), opened };
    }
    const node = makeNamed(this.tree, context, parent, name, {
      mode: S_IFREG | (mode & 0o7777),
      umask,
    });
    node.opens++;
    return { attributes: this.#entry(node), opened: this.#opened(node.inode, flags) };
  }

  tmpfile(
    context: Context,
    parent: number,
    flags: number,
    mode: number,
    umask: number,
  ): { attributes: Attributes; opened: Opened } {
    this.#writable();
    const directory = this.tree.directory(parent);
    if (directory.row.nlink === 0) throw new FsError(ENOENT);
    this.tree.quota.demandInode();
    this.tree.admit();
    const what = { mode: S_IFREG | (mode & 0o7777), umask };
    const node = makeInode(this.tree, context, directory, what, 0);
    node.opens++;
    return { attributes: this.#entry(node), opened: this.#opened(node.inode, flags) };
  }

  read(
    _context: Context,
    inode: number,
    handle: number,
    offset: number,
    size: number,
  ): readonly Uint8Array[] {
    const node = this.tree.node(inode);
    if (node.children !== null) throw new FsError(EISDIR);
    const parts = readFile(node, offset, size);
    if (this.#marksAtime(this.#handles.get(handle)?.flags ?? 0)) noteRead(this.tree, node);
    return parts;
  }

  write(
    context: Context,
    inode: number,
    handle: number,
    offset: number,
    data: Uint8Array,
    killPrivileges: boolean,
  ): number {
    this.#writable();
    const node = this.tree.node(inode);
    const append = ((this.#handles.get(handle)?.flags ?? 0) & O_APPEND) !== 0;
    const written = writeFile(this.tree, node, append ? node.row.size : offset, data);
    if (killPrivileges) dropPrivileges(this.tree, context, node);
    return written;
  }

  flush(_context: Context, inode: number, _handle: number, lockOwner: bigint): void {
    if (!this.#records.releaseOwner(inode, lockOwner)) return;
    this.#lockers.forget(inode, lockOwner);
  }

  release(_context: Context, inode: number, handle: number, lockOwner: bigint | null): void {
    if (lockOwner !== null) this.#flocks.releaseOwner(inode, lockOwner);
    for (const owner of this.#lockers.closed(handle)) this.#records.releaseOwner(inode, owner);
    this.#close(inode, handle);
  }

  fsync(context: Context): void {
    this.#gate?.sync(context);
  }

  opendir(_context: Context, inode: number, flags: number): Opened {
    this.tree.directory(inode).opens++;
    return { ...this.#opened(inode, flags), keepListing: !this.tree.shared };
  }

  readdir(
    _context: Context,
    inode: number,
    handle: number,
    after: number,
    plus: boolean,
    take: (entry: Listed) => boolean,
  ): void {
    const directory = this.tree.directory(inode);
    // Everything is here before anything is taken: a reference given twice would never be returned.
    const names = this.tree.names.after(directory, Math.max(0, after - COOKIE_OFFSET));
    if (plus) this.tree.demandChildren(names);
    const open = this.#handles.get(handle);
    if (this.#marksAtime(open?.flags ?? 0)) noteRead(this.tree, directory);
    if (open !== undefined && after === 0) open.endCookie = this.#endCookie;
    if (after < 1 && !take(dot(".", inode, 1))) return;
    const parent = inode === ROOT_INODE ? ROOT_INODE : directory.parent;
    if (after < 2 && !take(dot("..", parent, 2))) return;
    for (const { name, child, type, cookie } of names) {
      // Else who renames every name that he is shown would never come to the end.
      if (open !== undefined && cookie >= open.endCookie) return;
      const node = plus ? this.tree.node(child) : null;
      const next = cookie + COOKIE_OFFSET;
      const attributes = node === null ? null : this.#attributes(node);
      if (!take({ name, inode: child, mode: type, next, attributes })) return;
      if (node !== null) this.#reference(node, directory);
    }
  }

  releasedir(_context: Context, inode: number, handle: number): void {
    this.#close(inode, handle);
  }

  statfs(): FileSystemFigures {
    const { limits, usage } = this.tree.quota;
    // A database tells nobody how much it may still grow: without a quota, as much as a mount can
    // address is free.
    const blocks = limits.bytes === null ? 2 ** 34 : Math.floor(limits.bytes / FIGURES_BYTES);
    const files = limits.inodes ?? 2 ** 32;
    return {
      blockSize: FIGURES_BYTES,
      blocks,
      freeBlocks: Math.max(0, blocks - Math.ceil((usage?.bytes ?? 0) / FIGURES_BYTES)),
      files,
      freeFiles: Math.max(0, files - (usage?.inodes ?? 0)),
      nameMax: 255,
    };
  }

  setxattr(
    context: Context,
    inode: number,
    name: Uint8Array,
    value: Uint8Array,
    flags: number,
    killSetgid: boolean,
  ): void {
    this.#writable();
    setXattr(this.tree, context, this.tree.node(inode), name, value, { flags, killSetgid });
  }

  getxattr(context: Context, inode: number, name: Uint8Array): Uint8Array {
    return getXattr(context, this.tree.node(inode), name);
  }

  listxattr(context: Context, inode: number): readonly Uint8Array[] {
    return listXattrs(context, this.tree.node(inode));
  }

  removexattr(context: Context, inode: number, name: Uint8Array): void {
    this.#writable();
    removeXattr(this.tree, context, this.tree.node(inode), name);
  }

  /** The kernel checks permissions itself; only a write to a read-only mount is refused here. */
  access(_context: Context, _inode: number, mask: number): void {
    if ((mask & 2) !== 0) this.#writable();
  }

  fallocate(
    context: Context,
    inode: number,
    _handle: number,
    mode: number,
    offset: number,
    length: number,
  ): void {
    this.#writable();
    const node = this.#regular(inode);
    allocateFile(this.tree, node, mode, offset, length);
    dropUnlessCapable(this.tree, context, node);
  }

  lseek(
    _context: Context,
    inode: number,
    _handle: number,
    offset: number,
    whence: number,
  ): number {
    return seekFile(this.#regular(inode), offset, whence);
  }

  copyFileRange(
    context: Context,
    inode: number,
    _handle: number,
    offset: number,
    newInode: number,
    _newHandle: number,
    newOffset: number,
    length: number,
  ): number {
    this.#writable();
    const source = this.#regular(inode);
    const target = this.#regular(newInode);
    const copied = copyFile(this.tree, source, offset, target, newOffset, length);
    if (copied > 0) dropUnlessCapable(this.tree, context, target);
    return copied;
  }

  getlk(
    _context: Context,
    inode: number,
    owner: bigint,
    range: LockRange,
    flock: boolean,
  ): LockRange | null {
    return (flock ? this.#flocks : this.#records).conflict(inode, owner, range);
  }

  setlk(
    _context: Context,
    inode: number,
    handle: number,
    owner: bigint,
    range: LockRange,
    flock: boolean,
    wait: boolean,
  ): void {
    this.#gate?.demandTurn();
    if (flock) return this.#flocks.set(inode, owner, range, wait);
    this.#records.set(inode, owner, range, wait);
    this.#lockers.note(inode, handle, owner);
  }

  #make(context: Context, parent: number, name: Uint8Array, what: NewInode): Attributes {
    this.#writable();
    return this.#entry(makeNamed(this.tree, context, parent, name, what));
  }

  /** Attributes that the kernel keeps as a reference. */
  #entry(node: Node): Attributes {
    node.lookups++;
    return this.#attributes(node);
  }

  /** The kernel keeps nothing that another mount may change. */
  #attributes(node: Node): Attributes {
    return this.tree.shared ? attributesOf(node, 0) : attributesOf(node);
  }

  #reference(node: Node, directory: Node): void {
    node.lookups++;
    if (node.children !== null) node.parent = directory.inode;
  }

  get #notesReads(): boolean {
    const { atime, readOnly } = this.#options;
    return atime === "relatime" && !readOnly && !this.tree.shared;
  }

  #writable(): void {
    if (this.#options.readOnly) throw new FsError(EROFS);
  }

  /** Whether reading with these open(2) flags is to be noted. */
  #marksAtime(flags: number): boolean {
    const { atime, readOnly } = this.#options;
    return atime === "relatime" && !readOnly && (flags & O_NOATIME) === 0;
  }

  #regular(inode: number): Node {
    const node = this.tree.node(inode);
    if (node.children !== null) throw new FsError(EISDIR);
    if (!isRegular(node.row.mode)) throw new FsError(EINVAL);
    return node;
  }

  #opened(inode: number, flags: number): Opened {
    const handle = this.#nextHandle++;
    this.#handles.set(handle, { inode, flags, endCookie: this.#endCookie });
    return { handle, keepCache: !this.tree.shared, directIo: this.tree.shared };
  }

  /** Where a listing that begins now ends. Of names that others give only the store knows. */
  get #endCookie(): number {
    const alone = !this.tree.shared && !this.#options.readOnly;
    return alone ? this.tree.counters.nextCookie : Infinity;
  }

  #close(inode: number, handle: number): void {
    if (!this.#handles.delete(handle)) return;
    this.tree.closed(inode);
  }
}

function dot(name: string, inode: number, next: number): Listed {
  return { name: fromLatin1(name), inode, mode: S_IFDIR, next, attributes: null };
}
