/** A tree as man pages describe it, in plain objects: what a random program is compared with. */
import {
  EEXIST,
  EINVAL,
  EISDIR,
  ENAMETOOLONG,
  ENODATA,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  EPERM,
} from "../../src/base/errno.ts";
import { FsError } from "../../src/base/errors.ts";
import { S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISGID } from "../../src/base/modes.ts";
import { O_APPEND, O_CREAT, O_EXCL, O_TRUNC, UMASK } from "./target.ts";

/** A time: exact nanoseconds, or the number of the operation that set it. */
export type Time = bigint | number;

/** An inode of the model. */
export class Inode {
  nlink: number;
  uid = 0;
  gid = 0;
  rdev = 0;
  data: Uint8Array = new Uint8Array();
  target = "";
  readonly xattrs = new Map<string, string>();
  readonly entries: Map<string, Inode> | null;
  parent: Inode | null = null;
  /** Made by O_TMPFILE and never linked (linkat(2) refuses other files without a name). */
  linkable = false;
  mtime: Time;
  ctime: Time;
  /** `st_ino` once it was seen. */
  number: number | null = null;

  constructor(public mode: number, now: Time) {
    this.entries = (mode & S_IFMT) === S_IFDIR ? new Map() : null;
    this.nlink = this.entries === null ? 1 : 2;
    this.mtime = now;
    this.ctime = now;
  }

  get type(): number {
    return this.mode & S_IFMT;
  }

  get size(): number {
    return this.type === S_IFLNK ? this.target.length : this.data.length;
  }
}

/** A listing on its way. */
class Stream {
  /** Names that were there all the time. */
  readonly stable: Set<string>;
  /** Names that came or went meanwhile. */
  readonly touched = new Set<string>();
  seen: { readonly name: string; readonly next: bigint }[] = [];

  constructor(readonly directory: Inode) {
    this.stable = new Set([...directory.entries!.keys(), ".", ".."]);
  }
}

/** Something open. */
export interface Open {
  readonly inode: Inode;
  readonly flags: number;
  readonly stream: Stream | null;
}

/** The tree and what is open of it. `now` is the number of the operation that runs. */
export class Model {
  root: Inode = new Inode(S_IFDIR | 0o755, 0n);
  now = 0;
  readonly open: (Open | null)[];

  constructor(slots: number) {
    this.open = new Array(slots).fill(null);
  }

  /** A copy of the tree, to come back to. */
  snapshot(): Inode {
    const copies = new Map<Inode, Inode>();
    const copy = (inode: Inode): Inode => {
      const before = copies.get(inode);
      if (before !== undefined) return before;
      const made = Object.assign(new Inode(inode.mode, 0n), {
        nlink: inode.nlink,
        uid: inode.uid,
        gid: inode.gid,
        rdev: inode.rdev,
        data: inode.data.slice(),
        target: inode.target,
        mtime: inode.mtime,
        ctime: inode.ctime,
        number: inode.number,
      });
      copies.set(inode, made);
      for (const [name, value] of inode.xattrs) made.xattrs.set(name, value);
      for (const [name, child] of inode.entries ?? []) {
        const below = copy(child);
        if (below.entries !== null) below.parent = made;
        made.entries!.set(name, below);
      }
      return made;
    };
    return copy(this.root);
  }

  /** Every path below the root, each directory before what is in it. */
  paths(): { path: string; inode: Inode }[] {
    const out: { path: string; inode: Inode }[] = [];
    const walk = (directory: Inode, prefix: string) => {
      for (const [name, inode] of directory.entries!) {
        out.push({ path: prefix + name, inode });
        if (inode.entries !== null) walk(inode, `${prefix}${name}/`);
      }
    };
    walk(this.root, "");
    return out;
  }

  /** The inode of a path; symbolic links lead nowhere here. @throws {FsError} */
  at(path: string, follow = false): Inode {
    if (path === "") return this.root;
    const { directory, name } = this.#parent(path);
    const found = lookUp(directory, name);
    if (found === undefined || (follow && found.type === S_IFLNK)) throw new FsError(ENOENT);
    return found;
  }

