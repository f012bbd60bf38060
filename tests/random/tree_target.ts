/** A {@link Target} in this process: the mounted tree over a store. */
import assert from "node:assert/strict";
import { ROOT_INODE } from "../../src/store/rows.ts";
import { fromLatin1, latin1 } from "../../src/base/bytes.ts";
import { EEXIST, EINVAL, EISDIR, ENOENT, ENOTDIR, ENOTEMPTY } from "../../src/base/errno.ts";
import { FsError } from "../../src/base/errors.ts";
import { isDirectory, isSymlink, S_IFMT, S_IFREG } from "../../src/base/modes.ts";
import type { Store } from "../../src/store/store.ts";
import { Kernel, type TreeBounds, WORKSPACE } from "./kernel.ts";
import { type Listed, O_CREAT, O_EXCL, type Stat, type Target, UMASK } from "./target.ts";

/** Makes the workspace in the store and mounts it. */
export async function treeTarget(store: Store, bounds: TreeBounds): Promise<Target> {
  await store.createWorkspace(WORKSPACE, null, { uid: 0, gid: 0, time: 1n });
  const target = new TreeTarget(store, bounds);
  await target.mount();
  return target;
}

class TreeTarget extends Kernel implements Target {
  // Names.

  async mkdir(path: string, mode: number): Promise<void> {
    const { parent, bytes } = await this.absent(path);
    const bits = mode & 0o1777;
    this.entry(await this.run((c) => this.fileSystem.mkdir(c, parent, bytes, bits, UMASK)));
  }

  async mknod(path: string, mode: number, rdev: number): Promise<void> {
    const { parent, bytes } = await this.absent(path);
    this.entry(
      await this.run((c) => this.fileSystem.mknod(c, parent, bytes, mode, rdev, UMASK)),
    );
  }

  async symlink(to: string, path: string): Promise<void> {
    const { parent, bytes } = await this.absent(path);
    this.entry(
      await this.run((c) => this.fileSystem.symlink(c, parent, bytes, fromLatin1(to))),
    );
  }

  async rmdir(path: string): Promise<void> {
    const { parent, name } = await this.parent(path);
    const { mode } = await this.lookup(parent, name);
    if (!isDirectory(mode)) throw new FsError(ENOTDIR);
    await this.run((c) => this.fileSystem.rmdir(c, parent, fromLatin1(name)));
  }

  async unlink(path: string): Promise<void> {
    const { parent, name } = await this.parent(path);
    const { mode } = await this.lookup(parent, name);
    if (isDirectory(mode)) throw new FsError(EISDIR);
    await this.run((c) => this.fileSystem.unlink(c, parent, fromLatin1(name)));
  }

  async link(from: string, to: string): Promise<void> {
    const { inode } = await this.at(from);
    const { parent, bytes } = await this.absent(to);
    this.entry(await this.run((c) => this.fileSystem.link(c, inode, parent, bytes)));
  }

  async linkOpen(fd: number, path: string): Promise<void> {
    const file = this.file(fd);
    const { parent, bytes } = await this.absent(path);
    const { nlink } = await this.fstat(fd);
    if (nlink === 0 && !file.linkable) throw new FsError(ENOENT);
    this.entry(await this.run((c) => this.fileSystem.link(c, file.inode, parent, bytes)));
    file.linkable = false;
  }

  async rename(from: string, to: string, flags: number): Promise<void> {
    if ((flags & 2) !== 0 && flags !== 2) throw new FsError(EINVAL);
    const source = await this.parent(from);
    const target = await this.parent(to);
    const { inode } = await this.lookup(source.parent, source.name);
    const replaced = await this.existing(target.parent, target.name);
    if (replaced !== null && flags === 1) throw new FsError(EEXIST);
    if (replaced === null && flags === 2) throw new FsError(ENOENT);
    if (target.inodes.includes(inode)) throw new FsError(EINVAL);
    if (replaced !== null && source.inodes.includes(replaced.inode)) {
      throw new FsError(flags === 2 ? EINVAL : ENOTEMPTY);
    }
    await this.run((c) =>
      this.fileSystem.rename(
        c,
        source.parent,
        fromLatin1(source.name),
        target.parent,
        fromLatin1(target.name),
        flags,
      )
    );
  }

  // Descriptors.

  async open(path: string, flags: number, mode: number): Promise<number> {
    const { parent, name, inodes } = path === ""
      ? { parent: 0, name: "", inodes: [] }
      : await this.parent(path);
    const there = path === "" ? await this.at("") : await this.existing(parent, name);
    if (there === null) {
      if ((flags & O_CREAT) === 0) throw new FsError(ENOENT);
      const { attributes, opened } = await this.run((c) =>
        this.fileSystem.create(c, parent, fromLatin1(name), flags, S_IFREG | mode, UMASK)
      );
      const { inode } = this.entry(attributes);
      return this.opened({ inode, handle: opened.handle, flags, directory: false, path: inodes });
    }
    if ((flags & O_CREAT) !== 0 && (flags & O_EXCL) !== 0) throw new FsError(EEXIST);
    if (isSymlink(there.mode)) throw new FsError(ENOENT);
    if (isDirectory(there.mode)) throw new FsError(EISDIR);
    assert.equal(there.mode & S_IFMT, S_IFREG);
    const { handle } = await this.run((c) => this.fileSystem.open(c, there.inode, flags));
    return this.opened({ inode: there.inode, handle, flags, directory: false, path: inodes });
  }

  async tmpfile(path: string, mode: number): Promise<number> {
    const directory = await this.at(path, true);
    if (!isDirectory(directory.mode)) throw new FsError(ENOTDIR);
    const { attributes, opened } = await this.run((c) =>
      this.fileSystem.tmpfile(c, directory.inode, 2, S_IFREG | mode, UMASK)
    );
    const { inode } = this.entry(attributes);
    const { handle } = opened;
    return this.opened({ inode, handle, flags: 2, directory: false, path: directory.path }, true);
  }

