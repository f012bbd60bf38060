import assert from "node:assert/strict";
import { TarboxError } from "../base/errors.ts";
import { FencedError, UnavailableError } from "../store/errors.ts";
import type { Batch, Point } from "../store/rows.ts";
import { Committer, type CommitterOptions } from "./committer.ts";

const HEAD: Point = { lineage: 1, ordinal: 1 };

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

/** How one try of a commit ends. */
type Outcome = "done" | "lost before" | "lost after" | "fenced" | "refused" | "silent";

/** A store by its contract of `commit`: atomic, idempotent by sequence; the line to it may break. */
class Ledger {
  readonly applied: number[] = [];
  tries = 0;

  constructor(readonly outcomes: (attempt: number) => Outcome) {}

  async commit(
    _workspace: number,
    _epoch: number,
    _head: Point,
    sequence: number,
    _batch: Batch,
  ): Promise<void> {
    const outcome = this.outcomes(this.tries++);
    if (outcome === "fenced") throw new FencedError("main");
    if (outcome === "refused") throw new TarboxError("the disk is full");
    if (outcome === "lost before") throw new UnavailableError("connection refused");
    if (outcome === "silent") return await new Promise<void>(() => {});
    if (!this.applied.includes(sequence)) this.applied.push(sequence);
    if (outcome === "lost after") throw new UnavailableError("connection reset");
  }
}

const BATCH: Batch = {
  nextInode: 2,
  nextCookie: 3,
  inodes: [],
  deadInodes: [],
  dentries: [],
  deadDentries: [],
  blocks: [],
  deadBlocks: [],
  contents: [],
};

function setUp(outcomes: (attempt: number) => Outcome, options: Partial<CommitterOptions> = {}) {
  const clock = new Clock();
  const ledger = new Ledger(outcomes);
  const committed: number[] = [];
  const failed: Error[] = [];
  let waits = 0;
  const committer = new Committer(ledger, 1, 1, () => HEAD, {
    now: () => clock.now,
    after: (ms, callback) => clock.after(ms, callback),
    onCommitted: (sequence) => committed.push(sequence),
    onFailed: (error) => failed.push(error),
    onWaiting: () => waits++,
    ...options,
  });
  const submit = (...sequences: number[]) => {
    for (const sequence of sequences) committer.submit({ sequence, batch: BATCH });
  };
  return { clock, ledger, committed, failed, committer, submit, waits: () => waits };
}

Deno.test("batches are committed in their order, and idle waits for them", async () => {
  const { clock, ledger, committed, committer, submit } = setUp(() => "done");
  await committer.idle();
  submit(1, 2, 3);
  await clock.until(committer.idle());
  assert.deepEqual(ledger.applied, [1, 2, 3]);
  assert.deepEqual(committed, [1, 2, 3]);
  assert.equal(clock.pending, 0, "no timer is left");
  submit(4);
  await clock.until(committer.idle());
  assert.deepEqual(committed, [1, 2, 3, 4]);
});

Deno.test("a line that breaks before or after applying neither loses nor doubles a batch", async () => {
  const broken: Outcome[] = ["lost before", "lost after", "done", "lost after", "lost before"];
  const { clock, ledger, committed, committer, submit, waits } = setUp((attempt) =>
    broken[attempt] ?? "done"
  );
  submit(1, 2, 3);
  await clock.until(committer.idle());
  assert.deepEqual(ledger.applied, [1, 2, 3]);
  assert.deepEqual(committed, [1, 2, 3]);
  assert.equal(waits(), 4);
});

Deno.test("a store that is away for less than the bound is waited for", async () => {
  const { clock, committed, failed, committer, submit } = setUp(
    () => clock.now < 59_000 ? "lost before" : "done",
  );
  submit(1);
  await clock.until(committer.idle());
  assert.deepEqual(committed, [1]);
  assert.deepEqual(failed, []);
});

Deno.test("a store that stays away fails the batch at the bound, once, and all after it", async () => {
  const { clock, ledger, committed, failed, committer, submit } = setUp(() => "lost before", {
    retryTimeoutMs: 5000,
  });
  submit(1, 2);
  await clock.until(committer.idle());
  assert(clock.now > 2500 && clock.now <= 5000);
  assert.equal(failed.length, 1);
  assert.match(failed[0]!.message, /away for more than 5 s \(connection refused\)/);
  const { tries } = ledger;
  submit(3);
  await assert.rejects(committer.idle(), failed[0]);
  assert.equal(ledger.tries, tries);
  assert.deepEqual(committed, []);
});

Deno.test("a store that never answers fails the batch at the bound", async () => {
  const { clock, failed, committer, submit } = setUp(() => "silent", { retryTimeoutMs: 5000 });
  submit(1);
  await clock.until(committer.idle());
  assert.equal(clock.now, 5000);
  assert.equal(failed.length, 1);
});

for (const outcome of ["fenced", "refused"] as const) {
  Deno.test(`a commit that is ${outcome} is not tried again`, async () => {
    const { clock, ledger, committed, failed, committer, submit } = setUp((attempt) =>
      attempt === 0 ? "done" : outcome
    );
    submit(1, 2, 3);
    await clock.until(committer.idle());
    assert.deepEqual(committed, [1]);
    assert.equal(ledger.tries, 2);
    assert.deepEqual(failed, [committer.error]);
    assert.equal(clock.pending, 0);
  });
}
