import assert from "node:assert/strict";
import { EAGAIN, EDEADLK } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import { Lockers, LockTable } from "./locks.ts";
import type { LockRange } from "./operations.ts";
import { Suspension } from "./suspension.ts";

const END = 0x7fffffffffffffffn;

function range(type: LockRange["type"], start: number, end: number | null = null): LockRange {
  return { type, start: BigInt(start), end: end === null ? END : BigInt(end), pid: 7 };
}

function fails(errno: number, run: () => unknown): void {
  assert.throws(run, (error) => error instanceof FsError && error.errno === errno);
}

function waits(run: () => unknown): void {
  assert.throws(run, (error) => error instanceof Suspension && error.wait.kind === "lock");
}

Deno.test("readers share, a writer is alone, and the one in the way is told", () => {
  const locks = new LockTable(true, () => {});
  locks.set(1, 10n, range("read", 0, 9), false);
  locks.set(1, 11n, range("read", 5, 14), false);
  fails(EAGAIN, () => locks.set(1, 12n, range("write", 9, 9), false));
  assert.equal(locks.conflict(1, 12n, range("write", 12))?.owner, 11n);
  assert.equal(locks.conflict(1, 12n, range("write", 15)), null);
  assert.equal(locks.conflict(2, 12n, range("write", 0)), null);
});

Deno.test("a lock is split, changed and joined as fcntl(2) has it", () => {
  const locks = new LockTable(true, () => {});
  const probe = (at: number) => locks.conflict(1, 99n, range("read", at, at))?.type ?? null;
  locks.set(1, 10n, range("write", 0, 99), false);
  locks.set(1, 10n, range("unlock", 40, 59), false);
  assert.deepEqual([39, 40, 59, 60].map(probe), ["write", null, null, "write"]);
  locks.set(1, 10n, range("read", 20, 69), false);
  assert.deepEqual([19, 20, 69, 70].map(probe), ["write", null, null, "write"]);
  fails(EAGAIN, () => locks.set(1, 11n, range("write", 50, 50), false));
  locks.set(1, 10n, range("write", 20, 69), false);
  locks.set(1, 10n, range("unlock", 0, 99), false);
  locks.set(1, 11n, range("write", 0), false);
});

Deno.test("whoever waits is told when something of the inode becomes free", () => {
  const freed: number[] = [];
  const locks = new LockTable(true, (inode) => freed.push(inode));
  locks.set(3, 10n, range("write", 0), false);
  waits(() => locks.set(3, 11n, range("write", 0), true));
  freed.length = 0;
  assert.equal(locks.releaseOwner(3, 10n), true);
  assert.deepEqual(freed, [3]);
  assert.equal(locks.releaseOwner(3, 10n), false);
  locks.set(3, 11n, range("write", 0), true);
});

Deno.test("a wait that was given up closes no circle later", () => {
  const locks = new LockTable(true, () => {});
  locks.set(1, 10n, range("write", 0, 0), false);
  locks.set(1, 11n, range("write", 1, 1), false);
  try {
    locks.set(1, 10n, range("write", 1, 1), true);
    assert.fail("the lock is held");
  } catch (thrown) {
    assert.ok(thrown instanceof Suspension && thrown.wait.kind === "lock");
    fails(EDEADLK, () => locks.set(1, 11n, range("write", 0, 0), true));
    thrown.wait.abandoned!();
  }
  waits(() => locks.set(1, 11n, range("write", 0, 0), true));
});

Deno.test("a circle of waits is refused for record locks, not for flock", () => {
  for (const detect of [true, false]) {
    const locks = new LockTable(detect, () => {});
    locks.set(1, 10n, range("write", 0, 0), false);
    locks.set(1, 11n, range("write", 1, 1), false);
    locks.set(1, 12n, range("write", 2, 2), false);
    waits(() => locks.set(1, 10n, range("write", 1, 1), true));
    waits(() => locks.set(1, 11n, range("write", 2, 2), true));
    const last = () => locks.set(1, 12n, range("write", 0, 0), true);
    if (detect) fails(EDEADLK, last);
    else waits(last);
  }
});

Deno.test("locks of an open file description end with it, others with a close of their process", () => {
  const lockers = new Lockers();
  lockers.note(1, 100, 7n);
  lockers.note(1, 100, 8n);
  lockers.note(1, 101, 7n);
  lockers.forget(1, 7n);
  assert.deepEqual([...lockers.closed(100)], [8n]);
  assert.deepEqual([...lockers.closed(100)], []);
  assert.deepEqual([...lockers.closed(101)], []);
  // A lock set after the flush of a close belongs to the handle through which it was set.
  lockers.note(1, 102, 7n);
  assert.deepEqual([...lockers.closed(101)], []);
  assert.deepEqual([...lockers.closed(102)], [7n]);
});
