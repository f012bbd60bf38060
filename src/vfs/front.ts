import { text } from "../base/bytes.ts";
import { ENOENT, EPERM, EROFS, ESTALE, EXDEV } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import type { Load, Loaded } from "../store/loads.ts";
import { type Point, ROOT_INODE, SYNTHETIC_INODE } from "../store/rows.ts";
import { command, ControlFiles } from "./control_files.ts";
import { type ControlNode, controlNode } from "./control.ts";
import { MountedFileSystem, type MountedOptions } from "./mounted.ts";
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
import { type View, Views } from "./views.ts";

/** How a workspace is mounted, with its control directory. */
export interface FrontOptions extends MountedOptions {
  readonly controlDirectory: boolean;
  /** Owner of the control directory. */
  readonly uid: number;
  readonly gid: number;
}

/** Where a node id leads: the filesystem that has it, and its number there. */
interface Place {
  readonly fileSystem: MountedFileSystem;
  readonly inode: number;
  /** Null: the head. */
  readonly view: View | null;
}

/**
 * A mount as the kernel sees it: the head, the control directory in its root, and other states of
 * the tree under `/.tarbox/at`. Translates between the kernel's node ids and inode numbers.
 */
export class FrontFileSystem implements FileSystem {
  readonly head: MountedFileSystem;
  readonly #control: ControlFiles | null;
  readonly #views: Views;
  /** Told the node id when a lock of an inode may have become free. */
  onUnlock: (id: number) => void = () => {};

  constructor(options: FrontOptions) {
    this.head = new MountedFileSystem(options);
    const { tree } = this.head;
    this.head.onUnlock = (inode) => this.onUnlock(tree.ids.id(inode));
    this.#views = new Views({ ...options, pool: tree.pool }, (id) => this.onUnlock(id));
    this.#control = options.controlDirectory
      ? new ControlFiles({
        ...options,
        answer: (path) => path === "stats/cache" ? this.#cacheFigures() : null,
      })
      : null;
  }

  /** A load is on its way; `point` null: of the head. */
  asking(point: Point | null, load: Load): void {
    if (point === null) this.head.tree.asking(load);
    else this.#views.asking(point, load);
  }

  /** Takes in what the store answered to a load. */
  absorb(point: Point | null, load: Load, loaded: Loaded): void {
    if (point === null) this.head.absorb(load, loaded);
    else this.#views.absorb(point, load, loaded);
  }

  /** The mount is gone: nothing is open or known to the kernel any more. */
  close(): void {
    this.head.close();
  }

  lookup(context: Context, parent: number, name: Uint8Array): Attributes {
    const directory = controlNode(parent);
    if (directory?.path === "at") return this.#lookupState(context, name);
    if (directory !== undefined) return this.#controls.lookup(parent, name);
    const control = this.#control?.child(parent, name) ?? null;
    if (control !== null) return this.#controls.attributes(control);
    return this.#entry(parent, (fs, inode) => fs.lookup(context, inode, name));
  }

