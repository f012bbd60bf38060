import assert from "node:assert/strict";
import { text, utf8 } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import { S_IFDIR, S_IFREG } from "../base/modes.ts";
import { FencedError, UnavailableError } from "../store/errors.ts";
import { memoryStore } from "../store/memory/store.ts";
import { type Batch, type InodeRow, ROOT_INODE } from "../store/rows.ts";
import type { Store } from "../store/store.ts";
import { Committer, type CommitterOptions } from "./committer.ts";

/** Time that passes only when a test lets the next timer fire. */
class Clock {
  now = 0;
  #timers: { readonly at: number; readonly callback: () => void }[] = [];

  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.now + ms, callback };
    this.#timers.push(timer);
    return () => this.#timers = this.#timers.filter((other) => other !== timer);
  }

  get pending(): number {
    return this.#timers.length;
  }

  /** Lets timers fire, in their order, until what is awaited has ended. */
  async until(promise: Promise<unknown>): Promise<void> {
    let ended = false;
    const done = () => ended = true;
    promise.then(done, done);
    for (let turn = 0; turn < 1000; turn++) {
      await new Promise<void>((resolve) => setTimeout(resolve, 0));
      if (ended) return;
      const next = this.#timers.toSorted((a, b) => a.at - b.at)[0];
      if (next === undefined) continue;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.now = next.at;
      next.callback();
    }
    throw new Error("what was awaited never ended");
  }
}

/** How one try of a commit ends on its way to and from the store. */
type Outcome = "done" | "lost before" | "lost after" | "refused" | "silent";

/** A real store behind a line that may break. */
class Line {
  tries = 0;

  constructor(readonly store: Store, readonly outcomes: (attempt: number) => Outcome) {}

  async commit(...[id, epoch, head, sequence, batch]: Parameters<Store["commit"]>): Promise<void> {
    const outcome = this.outcomes(this.tries++);
    if (outcome === "refused") throw new TarboxError("the disk is full");
    if (outcome === "lost before") throw new UnavailableError("connection refused");
    if (outcome === "silent") return await new Promise<void>(() => {});
    await this.store.commit(id, epoch, head, sequence, batch);
    if (outcome === "lost after") throw new UnavailableError("connection reset");
  }
}

const HOLDER = { host: "here", pid: 1, mountPoint: null };

/** Batch n makes inode n + 1, and sets the size of the root to n: what came last is seen there. */
function batch(sequence: number): Batch {
  const row = (inode: number, mode: number, size: number): InodeRow => ({
    inode,
    mode,
    uid: 0,
    gid: 0,
    nlink: 1,
    size,
    allocated: 0,
    rdev: 0,
    atime: 0n,
    mtime: 0n,
    ctime: 0n,
    btime: 0n,
    target: null,
    xattrs: null,
  });
  const inode = sequence + 1;
  return {
    nextInode: inode + 1,
    nextCookie: inode + 2,
    inodes: [row(ROOT_INODE, S_IFDIR | 0o755, sequence), row(inode, S_IFREG | 0o644, 0)],
    deadInodes: [],
    dentries: [{
      parent: ROOT_INODE,
      name: utf8(`file-${sequence}`),
      child: inode,
      cookie: inode + 1,
    }],
    deadDentries: [],
    blocks: [],
    deadBlocks: [],
    contents: [],
  };
}

async function setUp(
  outcomes: (attempt: number) => Outcome,
  options: Partial<CommitterOptions> = {},
) {
  const clock = new Clock();
  const store = memoryStore();
  const { id, head } = await store.createWorkspace("main", null, { uid: 0, gid: 0, time: 0n });
  const { epoch } = await store.attach(id, HOLDER, 15);
  const line = new Line(store, outcomes);
  const committed: number[] = [];
  const failed: Error[] = [];
  let waits = 0;
  const committer = new Committer(line, id, () => ({ epoch, head, publish: false }), {
    now: () => clock.now,
    after: (ms, callback) => clock.after(ms, callback),
    onCommitted: (sequence) => committed.push(sequence),
    onFailed: (error) => failed.push(error),
    onWaiting: () => waits++,
    ...options,
  });
  const submit = (...sequences: number[]) => {
    for (const sequence of sequences) committer.submit({ sequence, batch: batch(sequence) });
  };
  /** Fails unless the store has batches 1 to `last`, and that one came last. */
  const holds = async (last: number) => {
    const chain = await store.chain(head);
    const entries = await store.list(chain, ROOT_INODE, 0, 100);
    const names = Array.from({ length: last }, (_, i) => `file-${i + 1}`);
    assert.deepEqual(entries.map(({ dentry }) => text(dentry.name)), names);
    const [root] = await store.inodes(chain, [ROOT_INODE]);
    if (last > 0) assert.equal(root!.size, last);
  };
  return {
    clock,
    store,
    id,
    line,
    holds,
    committed,
    failed,
    committer,
    submit,
    waits: () => waits,
  };
}