  mkdir(path: string, mode: number): void {
    this.#make(path, S_IFDIR | (mode & 0o1777), (inode) => inode);
  }

  mknod(path: string, mode: number, rdev: number): void {
    this.#make(path, mode, (inode) => inode.rdev = rdev);
  }

  symlink(to: string, path: string): void {
    this.#make(path, S_IFLNK | 0o777, (inode) => inode.target = to);
  }

  rmdir(path: string): void {
    const { directory, name } = this.#parent(path);
    const inode = existing(directory, name);
    if (inode.entries === null) throw new FsError(ENOTDIR);
    if (inode.entries.size > 0) throw new FsError(ENOTEMPTY);
    this.#drop(directory, name);
  }

  unlink(path: string): void {
    const { directory, name } = this.#parent(path);
    if (existing(directory, name).entries !== null) throw new FsError(EISDIR);
    this.#drop(directory, name);
  }

  link(from: string, to: string): void {
    this.#link(this.at(from), to);
  }

  linkOpen(slot: number, path: string): void {
    this.#link(this.open[slot]!.inode, path);
  }

  rename(from: string, to: string, flags: number): void {
    const [noReplace, exchange, whiteout] = [flags & 1, flags & 2, flags & 4];
    if (exchange && (noReplace || whiteout)) throw new FsError(EINVAL);
    const source = this.#parent(from);
    const target = this.#parent(to);
    const inode = existing(source.directory, source.name);
    const replaced = lookUp(target.directory, target.name);
    if (noReplace && replaced !== undefined) throw new FsError(EEXIST);
    if (exchange && replaced === undefined) throw new FsError(ENOENT);
    if (isWithin(target.directory, inode)) throw new FsError(EINVAL);
    if (replaced !== undefined && isWithin(source.directory, replaced)) {
      throw new FsError(exchange ? EINVAL : ENOTEMPTY);
    }
    if (inode === replaced) return;
    if (replaced !== undefined && !exchange) {
      if (inode.entries !== null && replaced.entries === null) throw new FsError(ENOTDIR);
      if (inode.entries === null && replaced.entries !== null) throw new FsError(EISDIR);
      if ((replaced.entries?.size ?? 0) > 0) throw new FsError(ENOTEMPTY);
    }
    this.#remove(source.directory, source.name);
    if (replaced !== undefined) this.#remove(target.directory, target.name);
    this.#put(target.directory, target.name, inode);
    if (exchange) {
      this.#put(source.directory, source.name, replaced!);
      replaced!.ctime = this.now;
    } else if (replaced !== undefined) {
      replaced.nlink = replaced.entries === null ? replaced.nlink - 1 : 0;
      replaced.ctime = this.now;
    }
    if (whiteout) {
      this.#put(source.directory, source.name, this.#inode(source.directory, S_IFCHR));
    }
    inode.ctime = this.now;
  }