  /** The root of the state that a name under `at` refers to. */
  #lookupState(context: Context, name: Uint8Array): Attributes {
    const point: Point = JSON.parse(command(context, "at", text(name)));
    const view = this.#views.at(point);
    const { fileSystem } = view;
    try {
      const root = fileSystem.getattr(context, ROOT_INODE);
      fileSystem.tree.node(ROOT_INODE).lookups++;
      view.references++;
      // What the name refers to may be another state tomorrow.
      return { ...view.shown(root), validSeconds: 0 };
    } catch (error) {
      throw view.thrown(error);
    }
  }

  forget(id: number, count: number): void {
    if (controlNode(id) !== undefined) return;
    const view = id < SYNTHETIC_INODE ? undefined : this.#views.of(id);
    if (view !== undefined) {
      view.references -= count;
      view.fileSystem.forget(id - view.base, count);
    } else if (id < SYNTHETIC_INODE) {
      this.head.forget(this.head.tree.ids.inode(id), count);
    }
  }

  getattr(context: Context, id: number): Attributes {
    const control = controlNode(id);
    if (control !== undefined) return this.#controls.attributes(control);
    return this.#shown(id, (fs, inode) => fs.getattr(context, inode));
  }

  setattr(context: Context, id: number, change: AttributeChange): Attributes {
    const control = controlNode(id);
    if (control !== undefined) return this.#controls.setattr(control, change);
    return this.#shown(id, (fs, inode) => fs.setattr(context, inode, change));
  }

  readlink(context: Context, id: number): Uint8Array {
    return this.#on(id, (fs, inode) => fs.readlink(context, inode));
  }

  symlink(context: Context, parent: number, name: Uint8Array, target: Uint8Array): Attributes {
    this.#ordinary(parent, name);
    return this.#entry(parent, (fs, inode) => fs.symlink(context, inode, name, target));
  }

  mknod(
    context: Context,
    parent: number,
    name: Uint8Array,
    mode: number,
    rdev: number,
    umask: number,
  ): Attributes {
    this.#ordinary(parent, name);
    return this.#entry(parent, (fs, inode) => fs.mknod(context, inode, name, mode, rdev, umask));
  }

  mkdir(
    context: Context,
    parent: number,
    name: Uint8Array,
    mode: number,
    umask: number,
  ): Attributes {
    this.#ordinary(parent, name);
    return this.#entry(parent, (fs, inode) => fs.mkdir(context, inode, name, mode, umask));
  }

  unlink(context: Context, parent: number, name: Uint8Array): void {
    this.#ordinary(parent, name);
    this.#on(parent, (fs, inode) => fs.unlink(context, inode, name));
  }

  rmdir(context: Context, parent: number, name: Uint8Array): void {
    this.#ordinary(parent, name);
    this.#on(parent, (fs, inode) => fs.rmdir(context, inode, name));
  }

  rename(
    context: Context,
    parent: number,
    name: Uint8Array,
    newParent: number,
    newName: Uint8Array,
    flags: number,
  ): void {
    this.#ordinary(parent, name);
    this.#ordinary(newParent, newName);
    const to = this.#other(parent, newParent);
    this.#on(parent, (fs, inode) => fs.rename(context, inode, name, to, newName, flags));
  }

  link(context: Context, id: number, newParent: number, newName: Uint8Array): Attributes {
    this.#ordinary(newParent, newName);
    if (controlNode(id) !== undefined) throw new FsError(EPERM);
    const to = this.#other(id, newParent);
    return this.#entry(id, (fs, inode) => fs.link(context, inode, to, newName));
  }

  open(context: Context, id: number, flags: number): Opened {
    const control = controlNode(id);
    if (control !== undefined) return this.#controls.open(context, control, flags);
    return this.#on(id, (fs, inode) => fs.open(context, inode, flags));
  }

  create(
    context: Context,
    parent: number,
    name: Uint8Array,
    flags: number,
    mode: number,
    umask: number,
  ): { attributes: Attributes; opened: Opened } {
    this.#ordinary(parent, name);
    return this.#made(parent, (fs, inode) => fs.create(context, inode, name, flags, mode, umask));
  }

  tmpfile(
    context: Context,
    parent: number,
    flags: number,
    mode: number,
    umask: number,
  ): { attributes: Attributes; opened: Opened } {
    if (controlNode(parent) !== undefined) throw new FsError(EPERM);
    return this.#made(parent, (fs, inode) => fs.tmpfile(context, inode, flags, mode, umask));
  }

  read(
    context: Context,
    id: number,
    handle: number,
    offset: number,
    size: number,
  ): readonly Uint8Array[] {
    if (controlNode(id) !== undefined) return this.#controls.read(handle, offset, size);
    return this.#on(id, (fs, inode) => fs.read(context, inode, handle, offset, size));
  }

  write(
    context: Context,
    id: number,
    handle: number,
    offset: number,
    data: Uint8Array,
    killPrivileges: boolean,
  ): number {
    const control = controlNode(id);
    if (control !== undefined) return this.#controls.write(context, control, data);
    return this.#on(
      id,
      (fs, inode) => fs.write(context, inode, handle, offset, data, killPrivileges),
    );
  }

  flush(context: Context, id: number, handle: number, lockOwner: bigint): void {
    if (controlNode(id) !== undefined) return;
    this.#on(id, (fs, inode) => fs.flush(context, inode, handle, lockOwner));
  }

  release(context: Context, id: number, handle: number, lockOwner: bigint | null): void {
    if (controlNode(id) !== undefined) return this.#controls.release(handle);
    this.#on(id, (fs, inode) => fs.release(context, inode, handle, lockOwner));
  }

  fsync(context: Context, id: number): void {
    if (id >= SYNTHETIC_INODE) return;
    this.head.fsync(context);
  }

  opendir(context: Context, id: number, flags: number): Opened {
    const control = controlNode(id);
    if (control !== undefined) return this.#controls.opendir(context, control);
    return this.#on(id, (fs, inode) => fs.opendir(context, inode, flags));
  }

  readdir(
    context: Context,
    id: number,
    handle: number,
    after: number,
    plus: boolean,
    take: (entry: Listed) => boolean,
  ): void {
    const control = controlNode(id);
    if (control !== undefined) return this.#controls.readdir(control, handle, after, take);
    const { fileSystem, inode, view } = this.#place(id);
    const { ids } = fileSystem.tree;
    const translated = view === null && ids.plain ? take : (entry: Listed) => {
      const attributes = entry.attributes === null ? null : this.#kernel(view, entry.attributes);
      const number = view === null ? entry.inode : view.base + entry.inode;
      const taken = take({ ...entry, inode: number, attributes });
      if (taken && view !== null && attributes !== null) view.references++;
      return taken;
    };
    this.#in(view, () => fileSystem.readdir(context, inode, handle, after, plus, translated));
  }

  releasedir(context: Context, id: number, handle: number): void {
    if (controlNode(id) !== undefined) return this.#controls.release(handle);
    this.#on(id, (fs, inode) => fs.releasedir(context, inode, handle));
  }

  statfs(): FileSystemFigures {
    return this.head.statfs();
  }

  setxattr(
    context: Context,
    id: number,
    name: Uint8Array,
    value: Uint8Array,
    flags: number,
    killSetgid: boolean,
  ): void {
    this.#on(id, (fs, inode) => fs.setxattr(context, inode, name, value, flags, killSetgid));
  }

  getxattr(context: Context, id: number, name: Uint8Array): Uint8Array {
    return this.#on(id, (fs, inode) => fs.getxattr(context, inode, name));
  }

  listxattr(context: Context, id: number): readonly Uint8Array[] {
    if (controlNode(id) !== undefined) return [];
    return this.#on(id, (fs, inode) => fs.listxattr(context, inode));
  }

  removexattr(context: Context, id: number, name: Uint8Array): void {
    this.#on(id, (fs, inode) => fs.removexattr(context, inode, name));
  }

  access(context: Context, id: number, mask: number): void {
    if (controlNode(id) !== undefined) return;
    this.#on(id, (fs, inode) => fs.access(context, inode, mask));
  }

  fallocate(
    context: Context,
    id: number,
    handle: number,
    mode: number,
    offset: number,
    length: number,
  ): void {
    this.#on(id, (fs, inode) => fs.fallocate(context, inode, handle, mode, offset, length));
  }

  lseek(context: Context, id: number, handle: number, offset: number, whence: number): number {
    return this.#on(id, (fs, inode) => fs.lseek(context, inode, handle, offset, whence));
  }

  copyFileRange(
    context: Context,
    id: number,
    handle: number,
    offset: number,
    newId: number,
    newHandle: number,
    newOffset: number,
    length: number,
  ): number {
    // copy_file_range(2) on EXDEV: the kernel copies by reading and writing.
    const to = this.#other(id, newId);
    return this.#on(
      id,
      (fs, inode) =>
        fs.copyFileRange(context, inode, handle, offset, to, newHandle, newOffset, length),
    );
  }

  getlk(
    context: Context,
    id: number,
    owner: bigint,
    range: LockRange,
    flock: boolean,
  ): LockRange | null {
    return this.#on(id, (fs, inode) => fs.getlk(context, inode, owner, range, flock));
  }

  setlk(
    context: Context,
    id: number,
    handle: number,
    owner: bigint,
    range: LockRange,
    flock: boolean,
    wait: boolean,
  ): void {
    this.#on(id, (fs, inode) => fs.setlk(context, inode, handle, owner, range, flock, wait));
  }

  get #controls(): ControlFiles {
    if (this.#control === null) throw new FsError(ENOENT);
    return this.#control;
  }

  #place(id: number): Place {
    if (id < SYNTHETIC_INODE) {
      return { fileSystem: this.head, inode: this.head.tree.ids.inode(id), view: null };
    }
    if (controlNode(id) !== undefined) throw new FsError(EPERM);
    const view = this.#views.of(id);
    if (view === undefined) throw new FsError(ESTALE);
    return { fileSystem: view.fileSystem, inode: id - view.base, view };
  }

  #in<T>(view: View | null, run: () => T): T {
    if (view === null) return run();
    try {
      return run();
    } catch (error) {
      throw view.thrown(error);
    }
  }

  #on<T>(id: number, run: (fileSystem: MountedFileSystem, inode: number) => T): T {
    if (id < SYNTHETIC_INODE) return run(this.head, this.head.tree.ids.inode(id));
    const { fileSystem, inode, view } = this.#place(id);
    return this.#in(view, () => run(fileSystem, inode));
  }

  #shown(
    id: number,
    run: (fileSystem: MountedFileSystem, inode: number) => Attributes,
  ): Attributes {
    if (id < SYNTHETIC_INODE) return this.#kernel(null, this.#on(id, run));
    const { fileSystem, inode, view } = this.#place(id);
    return this.#kernel(view, this.#in(view, () => run(fileSystem, inode)));
  }

  /** Attributes that become a reference of the kernel. */
  #entry(
    id: number,
    run: (fileSystem: MountedFileSystem, inode: number) => Attributes,
  ): Attributes {
    const attributes = this.#shown(id, run);
    if (id >= SYNTHETIC_INODE) this.#views.of(id)!.references++;
    return attributes;
  }

  #made(
    parent: number,
    run: (
      fileSystem: MountedFileSystem,
      inode: number,
    ) => { attributes: Attributes; opened: Opened },
  ): { attributes: Attributes; opened: Opened } {
    const { attributes, opened } = this.#on(parent, run);
    return { attributes: this.#kernel(null, attributes), opened };
  }

  #kernel(view: View | null, attributes: Attributes): Attributes {
    if (view !== null) return view.shown(attributes);
    const { ids } = this.head.tree;
    return ids.plain ? attributes : { ...attributes, nodeId: ids.id(attributes.inode) };
  }

  /** The number of a second inode, which must be in the same filesystem. @throws {FsError} EXDEV */
  #other(id: number, second: number): number {
    const [first, other] = [this.#place(id), this.#place(second)];
    if (first.view !== other.view) {
      throw new FsError(other.view === null ? EXDEV : EROFS);
    }
    return other.inode;
  }

  /** Whether a name may be changed. @throws {FsError} EPERM in the control directory, and of it */
  #ordinary(parent: number, name: Uint8Array): void {
    const node: ControlNode | null = controlNode(parent) ??
      this.#control?.child(parent, name) ?? null;
    if (node !== null) throw new FsError(EPERM);
  }

  #cacheFigures(): string {
    const { tree } = this.head;
    const { hits, misses } = tree.pool.cache.figures;
    return JSON.stringify({
      inodes: tree.nodes.size,
      contentBytes: tree.pool.cache.bytes,
      contentBytesMax: tree.pool.cache.limitBytes,
      contentHits: hits,
      contentMisses: misses,
      dirtyBytes: tree.dirtyBytes,
      inFlightBytes: tree.pool.inFlightBytes,
    }) + "\n";
  }
}
