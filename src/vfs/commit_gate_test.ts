import assert from "node:assert/strict";
import { EIO } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import { Journal } from "../journal/journal.ts";
import type { DirtySource } from "../journal/port.ts";
import type { Batch } from "../store/rows.ts";
import { CommitGate } from "./commit_gate.ts";
import type { Context } from "./operations.ts";
import { Suspension } from "./suspension.ts";

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

function setUp() {
  const source = { dirtyBytes: 0, dirty: false, collect, settled: () => {} };
  function collect(): Batch {
    source.dirty = false;
    source.dirtyBytes = 0;
    return BATCH;
  }
  const journal = new Journal(source satisfies DirtySource, () => {}, { hardBytes: 100 });
  const context: Context = { uid: 0, gid: 0, pid: 1, groups: () => [], capable: () => true };
  return { source, journal, gate: new CommitGate(journal), context };
}

function suspends(kind: string, operation: () => void): void {
  assert.throws(operation, (error) => error instanceof Suspension && error.wait.kind === kind);
}

Deno.test("an fsync suspends once and returns after the commit, whatever is written meanwhile", () => {
  const { source, journal, gate, context } = setUp();
  source.dirty = true;
  gate.touched();
  suspends("commit", () => gate.sync(context));
  source.dirty = true;
  gate.touched();
  suspends("commit", () => gate.sync(context));
  journal.committed(1);
  gate.sync(context);
});

Deno.test("an fsync gets EIO when commits fail while it waits, and after", () => {
  const { source, journal, gate, context } = setUp();
  source.dirty = true;
  suspends("commit", () => gate.sync(context));
  journal.failed(new Error("fenced"));
  for (const asked of [context, { ...context, sequence: undefined }]) {
    assert.throws(
      () => gate.sync(asked),
      (error) => error instanceof FsError && error.errno === EIO,
    );
  }
});

Deno.test("an operation is held back before it changes anything", () => {
  const { source, gate } = setUp();
  gate.admit(1000);
  source.dirty = true;
  source.dirtyBytes = 90;
  suspends("pressure", () => gate.admit(20));
});