  openFile(slot: number, path: string, flags: number, mode: number): void {
    this.open[slot] = { inode: this.#opened(path, flags, mode), flags, stream: null };
  }

  tmpfile(slot: number, path: string, mode: number): void {
    const directory = this.at(path, true);
    if (directory.entries === null) throw new FsError(ENOTDIR);
    const inode = this.#inode(directory, S_IFREG | (mode & ~UMASK));
    inode.nlink = 0;
    inode.linkable = true;
    this.open[slot] = { inode, flags: 0, stream: null };
  }

  opendir(slot: number, path: string): void {
    const inode = this.at(path, true);
    if (inode.entries === null) throw new FsError(ENOTDIR);
    this.open[slot] = { inode, flags: 0, stream: new Stream(inode) };
  }

  close(slot: number): void {
    this.open[slot] = null;
  }

  pread(slot: number, offset: number, size: number): Uint8Array {
    return this.open[slot]!.inode.data.subarray(offset, offset + size);
  }

  pwrite(slot: number, offset: number, data: Uint8Array): number {
    if (data.length === 0) return 0;
    const { inode, flags } = this.open[slot]!;
    const at = (flags & O_APPEND) !== 0 ? inode.data.length : offset;
    this.#resize(inode, Math.max(inode.data.length, at + data.length));
    inode.data.set(data, at);
    return data.length;
  }

  ftruncate(slot: number, size: number): void {
    this.#resize(this.open[slot]!.inode, size);
  }

  truncate(path: string, size: number): void {
    const inode = this.at(path, true);
    if (inode.entries !== null) throw new FsError(EISDIR);
    if (inode.type !== S_IFREG) throw new FsError(EINVAL);
    this.#resize(inode, size);
  }

  fallocate(slot: number, mode: number, offset: number, length: number): void {
    if (length === 0) throw new FsError(EINVAL);
    const { inode } = this.open[slot]!;
    const size = (mode & 1) !== 0
      ? inode.data.length
      : Math.max(inode.data.length, offset + length);
    this.#resize(inode, size);
    if ((mode & ~1) !== 0) inode.data.fill(0, offset, offset + length);
  }

  /** @param moved the bytes that were copied: copy_file_range(2) may copy fewer than asked */
  copy(slot: number, offset: number, to: number, toOffset: number, moved: number): void {
    if (moved === 0) return;
    const target = this.open[to]!.inode;
    const bytes = this.open[slot]!.inode.data.slice(offset, offset + moved);
    this.#resize(target, Math.max(target.data.length, toOffset + moved));
    target.data.set(bytes, toOffset);
  }

  chmod(path: string, mode: number): void {
    const inode = this.at(path, true);
    inode.mode = inode.type | mode;
    inode.ctime = this.now;
  }

  chown(path: string, uid: number, gid: number): void {
    const inode = this.at(path);
    Object.assign(inode, { uid, gid });
    if (inode.entries === null) {
      inode.mode &= ~0o4000;
      if ((inode.mode & 0o010) !== 0) inode.mode &= ~S_ISGID;
    }
    inode.ctime = this.now;
  }

  utimens(path: string, mtime: bigint): void {
    const inode = this.at(path);
    inode.mtime = mtime;
    inode.ctime = this.now;
  }

  readlink(path: string): string {
    const inode = this.at(path);
    if (inode.type !== S_IFLNK) throw new FsError(EINVAL);
    return inode.target;
  }

  setxattr(path: string, name: string, value: string, flags: number): void {
    const inode = this.at(path);
    this.#mayHaveXattr(inode, name, EPERM);
    if (flags === 1 && inode.xattrs.has(name)) throw new FsError(EEXIST);
    if (flags === 2 && !inode.xattrs.has(name)) throw new FsError(ENODATA);
    inode.xattrs.set(name, value);
    inode.ctime = this.now;
  }

  getxattr(path: string, name: string): string {
    const inode = this.at(path);
    this.#mayHaveXattr(inode, name, ENODATA);
    const value = inode.xattrs.get(name);
    if (value === undefined) throw new FsError(ENODATA);
    return value;
  }

  removexattr(path: string, name: string): void {
    const inode = this.at(path);
    this.#mayHaveXattr(inode, name, EPERM);
    if (!inode.xattrs.delete(name)) throw new FsError(ENODATA);
    inode.ctime = this.now;
  }

  #mayHaveXattr({ type }: Inode, name: string, errno: number): void {
    if (name.startsWith("user.") && type !== S_IFREG && type !== S_IFDIR) throw new FsError(errno);
  }

