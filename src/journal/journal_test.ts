import assert from "node:assert/strict";
import { EIO } from "../base/errno.ts";
import { FsError, InvariantError } from "../base/errors.ts";
import type { Batch } from "../store/rows.ts";
import { Journal } from "./journal.ts";
import type { DirtySource, SequencedBatch } from "./port.ts";

const OPTIONS = { commitIntervalMs: 1000, softBytes: 10_000, hardBytes: 30_000 };

/** A tree reduced to its account: bytes that are dirty, and whether anything is. */
class Source implements DirtySource {
  dirtyBytes = 0;
  dirty = false;
  settles = 0;

  change(bytes: number): void {
    this.dirtyBytes += bytes;
    this.dirty = true;
  }

  collect(): Batch {
    const contents = this.dirtyBytes === 0
      ? []
      : [{ hash: new Uint8Array(32), data: new Uint8Array(this.dirtyBytes) }];
    this.dirtyBytes = 0;
    this.dirty = false;
    return {
      nextInode: 2,
      nextCookie: 3,
      inodes: [],
      deadInodes: [],
      dentries: [],
      deadDentries: [],
      blocks: [],
      deadBlocks: [],
      contents,
    };
  }

  settled(): void {
    this.settles++;
  }
}

function setUp() {
  const source = new Source();
  const sent: SequencedBatch[] = [];
  const journal = new Journal(source, (batch) => sent.push(batch), OPTIONS);
  const change = (bytes: number) => {
    source.change(bytes);
    journal.touched();
  };
  return { source, sent, journal, change };
}

Deno.test("a change is cut when it is as old as the commit interval", () => {
  const { sent, journal, change } = setUp();
  assert.equal(journal.tick(0), null);
  change(1);
  assert.equal(journal.tick(100), 1000);
  change(1);
  assert.equal(journal.tick(700), 400);
  assert.equal(sent.length, 0);
  assert.equal(journal.tick(1100), null);
  assert.deepEqual(sent.map(({ sequence }) => sequence), [1]);
});

Deno.test("a batch is cut when more than the soft bound is dirty", () => {
  const { sent, journal, change } = setUp();
  change(9_000);
  assert.equal(journal.tick(0), 1000);
  change(1_000);
  assert.equal(journal.tick(0), null);
  assert.equal(sent.length, 1);
});

Deno.test("one batch is in flight at most; what waits for the next has it cut at the commit", () => {
  const { sent, journal, source, change } = setUp();
  change(1);
  assert.equal(journal.barrier(), 1);
  change(1);
  assert.equal(journal.barrier(), 2);
  assert.equal(journal.barrier(), 2);
  assert.equal(journal.tick(9999), null);
  assert.equal(sent.length, 1);
  journal.committed(1);
  assert.equal(source.settles, 1);
  assert.deepEqual(sent.map(({ sequence }) => sequence), [1, 2]);
  assert.equal(journal.reached(1), true);
  assert.equal(journal.reached(2), false);
  journal.committed(2);
  assert.equal(journal.reached(2), true);
});

Deno.test("a barrier with nothing dirty is the batch in flight, or one reached long ago", () => {
  const { sent, journal, change } = setUp();
  assert.equal(journal.barrier(), 0);
  assert.equal(journal.reached(0), true);
  change(1);
  assert.equal(journal.barrier(), 1);
  assert.equal(journal.barrier(), 1);
  assert.equal(journal.reached(1), false);
  journal.committed(1);
  assert.equal(journal.reached(journal.barrier()), true);
  assert.equal(sent.length, 1);
});

Deno.test("after a commit without waiters the next batch waits for its own interval", () => {
  const { sent, journal, change } = setUp();
  change(1);
  journal.barrier();
  change(1);
  assert.equal(journal.tick(0), null);
  journal.committed(1);
  assert.equal(journal.tick(300), 1000);
  assert.equal(journal.tick(1299), 1);
  assert.equal(sent.length, 1);
  journal.tick(1300);
  assert.equal(sent.length, 2);
});

Deno.test("dirty and in-flight bytes beyond the hard bound hold operations back until a commit", () => {
  const { sent, journal, change } = setUp();
  assert.equal(journal.admit(1_000_000), true, "one operation of any size goes when all is clean");
  change(20_000);
  assert.equal(journal.admit(5_000), true);
  assert.equal(journal.admit(15_000), false);
  assert.equal(sent.length, 1, "waiting has the batch cut");
  assert.equal(journal.admit(15_000), false, "in flight counts");
  assert.equal(journal.admit(5_000), true);
  let progress = 0;
  const stop = journal.onProgress(() => progress++);
  journal.committed(1);
  assert.equal(progress, 1);
  assert.equal(journal.pendingBytes, 0);
  assert.equal(journal.admit(15_000), true);
  stop();
  change(1);
  journal.committed(journal.barrier());
  assert.equal(progress, 1);
});

Deno.test("changes of rows alone are bounded, too", () => {
  const { journal, change } = setUp();
  let changes = 0;
  while (journal.admit(0) && changes < 1000) {
    change(0);
    changes++;
  }
  assert(changes > 0 && changes < 1000);
  journal.committed(1);
  assert.equal(journal.admit(0), true);
});

Deno.test("after a failure nothing is admitted, no barrier is reached, nothing is cut", () => {
  const { sent, journal, change } = setUp();
  const eio = (error: unknown) => error instanceof FsError && error.errno === EIO;
  change(1);
  journal.committed(journal.barrier());
  change(1);
  const sequence = journal.barrier();
  change(1);
  let progress = 0;
  journal.onProgress(() => progress++);
  journal.failed(new Error("fenced"));
  assert.equal(progress, 1);
  assert.throws(() => journal.admit(0), eio);
  assert.throws(() => journal.reached(sequence), eio);
  assert.throws(() => journal.reached(journal.barrier()), eio);
  assert.equal(journal.reached(1), true, "what was committed stays committed");
  assert.equal(journal.tick(99_999), null);
  assert.equal(sent.length, 2);
  journal.failed(new Error("later"));
  assert.equal(journal.failure?.message, "fenced");
});

Deno.test("a commit out of order stops the mount", () => {
  const { journal, change } = setUp();
  change(1);
  journal.barrier();
  assert.throws(() => journal.committed(2), InvariantError);
});
