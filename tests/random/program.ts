/** Random programs: one seed is one program; each operation runs on a target and on the model. */
import assert from "node:assert/strict";
import { latin1 } from "../../src/base/bytes.ts";
import { ENXIO, errnoName } from "../../src/base/errno.ts";
import { FsError } from "../../src/base/errors.ts";
import { S_IFCHR, S_IFIFO, S_IFREG, S_IFSOCK } from "../../src/base/modes.ts";
import { Choices, LENGTHS, OFFSETS } from "./choices.ts";
import { Comparison } from "./comparison.ts";
import { type Inode, Model } from "./model.ts";
import * as target from "./target.ts";
import type { Stat, Target } from "./target.ts";

const SLOTS = 6;
/** Permission bits that programs give. */
const MODES = [0o644, 0o600, 0o755, 0o2775, 0o4755, 0o1777, 0];
const XATTRS = ["user.a", "user.b", "trusted.c", "security.d"];

const TRACE = 25;

/** How a program runs. */
export interface ProgramOptions {
  readonly operations: number;
  /** Operations between two comparisons of everything. */
  readonly compareEvery: number;
  /** In how many operations one is followed by a remount, a checkpoint, or a switch. */
  readonly remountEvery: number;
}

/**
 * Runs the program of a seed.
 * @throws {Error} naming seed and operation where target and model differ
 */
export async function runProgram(
  on: Target,
  seed: number,
  options: ProgramOptions,
): Promise<void> {
  const program = new Program(on, seed, options);
  try {
    await program.run();
  } catch (error) {
    const what = error instanceof Error ? error.stack ?? error.message : String(error);
    const tail = program.trace.slice(-TRACE).join("\n  ");
    const at = program.comparing;
    throw new Error(`seed ${seed}, operation ${program.model.now}:\n  ${tail}${at}\n${what}`);
  }
}

type Outcome = { readonly errno: number } | { readonly value: unknown };

class Program {
  readonly model = new Model(SLOTS);
  readonly trace: string[] = [];
  readonly #on: Target;
  readonly #options: ProgramOptions;
  readonly #choose: Choices;
  readonly #compare: Comparison;
  /** Descriptors of the slots. */
  readonly #fds: number[] = new Array(SLOTS).fill(-1);
  readonly #layers = new Map<string, Inode>();
  #nested = false;
  #comparing = false;

  constructor(on: Target, seed: number, options: ProgramOptions) {
    this.#on = on;
    this.#options = options;
    this.#choose = new Choices(seed, this.model);
    this.#compare = new Comparison(on, this.model);
  }

  /** What was being compared. */
  get comparing(): string {
    return this.#comparing ? ` at ${this.#compare.at}` : "";
  }

  async run(): Promise<void> {
    const { operations, compareEvery, remountEvery } = this.#options;
    this.#on.interlude = async () => {
      if (this.#nested || this.#choose.random() < 0.6) return;
      this.#nested = true;
      if (this.#comparing || this.#choose.random() < 0.5) {
        await this.#on.disturb(this.#choose.random);
      } else await this.#data();
      this.#nested = false;
    };
    this.#begin();
    for (let i = 1; i <= operations; i++) {
      this.#begin();
      await this.#step();
      if (this.#choose.random() < 0.1) await this.#on.disturb(this.#choose.random);
      if (i % compareEvery === 0) await this.#compareAll();
      if (this.#choose.random() < 1 / remountEvery) await this.#shift();
    }
    await this.#closeAll();
    await this.#on.remount();
    await this.#compareAll();
    assert.deepEqual(await this.#on.check(), []);
  }

  #begin(): void {
    this.model.now++;
    this.#on.begin(this.model.now);
  }

  /** Remounts; or makes a layer, or goes back to one. */
  async #shift(): Promise<void> {
    const { layers } = this.#on;
    const kind = this.#choose.random();
    if (layers !== null && kind < 0.3) {
      const name = `layer-${this.model.now}`;
      this.#note(`checkpoint ${name}`);
      await layers.checkpoint(name);
      this.#layers.set(name, this.model.snapshot());
      return;
    }
    await this.#closeAll();
    if (layers !== null && kind < 0.5 && this.#layers.size > 0) {
      const name = this.#choose.pick([...this.#layers.keys()]);
      this.#note(`switch ${name}`);
      await layers.switchTo(name);
      this.model.root = this.#layers.get(name)!;
      this.#layers.set(name, this.model.snapshot());
    } else {
      this.#note("remount");
      await this.#on.remount();
    }
    await this.#compareAll();
  }

  async #closeAll(): Promise<void> {
    for (let slot = 0; slot < SLOTS; slot++) if (this.model.open[slot]) await this.#close(slot);
  }