  async opendir(path: string): Promise<number> {
    const { inode, mode, path: inodes } = await this.at(path, true);
    if (!isDirectory(mode)) throw new FsError(ENOTDIR);
    const { handle } = await this.run((c) => this.fileSystem.opendir(c, inode, 0));
    return this.opened({ inode, handle, flags: 0, directory: true, path: inodes });
  }

  async close(fd: number): Promise<void> {
    const { inode, handle, directory } = this.file(fd);
    this.files.delete(fd);
    await this.run((c) => {
      if (directory) return this.fileSystem.releasedir(c, inode, handle);
      this.fileSystem.flush(c, inode, handle, 1n);
      this.fileSystem.release(c, inode, handle, null);
    });
  }

  async pread(fd: number, offset: number, size: number): Promise<Uint8Array> {
    const { inode, handle } = this.file(fd);
    const parts = await this.run((c) => this.fileSystem.read(c, inode, handle, offset, size));
    return new Uint8Array(Buffer.concat(parts));
  }

  async pwrite(fd: number, offset: number, data: Uint8Array): Promise<number> {
    const { inode, handle } = this.file(fd);
    const buffer = data.slice();
    const written = await this.run((c) =>
      this.fileSystem.write(c, inode, handle, offset, buffer, false)
    );
    // The device reads its next request into the same memory.
    buffer.fill(0xee);
    return written;
  }

  async ftruncate(fd: number, size: number): Promise<void> {
    const { inode, handle } = this.file(fd);
    await this.run((c) => this.fileSystem.setattr(c, inode, { size, handle }));
  }

  async truncate(path: string, size: number): Promise<void> {
    const { inode, mode } = await this.at(path, true);
    if (isDirectory(mode)) throw new FsError(EISDIR);
    await this.run((c) => this.fileSystem.setattr(c, inode, { size }));
  }

  async fallocate(fd: number, mode: number, offset: number, length: number): Promise<void> {
    const { inode, handle } = this.file(fd);
    await this.run((c) => this.fileSystem.fallocate(c, inode, handle, mode, offset, length));
  }

  async seek(fd: number, offset: number, whence: number): Promise<number> {
    const { inode, handle } = this.file(fd);
    return await this.run((c) => this.fileSystem.lseek(c, inode, handle, offset, whence));
  }

  async copy(
    fd: number,
    offset: number,
    to: number,
    toOffset: number,
    length: number,
  ): Promise<number> {
    const [from, into] = [this.file(fd), this.file(to)];
    return await this.run((c) =>
      this.fileSystem.copyFileRange(
        c,
        from.inode,
        from.handle,
        offset,
        into.inode,
        into.handle,
        toOffset,
        length,
      )
    );
  }

  async fsync(fd: number): Promise<void> {
    await this.run((c) => this.fileSystem.fsync(c, ROOT_INODE));
    assert(this.files.has(fd));
  }

  async getdents(fd: number, after: bigint, some: number): Promise<Listed[]> {
    const { inode, handle } = this.file(fd);
    const plus = some % 2 === 0;
    return await this.run((context) => {
      const out: Listed[] = [];
      this.fileSystem.readdir(context, inode, handle, Number(after), plus, (entry) => {
        if (out.length === some) return false;
        out.push({ name: latin1(entry.name), inode: entry.inode, next: BigInt(entry.next) });
        if (entry.attributes !== null) this.entry(entry.attributes);
        return true;
      });
      return out;
    });
  }

  // Attributes.

  async chmod(path: string, mode: number): Promise<void> {
    const { inode } = await this.at(path, true);
    await this.run((c) => this.fileSystem.setattr(c, inode, { mode }));
  }

  async chown(path: string, uid: number, gid: number): Promise<void> {
    const { inode, mode } = await this.at(path);
    const change = { uid, gid, killPrivileges: !isDirectory(mode) };
    await this.run((c) => this.fileSystem.setattr(c, inode, change));
  }

  async utimens(path: string, atime: bigint, mtime: bigint): Promise<void> {
    const { inode } = await this.at(path);
    await this.run((c) => this.fileSystem.setattr(c, inode, { atime, mtime }));
  }

  async stat(path: string): Promise<Stat> {
    const { inode } = await this.at(path);
    return await this.run((c) => this.fileSystem.getattr(c, inode));
  }

  async fstat(fd: number): Promise<Stat> {
    const { inode } = this.file(fd);
    return await this.run((c) => this.fileSystem.getattr(c, inode));
  }

  async readlink(path: string): Promise<string> {
    const { inode } = await this.at(path);
    return latin1(await this.run((c) => this.fileSystem.readlink(c, inode)));
  }

  async setxattr(path: string, name: string, value: string, flags: number): Promise<void> {
    const { inode } = await this.at(path);
    await this.run((c) =>
      this.fileSystem.setxattr(c, inode, fromLatin1(name), fromLatin1(value), flags, false)
    );
  }

  async getxattr(path: string, name: string): Promise<string> {
    const { inode } = await this.at(path);
    return latin1(await this.run((c) => this.fileSystem.getxattr(c, inode, fromLatin1(name))));
  }

  async listxattr(path: string): Promise<string[]> {
    const { inode } = await this.at(path);
    return (await this.run((c) => this.fileSystem.listxattr(c, inode))).map(latin1);
  }

  async removexattr(path: string, name: string): Promise<void> {
    const { inode } = await this.at(path);
    await this.run((c) => this.fileSystem.removexattr(c, inode, fromLatin1(name)));
  }
}