Deno.test("batches are committed in their order, and idle waits for them", async () => {
  const { clock, holds, committed, committer, submit } = await setUp(() => "done");
  await committer.idle();
  submit(1, 2, 3);
  await clock.until(committer.idle());
  await holds(3);
  assert.deepEqual(committed, [1, 2, 3]);
  assert.equal(clock.pending, 0, "no timer is left");
  submit(4);
  await clock.until(committer.idle());
  assert.deepEqual(committed, [1, 2, 3, 4]);
});

Deno.test("a line that breaks before or after applying neither loses nor doubles a batch", async () => {
  const broken: Outcome[] = ["lost before", "lost after", "done", "lost after", "lost before"];
  const { clock, holds, committed, committer, submit, waits } = await setUp((attempt) =>
    broken[attempt] ?? "done"
  );
  submit(1, 2, 3);
  await clock.until(committer.idle());
  await holds(3);
  assert.deepEqual(committed, [1, 2, 3]);
  assert.equal(waits(), 4);
});

Deno.test("a store that is away for less than the bound is waited for", async () => {
  const { clock, committed, failed, committer, submit } = await setUp(
    () => clock.now < 59_000 ? "lost before" : "done",
  );
  submit(1);
  await clock.until(committer.idle());
  assert.deepEqual(committed, [1]);
  assert.deepEqual(failed, []);
});

Deno.test("a store that stays away fails the batch at the bound, once, and all after it", async () => {
  const { clock, line, holds, committed, failed, committer, submit } = await setUp(
    () => "lost before",
    {
      retryTimeoutMs: 5000,
    },
  );
  submit(1, 2);
  await clock.until(committer.idle());
  assert(clock.now > 2500 && clock.now <= 5000);
  assert.equal(failed.length, 1);
  assert.match(failed[0]!.message, /away for more than 5 s \(connection refused\)/);
  const { tries } = line;
  submit(3);
  await assert.rejects(committer.idle(), failed[0]);
  assert.equal(line.tries, tries);
  assert.deepEqual(committed, []);
  await holds(0);
});

Deno.test("a store that never answers fails the batch at the bound", async () => {
  const { clock, failed, committer, submit } = await setUp(() => "silent", {
    retryTimeoutMs: 5000,
  });
  submit(1);
  await clock.until(committer.idle());
  assert.equal(clock.now, 5000);
  assert.equal(failed.length, 1);
});

Deno.test("a commit that the store refuses is not tried again", async () => {
  const { clock, line, holds, committed, failed, committer, submit } = await setUp((attempt) =>
    attempt === 0 ? "done" : "refused"
  );
  submit(1, 2, 3);
  await clock.until(committer.idle());
  assert.deepEqual(committed, [1]);
  await holds(1);
  assert.equal(line.tries, 2);
  assert.deepEqual(failed, [committer.error]);
  assert.equal(clock.pending, 0);
});

Deno.test("a mount that lost its lease writes nothing more, and says so once", async () => {
  const { clock, store, id, line, holds, failed, committer, submit } = await setUp(() => "done");
  submit(1);
  await clock.until(committer.idle());
  await store.attach(id, { ...HOLDER, pid: 2 }, 0);
  submit(2, 3);
  await clock.until(committer.idle());
  await holds(1);
  assert.equal(line.tries, 2);
  assert.equal(failed.length, 1);
  assert(failed[0] instanceof FencedError);
});
