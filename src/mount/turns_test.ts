import assert from "node:assert/strict";
import { EIO } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import type { Context } from "../vfs/operations.ts";
import { Turns } from "./turns.ts";

/** A request thread of which only the turns are real. */
function setUp(shared: boolean) {
  const asked: { question: number; write: boolean }[] = [];
  const state = { committed: false, mayChange: false, over: 0 };
  const turns = new Turns(shared, {
    ask: (question, write) => asked.push({ question, write }),
    barrier: () => 1,
    reached: () => state.committed,
    mayChange: (may) => state.mayChange = may,
    over: () => state.over++,
  });
  return { turns, asked, state };
}

function context(): Context {
  return { uid: 0, gid: 0, pid: 1, groups: () => [] } as unknown as Context;
}

Deno.test("alone everything runs at once", () => {
  const { turns, asked, state } = setUp(false);
  assert.equal(turns.before("write", 5, context()), null);
  assert.equal(turns.tick(0), null);
  assert.deepEqual([asked, state.mayChange], [[], true]);
});

Deno.test("a look lets those read, once, that asked before it", () => {
  const { turns, asked } = setUp(true);
  const [early, late] = [context(), context()];
  let runs = 0;
  assert.deepEqual(turns.before("getattr", 5, early), { kind: "turn", write: false });
  turns.wait(early, false, () => {
    runs++;
    assert.equal(turns.before("getattr", 5, early), null);
  });
  turns.wait(late, false, () => assert.fail("it asked after the look began"));
  assert.deepEqual(asked, [{ question: 1, write: false }]);
  turns.seen(1);
  assert.equal(runs, 1);
  assert.deepEqual(turns.before("getattr", 5, early), { kind: "turn", write: false });
  assert.deepEqual(asked.at(-1), { question: 2, write: false });
});

Deno.test("a turn ends after its time, its loads and its commit, and not before", () => {
  const { turns, asked, state } = setUp(true);
  const loading = context();
  turns.wait(loading, true, () => assert.equal(turns.before("write", 5, loading), null));
  assert.deepEqual(asked, [{ question: 1, write: true }]);
  const begun = performance.now();
  turns.begin(begun);
  assert.equal(state.mayChange, true);
  turns.loading(loading, 1);
  turns.end(begun);
  assert.ok(turns.tick(begun)! > 0, "it lasts for a moment");
  const later = begun + 100;
  assert.ok(turns.tick(later)! > 0, "a load of it is on its way");
  assert.notEqual(turns.before("write", 5, context()), null, "what comes now is of the next");
  assert.equal(turns.before("write", 5, loading), null, "what began in it may end in it");
  turns.loading(loading, -1);
  assert.equal(turns.tick(later), null);
  assert.deepEqual([state.over, state.mayChange], [0, false]);
  state.committed = true;
  turns.tick(later);
  assert.equal(state.over, 1);
  assert.notEqual(turns.before("getattr", 5, context()), null);
});

Deno.test("once the lease is lost nothing is shown, and handles still close", () => {
  const { turns } = setUp(false);
  turns.fenced();
  assert.throws(
    () => turns.before("read", 5, context()),
    (error) => error instanceof FsError && error.errno === EIO,
  );
  assert.equal(turns.before("release", 5, context()), null);
});