  #parent(path: string): { directory: Inode; name: string } {
    const names = path.split("/");
    let directory = this.root;
    for (const name of names.slice(0, -1)) {
      const next = lookUp(directory, name);
      if (next === undefined || next.type === S_IFLNK) throw new FsError(ENOENT);
      if (next.entries === null) throw new FsError(ENOTDIR);
      directory = next;
    }
    return { directory, name: names.at(-1)! };
  }

  #inode(directory: Inode, mode: number): Inode {
    const inode = new Inode(mode, this.now);
    if ((directory.mode & S_ISGID) !== 0) {
      inode.gid = directory.gid;
      if (inode.entries !== null) inode.mode |= S_ISGID;
    }
    return inode;
  }

  #make(path: string, mode: number, finish: (inode: Inode) => void): Inode {
    const { directory, name } = this.#parent(path);
    if (lookUp(directory, name) !== undefined) throw new FsError(EEXIST);
    const masked = (mode & S_IFMT) === S_IFLNK ? mode : mode & ~UMASK;
    const inode = this.#inode(directory, masked);
    finish(inode);
    this.#put(directory, name, inode);
    return inode;
  }

  #opened(path: string, flags: number, mode: number): Inode {
    if ((flags & O_CREAT) !== 0 && path !== "") {
      const { directory, name } = this.#parent(path);
      const there = lookUp(directory, name);
      if (there === undefined) return this.#make(path, S_IFREG | mode, () => {});
      if ((flags & O_EXCL) !== 0) throw new FsError(EEXIST);
    }
    const inode = this.at(path, true);
    if (inode.entries !== null) throw new FsError(EISDIR);
    if ((flags & O_TRUNC) !== 0) this.#resize(inode, 0);
    return inode;
  }

  #link(inode: Inode, path: string): void {
    const { directory, name } = this.#parent(path);
    if (lookUp(directory, name) !== undefined) throw new FsError(EEXIST);
    if (inode.entries !== null) throw new FsError(EPERM);
    if (inode.nlink === 0 && !inode.linkable) throw new FsError(ENOENT);
    inode.linkable = false;
    inode.nlink++;
    inode.ctime = this.now;
    this.#put(directory, name, inode);
  }

  #put(directory: Inode, name: string, inode: Inode): void {
    directory.entries!.set(name, inode);
    if (inode.entries !== null) {
      inode.parent = directory;
      directory.nlink++;
    }
    this.#touch(directory, name);
  }

  #remove(directory: Inode, name: string): void {
    if (directory.entries!.get(name)!.entries !== null) directory.nlink--;
    directory.entries!.delete(name);
    this.#touch(directory, name);
  }

  #touch(directory: Inode, name: string): void {
    directory.mtime = this.now;
    directory.ctime = this.now;
    for (const open of this.open) {
      if (open?.stream?.directory !== directory) continue;
      open.stream.stable.delete(name);
      open.stream.touched.add(name);
    }
  }

  #drop(directory: Inode, name: string): void {
    const inode = directory.entries!.get(name)!;
    this.#remove(directory, name);
    inode.nlink = inode.entries === null ? inode.nlink - 1 : 0;
    inode.ctime = this.now;
    // A removed directory shows no name any more, not even its own dots.
    for (const open of this.open) {
      if (open?.stream?.directory !== inode) continue;
      for (const dot of [".", ".."]) {
        open.stream.stable.delete(dot);
        open.stream.touched.add(dot);
      }
    }
  }

  #resize(inode: Inode, size: number): void {
    if (size !== inode.data.length) {
      const data = new Uint8Array(size);
      data.set(inode.data.subarray(0, size));
      inode.data = data;
    }
    inode.mtime = this.now;
    inode.ctime = this.now;
  }
}

function lookUp(directory: Inode, name: string): Inode | undefined {
  if (name.length > 255) throw new FsError(ENAMETOOLONG);
  return directory.entries!.get(name);
}

function existing(directory: Inode, name: string): Inode {
  const inode = lookUp(directory, name);
  if (inode === undefined) throw new FsError(ENOENT);
  return inode;
}

function isWithin(directory: Inode, above: Inode): boolean {
  for (let at: Inode | null = directory; at !== null; at = at.parent) if (at === above) return true;
  return false;
}
