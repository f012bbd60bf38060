/** Comparing a target with the model. */
import assert from "node:assert/strict";
import { S_IFCHR, S_IFREG } from "../../src/base/modes.ts";
import type { Inode, Model, Time } from "./model.ts";
import { O_RDONLY, type Stat, type Target } from "./target.ts";

/** Compares a target with a model; throws an AssertionError where they differ. */
export class Comparison {
  readonly #on: Target;
  readonly #model: Model;
  /** The path that is compared, for who reads of a difference. */
  at = "";

  constructor(on: Target, model: Model) {
    this.#on = on;
    this.#model = model;
  }

  /** An inode has one number for ever. */
  number(inode: Inode, number: number): void {
    inode.number ??= number;
    assert.equal(number, inode.number, "an inode has another number");
  }

  /** Attributes of one inode. */
  stat(stat: Stat, inode: Inode): void {
    this.number(inode, stat.inode);
    const { mode, nlink, uid, gid, rdev } = inode;
    assert.deepEqual(
      { mode: stat.mode.toString(8), nlink: stat.nlink, uid: stat.uid, gid: stat.gid },
      { mode: mode.toString(8), nlink, uid, gid },
    );
    if (inode.entries === null) assert.equal(stat.size, inode.size, "size");
    if (inode.type === S_IFCHR) assert.equal(stat.rdev, rdev, "rdev");
    this.#time("mtime", stat.mtime, inode.mtime);
    this.#time("ctime", stat.ctime, inode.ctime);
  }

  #time(what: string, time: bigint, expected: Time): void {
    if (typeof expected === "bigint") {
      // The root was made before the program.
      if (expected !== 0n) assert.equal(time, expected, what);
      return;
    }
    const [first, last] = this.#on.window(expected);
    const right = time >= first && time <= last;
    assert(right, `${what} is ${time}, not of operation ${expected} (${first} to ${last})`);
  }

  /** Every name, attribute and byte of the tree. */
  async all(fds: readonly number[]): Promise<void> {
    await this.#directory("", this.#model.root);
    for (const { path, inode } of this.#model.paths()) {
      this.at = path;
      this.stat(await this.#on.stat(path), inode);
      const names = (await this.#on.listxattr(path)).sort();
      assert.deepEqual(names, [...inode.xattrs.keys()].sort());
      for (const [name, value] of inode.xattrs) {
        assert.equal(await this.#on.getxattr(path, name), value, `xattr ${name}`);
      }
      if (inode.entries !== null) await this.#directory(path, inode);
      else if (inode.target !== "") assert.equal(await this.#on.readlink(path), inode.target);
      else if (inode.type === S_IFREG) await this.#data(path, inode);
    }
    for (const [slot, open] of this.#model.open.entries()) {
      if (open) this.stat(await this.#on.fstat(fds[slot]!), open.inode);
    }
  }

  async #directory(path: string, inode: Inode): Promise<void> {
    const fd = await this.#on.opendir(path);
    const names: string[] = [];
    let after = 0n;
    for (;;) {
      const listed = await this.#on.getdents(fd, after, 1000);
      if (listed.length === 0) break;
      names.push(...listed.map(({ name }) => name));
      after = listed.at(-1)!.next;
    }
    await this.#on.close(fd);
    assert.deepEqual(names.sort(), [...inode.entries!.keys(), ".", ".."].sort());
  }

  async #data(path: string, inode: Inode): Promise<void> {
    const fd = await this.#on.open(path, O_RDONLY, 0);
    const data = await this.#on.pread(fd, 0, inode.data.length + 1);
    await this.#on.close(fd);
    if (Buffer.compare(data, inode.data) === 0) return;
    const at = data.findIndex((byte, i) => byte !== inode.data[i]);
    assert.fail(`${data.length} bytes, expected ${inode.data.length}; they differ at ${at}`);
  }
}
