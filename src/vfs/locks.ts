/** Advisory locks: POSIX record locks (man 2 fcntl) and flock(2), by owner as the kernel names it. */
import { EAGAIN, EDEADLK } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import type { LockRange } from "./operations.ts";
import { Suspension } from "./suspension.ts";

interface HeldLock extends LockRange {
  readonly owner: bigint;
}

/** A lock with what it is on, as mounts tell each other. */
export interface ForeignLock extends HeldLock {
  readonly inode: number;
  readonly flock: boolean;
}

/** Locks of one kind on all inodes of a mount. */
export class LockTable {
  readonly #locks = new Map<number, HeldLock[]>();
  /** What processes of other mounts have; the owner's name means nothing here. */
  #foreign: readonly ForeignLock[] = [];
  /** INVARIANT: while no other mount is told of locks, these have some. */
  readonly #changed = new Set<number>();
  /** Other mounts are told of locks: also that an inode has none any more. */
  shared = false;
  /** Whom an owner waits for, to find circles. */
  readonly #waits = new Map<bigint, bigint>();
  readonly #detect: boolean;
  readonly #released: (inode: number) => void;

  /** @param detect refuse a wait that would close a circle (POSIX locks do, flock does not) */
  constructor(detect: boolean, released: (inode: number) => void) {
    this.#detect = detect;
    this.#released = released;
  }

  /** Replaces what other mounts have; those who wait ask again. */
  set foreign(locks: readonly ForeignLock[]) {
    const before = this.#foreign;
    this.#foreign = locks;
    for (const inode of new Set(before.map((lock) => lock.inode))) this.#released(inode);
  }

  /** The locks of an inode that processes of this mount have. */
  of(inode: number): readonly HeldLock[] {
    return this.#locks.get(inode) ?? [];
  }

  /** Inodes whose locks changed since the last call. */
  takeChanged(): number[] {
    const changed = [...this.#changed];
    this.#changed.clear();
    return changed;
  }

  /** The first lock that stands in the way, or null. */
  conflict(inode: number, owner: bigint, range: LockRange): HeldLock | null {
    const bars = (held: HeldLock) =>
      held.start <= range.end && range.start <= held.end &&
      (held.type === "write" || range.type === "write");
    return this.of(inode).find((held) => held.owner !== owner && bars(held)) ??
      this.#foreign.find((held) => held.inode === inode && bars(held)) ?? null;
  }

  /**
   * Takes, changes or gives up a lock.
   * @throws {Suspension} to wait. @throws {FsError} EAGAIN, EDEADLK
   */
  set(inode: number, owner: bigint, range: LockRange, wait: boolean): void {
    this.#waits.delete(owner);
    if (range.type !== "unlock") {
      const conflict = this.conflict(inode, owner, range);
      if (conflict !== null) {
        if (!wait) throw new FsError(EAGAIN);
        // A circle over several mounts is not found: only the owners of this one are known by name.
        if (!("inode" in conflict)) {
          if (this.#detect && this.#circular(owner, conflict.owner)) throw new FsError(EDEADLK);
          this.#waits.set(owner, conflict.owner);
        }
        const abandoned = () => void this.#waits.delete(owner);
        throw new Suspension({ kind: "lock", inode, abandoned });
      }
    }
    const locks: HeldLock[] = [];
    let merged: HeldLock = { ...range, owner };
    for (const held of this.#locks.get(inode) ?? []) {
      const apart = held.end + 1n < merged.start || merged.end + 1n < held.start;
      if (held.owner !== owner || apart) {
        locks.push(held);
      } else if (held.type === range.type) {
        const start = held.start < merged.start ? held.start : merged.start;
        const end = held.end > merged.end ? held.end : merged.end;
        merged = { ...merged, start, end };
      } else {
        if (held.start < range.start) locks.push({ ...held, end: min(held.end, range.start - 1n) });
        if (held.end > range.end) locks.push({ ...held, start: max(held.start, range.end + 1n) });
      }
    }
    if (range.type !== "unlock") locks.push(merged);
    if (locks.length > 0) this.#locks.set(inode, locks);
    else this.#locks.delete(inode);
    if (locks.length > 0 || this.shared) this.#changed.add(inode);
    else this.#changed.delete(inode);
    this.#released(inode);
  }

  /** An owner gives up all its locks of an inode. @returns whether it had any */
  releaseOwner(inode: number, owner: bigint): boolean {
    const before = this.#locks.get(inode);
    if (before === undefined || !before.some((held) => held.owner === owner)) return false;
    const type = "unlock";
    this.set(inode, owner, { start: 0n, end: 0x7fffffffffffffffn, type, pid: 0 }, false);
    return true;
  }

  #circular(owner: bigint, blocker: bigint): boolean {
    const seen = new Set<bigint>();
    for (let at: bigint | undefined = blocker; at !== undefined && !seen.has(at);) {
      if (at === owner) return true;
      seen.add(at);
      at = this.#waits.get(at);
    }
    return false;
  }
}

/**
 * Which owners set record locks through which open files. A traditional lock ends when its process
 * closes any descriptor of the file (FLUSH names the owner); a lock of an open file description
 * (F_OFD_SETLK) when that is closed, of which the kernel tells only RELEASE. What was flushed is out
 * of here by then, so the rest goes with the handle.
 */
export class Lockers {
  readonly #owners = new Map<number, { readonly inode: number; readonly owners: Set<bigint> }>();

  /** An owner set a lock through a handle. */
  note(inode: number, handle: number, owner: bigint): void {
    const there = this.#owners.get(handle);
    if (there === undefined) this.#owners.set(handle, { inode, owners: new Set([owner]) });
    else there.owners.add(owner);
  }

  /** An owner has no locks of an inode any more. */
  forget(inode: number, owner: bigint): void {
    for (const [handle, there] of this.#owners) {
      if (there.inode !== inode || !there.owners.delete(owner)) continue;
      if (there.owners.size === 0) this.#owners.delete(handle);
    }
  }

  /** A handle is closed; returns the owners whose locks end with it. */
  closed(handle: number): Iterable<bigint> {
    const there = this.#owners.get(handle);
    this.#owners.delete(handle);
    return there?.owners ?? [];
  }
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