  async #step(): Promise<void> {
    const kind = this.#choose.random();
    if (kind < 0.42) return await this.#data();
    if (kind < 0.70) return await this.#names();
    if (kind < 0.82) return await this.#slots();
    return await this.#attributes();
  }

  async #names(): Promise<void> {
    const m = this.model;
    const on = this.#on;
    const path = this.#choose.path();
    const other = this.#choose.path();
    const mode = this.#choose.pick(MODES);
    switch (this.#choose.below(10)) {
      case 0:
      case 1:
        return await this.#same(
          `mkdir ${path}`,
          () => on.mkdir(path, mode),
          () => m.mkdir(path, mode),
        );
      case 2:
        return await this.#same(`rmdir ${path}`, () => on.rmdir(path), () => m.rmdir(path));
      case 3:
      case 4:
        return await this.#same(`unlink ${path}`, () => on.unlink(path), () => m.unlink(path));
      case 5: {
        const type = this.#choose.pick([S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR]);
        const rdev = type === S_IFCHR ? 0x103 : 0;
        return await this.#same(
          `mknod ${path} ${(type | mode).toString(8)}`,
          () => on.mknod(path, type | mode, rdev),
          () => m.mknod(path, type | mode, rdev),
        );
      }
      case 6: {
        const to = `nowhere/${"x".repeat(1 + this.#choose.below(60))}`;
        return await this.#same(
          `symlink ${path}`,
          () => on.symlink(to, path),
          () => m.symlink(to, path),
        );
      }
      case 7:
        return await this.#same(
          `link ${other} ${path}`,
          () => on.link(other, path),
          () => m.link(other, path),
        );
      default: {
        const flags = this.#choose.pick([0, 0, 0, 1, 2, 2, 4, 3]);
        // ext4 marks the source directory also when it refuses to replace one that is not empty.
        if (flags === 4 && this.#choose.filled(path)) return;
        return await this.#same(
          `rename ${other} ${path} ${flags}`,
          () => on.rename(other, path, flags),
          () => m.rename(other, path, flags),
        );
      }
    }
  }

  async #slots(): Promise<void> {
    const m = this.model;
    const on = this.#on;
    const slot = this.#choose.below(SLOTS);
    if (m.open[slot] && this.#choose.random() < 0.6) {
      if (m.open[slot]!.stream !== null && this.#choose.random() < 0.8) {
        return await this.#list(slot);
      }
      if (m.open[slot]!.stream === null && this.#choose.random() < 0.3) {
        const path = this.#choose.path();
        const fd = this.#fds[slot]!;
        return await this.#same(
          `link ${slot} ${path}`,
          () => on.linkOpen(fd, path),
          () => m.linkOpen(slot, path),
        );
      }
    }
    if (m.open[slot]) await this.#close(slot);
    const path = this.#choose.path();
    const kind = this.#choose.random();
    const opening = (what: string, call: () => Promise<number>, expected: () => void) =>
      this.#same(
        `${what} ${slot} ${path}`,
        async () => {
          this.#fds[slot] = await call();
        },
        expected,
      );
    if (kind < 0.2) {
      return await opening("opendir", () => on.opendir(path), () => m.opendir(slot, path));
    }
    const mode = this.#choose.pick(MODES) & 0o777;
    if (kind < 0.3) {
      return await opening(
        "tmpfile",
        () => on.tmpfile(path, mode),
        () => m.tmpfile(slot, path, mode),
      );
    }
    // Opening a FIFO waits, a device is none of ours.
    if (this.#choose.special(path)) return;
    let flags = target.O_RDWR;
    if (this.#choose.random() < 0.8) flags |= target.O_CREAT;
    if (this.#choose.random() < 0.2) flags |= target.O_EXCL;
    if (this.#choose.random() < 0.2) flags |= target.O_TRUNC;
    if (this.#choose.random() < 0.2) flags |= target.O_APPEND;
    if ((flags & target.O_CREAT) === 0) flags &= ~target.O_EXCL;
    await opening(
      `open ${flags.toString(8)}`,
      () => on.open(path, flags, mode),
      () => m.openFile(slot, path, flags, mode),
    );
  }

  async #close(slot: number): Promise<void> {
    this.#note(`close ${slot}`);
    await this.#on.close(this.#fds[slot]!);
    this.model.close(slot);
  }

  /** Goes on with a listing, from where it was or from an earlier position. */
  async #list(slot: number): Promise<void> {
    const stream = this.model.open[slot]!.stream!;
    if (stream.seen.length > 0 && this.#choose.random() < 0.1) {
      stream.seen = stream.seen.slice(0, this.#choose.below(stream.seen.length));
    }
    const after = stream.seen.at(-1)?.next ?? 0n;
    this.#note(`getdents ${slot} ${after}`);
    const { directory } = stream;
    // Whether a removed directory still can be listed differs between systems.
    if (directory.nlink === 0) return;
    const listed = await this.#on.getdents(this.#fds[slot]!, after, 1 + this.#choose.below(8));
    for (const { name, inode, next } of listed) {
      const known = stream.stable.has(name) || stream.touched.has(name);
      assert(known, `a listing shows ${JSON.stringify(name)}, which was never there`);
      if (stream.stable.has(name)) {
        const twice = stream.seen.some((seen) => seen.name === name);
        assert(!twice, `a listing shows ${JSON.stringify(name)} twice`);
      }
      const child = directory.entries!.get(name);
      if (stream.stable.has(name) && child !== undefined) this.#compare.number(child, inode);
      stream.seen.push({ name, next });
    }
    if (listed.length > 0) return;
    for (const name of stream.stable) {
      const seen = stream.seen.some((entry) => entry.name === name);
      assert(seen, `a listing does not show ${JSON.stringify(name)}`);
    }
  }

  async #data(): Promise<void> {
    const m = this.model;
    const on = this.#on;
    const files = m.open.flatMap((open, slot) => open && open.stream === null ? [slot] : []);
    if (files.length === 0) return;
    const slot = this.#choose.pick(files);
    const fd = this.#fds[slot]!;
    const offset = this.#choose.pick(OFFSETS) +
      (this.#choose.random() < 0.3 ? this.#choose.below(5000) : 0);
    const length = this.#choose.pick(LENGTHS);
    switch (this.#choose.below(10)) {
      case 0:
      case 1:
      case 2: {
        const data = this.#choose.bytes(length);
        return await this.#same(
          `pwrite ${slot} ${offset} ${length}`,
          () => on.pwrite(fd, offset, data),
          () => m.pwrite(slot, offset, data),
        );
      }
      case 3:
      case 4:
        return await this.#same(
          `pread ${slot} ${offset} ${length}`,
          async () => latin1(await on.pread(fd, offset, length)),
          () => latin1(m.pread(slot, offset, length)),
        );
      case 5:
        return await this.#same(
          `ftruncate ${slot} ${offset}`,
          () => on.ftruncate(fd, offset),
          () => m.ftruncate(slot, offset),
        );
      case 6: {
        const mode = this.#choose.pick([0, 1, 3, 3, 16, 17]);
        const size = this.#choose.random() < 0.05 ? 0 : length;
        return await this.#same(
          `fallocate ${slot} ${mode} ${offset} ${size}`,
          () => on.fallocate(fd, mode, offset, size),
          () => m.fallocate(slot, mode, offset, size),
        );
      }
      case 7:
        return await this.#seek(slot, offset);
      case 8:
        return await this.#copy(
          slot,
          this.#choose.pick(files),
          offset,
          this.#choose.pick(OFFSETS),
          length,
        );
      case 9:
        return await this.#same(`fsync ${slot}`, () => on.fsync(fd), () => {});
    }
  }

  async #seek(slot: number, offset: number): Promise<void> {
    const whence = this.#choose.pick([target.SEEK_DATA, target.SEEK_HOLE]);
    this.#note(`seek ${slot} ${offset} ${whence}`);
    const { data } = this.model.open[slot]!.inode;
    const outcome = await this.#outcome(() => this.#on.seek(this.#fds[slot]!, offset, whence));
    const zeros = (end: number) => data.subarray(offset, end).every((byte) => byte === 0);
    if ("errno" in outcome) {
      assert.equal(outcome.errno, ENXIO);
      assert(offset >= data.length || (whence === target.SEEK_DATA && zeros(data.length)));
      return;
    }
    const found = outcome.value as number;
    assert(offset < data.length && found >= offset && found <= data.length);
    if (whence === target.SEEK_DATA) assert(found < data.length && zeros(found), "data in a hole");
    else assert(found === data.length || data[found] === 0, "data in a hole");
  }

  async #copy(slot: number, to: number, offset: number, toOffset: number, length: number) {
    this.#note(`copy ${slot} ${offset} ${to} ${toOffset} ${length}`);
    const [source, sink] = [this.model.open[slot]!, this.model.open[to]!];
    // man 2 copy_file_range: EBADF for a target that is open for appending.
    if ((sink.flags & target.O_APPEND) !== 0) return;
    const total = Math.max(0, Math.min(length, source.inode.data.length - offset));
    if (source.inode === sink.inode && Math.abs(offset - toOffset) < length) return;
    const moved = await this.#on.copy(this.#fds[slot]!, offset, this.#fds[to]!, toOffset, length);
    // While it waited the source may have been changed.
    const now = Math.max(0, Math.min(length, source.inode.data.length - offset));
    assert(moved <= Math.max(total, now) && (moved > 0 || now === 0), `${moved} bytes copied`);
    this.model.copy(slot, offset, to, toOffset, moved);
  }

  async #attributes(): Promise<void> {
    const m = this.model;
    const on = this.#on;
    const path = this.#choose.path(0.9);
    const mode = this.#choose.pick(MODES);
    const name = this.#choose.pick(XATTRS);
    switch (this.#choose.below(9)) {
      case 0:
        return await this.#same(
          `chmod ${path} ${mode.toString(8)}`,
          () => on.chmod(path, mode),
          () => m.chmod(path, mode),
        );
      case 1: {
        const [uid, gid] = [this.#choose.pick([0, 1000]), this.#choose.pick([0, 2000])];
        return await this.#same(
          `chown ${path} ${uid} ${gid}`,
          () => on.chown(path, uid, gid),
          () => m.chown(path, uid, gid),
        );
      }
      case 2: {
        const time = BigInt(this.#choose.below(2 ** 31)) * 1_000_000_000n +
          BigInt(this.#choose.below(10 ** 9));
        return await this.#same(
          `utimens ${path} ${time}`,
          () => on.utimens(path, time, time),
          () => m.utimens(path, time),
        );
      }
      case 3: {
        const value = latin1(this.#choose.bytes(this.#choose.pick([0, 1, 20, 300])));
        const flags = this.#choose.pick([0, 0, 1, 2]);
        // ext4 marks no ctime for a value that is there already.
        if (flags !== 1 && this.#choose.valued(path, name, value)) return;
        return await this.#same(
          `setxattr ${path} ${name} ${value.length} ${flags}`,
          () => on.setxattr(path, name, value, flags),
          () => m.setxattr(path, name, value, flags),
        );
      }
      case 4:
        return await this.#same(
          `getxattr ${path} ${name}`,
          () => on.getxattr(path, name),
          () => m.getxattr(path, name),
        );
      case 5:
        return await this.#same(
          `removexattr ${path} ${name}`,
          () => on.removexattr(path, name),
          () => m.removexattr(path, name),
        );
      case 6: {
        const size = this.#choose.pick(OFFSETS);
        // Whether truncate(2) to the size that a file has sets its times differs between systems.
        if (this.#choose.special(path) || this.#choose.sized(path, size)) return;
        return await this.#same(
          `truncate ${path} ${size}`,
          () => on.truncate(path, size),
          () => m.truncate(path, size),
        );
      }
      case 7:
        return await this.#same(
          `readlink ${path}`,
          () => on.readlink(path),
          () => m.readlink(path),
        );
      default:
        return await this.#stat(path);
    }
  }

  async #stat(path: string): Promise<void> {
    this.#note(`stat ${path}`);
    const outcome = await this.#outcome(() => this.#on.stat(path));
    const expected = await this.#outcome(async () => this.model.at(path));
    if ("errno" in expected || "errno" in outcome) return this.#equal(outcome, expected);
    this.#compare.stat(outcome.value as Stat, expected.value as Inode);
  }

  async #compareAll(): Promise<void> {
    this.#note("compare");
    this.#comparing = true;
    await this.#compare.all(this.#fds);
    this.#comparing = false;
  }

  /** Runs a call and then the model; both must come to the same. */
  async #same(
    what: string,
    call: () => Promise<unknown>,
    expected: () => unknown,
  ): Promise<void> {
    this.#note(what);
    const outcome = await this.#outcome(call);
    this.#equal(outcome, await this.#outcome(async () => expected()));
  }

  async #outcome(call: () => Promise<unknown>): Promise<Outcome> {
    try {
      return { value: await call() };
    } catch (error) {
      if (error instanceof FsError) return { errno: error.errno };
      throw error;
    }
  }

  #equal(outcome: Outcome, expected: Outcome): void {
    const show = (one: Outcome) =>
      "errno" in one ? errnoName(one.errno) : `success (${String(one.value).slice(0, 40)})`;
    const equal = "errno" in outcome && "errno" in expected
      ? outcome.errno === expected.errno
      : "value" in outcome && "value" in expected && outcome.value === expected.value;
    assert(equal, `got ${show(outcome)}, expected ${show(expected)}`);
  }

  #note(what: string): void {
    const short = what.replaceAll(/n{10,}/g, "N");
    this.trace.push(`${this.model.now}${this.#nested ? " meanwhile" : ""} ${short}`);
    if (this.trace.length > 4 * TRACE) this.trace.splice(0, 2 * TRACE);
  }
}
