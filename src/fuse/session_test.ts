import assert from "node:assert/strict";
import { EAGAIN, EINTR, EIO, ENOENT } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import type { Context } from "../vfs/operations.ts";
import { Suspension, type Wait } from "../vfs/suspension.ts";
import { parseDying, parseGroups } from "./caller.ts";
import { GOLDEN } from "./golden.ts";
import { Session, type SessionOptions } from "./session.ts";
import { TestingFileSystem } from "./testing_filesystem.ts";

const LOCK: Wait = { kind: "lock", inode: 2 };
const PRESSURE: Wait = { kind: "pressure" };

function request(name: string, unique: bigint): Uint8Array {
  const golden = GOLDEN.find((row) => row.name === name);
  assert.ok(golden !== undefined, name);
  const bytes = Uint8Array.fromHex(golden.request);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(8, unique, true);
  // The thread 0 is nobody: nothing of it can be read, so it is not dying.
  view.setUint32(32, 0, true);
  return bytes;
}

function interrupt(unique: bigint): Uint8Array {
  const bytes = request("interrupt of an unknown request", unique | 1n);
  new DataView(bytes.buffer).setBigUint64(40, unique, true);
  return bytes;
}

/** A session after INIT; replies as [unique, errno], waits as they were begun. */
function setUp(options: Partial<SessionOptions> = {}) {
  const replies: [unique: bigint, errno: number][] = [];
  const bodies: Uint8Array[] = [];
  const broken: unknown[] = [];
  const waits: { wait: Wait; context: Context; resume: () => void }[] = [];
  const fileSystem = new TestingFileSystem();
  const sink = {
    send(parts: readonly Uint8Array[]) {
      const header = new DataView(parts[0]!.slice().buffer);
      replies.push([header.getBigUint64(8, true), Math.abs(header.getInt32(4, true))]);
      bodies.push(Uint8Array.fromHex(parts.slice(1).map((part) => part.toHex()).join("")));
      return 0;
    },
  };
  const waiter = {
    start: (wait: Wait, context: Context, resume: () => void) => {
      waits.push({ wait, context, resume });
    },
  };
  const session = new Session(sink, fileSystem, waiter, {
    onBroken: (error) => broken.push(error),
    ...options,
  });
  session.handle(request("init", 2n));
  replies.length = bodies.length = 0;
  return { session, fileSystem, replies, bodies, broken, waits };
}

Deno.test("a suspended write runs again with its own bytes and the same context", () => {
  const { session, fileSystem, replies, waits } = setUp();
  fileSystem.next = new Suspension(PRESSURE);
  const write = request("write", 4n);
  session.handle(write);
  assert.deepEqual(replies, []);
  assert.equal(session.parked, 1);
  // The device reads the next request into the same memory.
  write.fill(0xee);
  session.handle(request("lookup", 6n));
  assert.deepEqual(replies, [[6n, 0]]);

  const { context } = waits[0]!;
  context.sequence = 12;
  fileSystem.calls.length = 0;
  fileSystem.next = new Suspension({ kind: "commit", sequence: 12 });
  waits[0]!.resume();
  assert.equal(waits.length, 2);
  assert.equal(waits[1]!.context, context);
  waits[1]!.resume();
  assert.deepEqual(fileSystem.calls, [["write", 2, 9, 1, "EL", true]]);
  assert.deepEqual(replies, [[6n, 0], [4n, 0]]);
  waits[0]!.resume();
  waits[1]!.resume();
  assert.equal(replies.length, 2);
  assert.equal(session.parked, 0);
});

Deno.test("a wait that failed ends the operation with its errno, without another run", () => {
  const { session, fileSystem, replies, waits } = setUp();
  fileSystem.next = new Suspension(PRESSURE);
  session.handle(request("read", 4n));
  waits[0]!.context.failure = EIO;
  waits[0]!.resume();
  assert.deepEqual(replies, [[4n, EIO]]);
  assert.deepEqual(fileSystem.calls, []);
});

Deno.test("a wait may end while it begins", () => {
  const fileSystem = new TestingFileSystem();
  const sent: unknown[] = [];
  const sink = { send: (parts: readonly Uint8Array[]) => sent.push(parts) * 0 };
  const waiter = { start: (_: Wait, __: Context, resume: () => void) => resume() };
  const session = new Session(sink, fileSystem, waiter, {
    onBroken: (error) => assert.fail(String(error)),
  });
  session.handle(request("init", 2n));
  fileSystem.next = new Suspension(PRESSURE);
  session.handle(request("read", 4n));
  assert.equal(sent.length, 2);
  assert.equal(session.parked, 0);
});

Deno.test("INTERRUPT ends a wait for a lock, and no other of a caller that lives", () => {
  const { session, fileSystem, replies, waits } = setUp();
  let abandoned = 0;
  fileSystem.next = new Suspension({ kind: "lock", inode: 2, abandoned: () => abandoned++ });
  session.handle(request("setlkw of flock", 4n));
  session.handle(interrupt(4n));
  assert.deepEqual(replies, [[4n, EINTR]]);
  assert.equal(abandoned, 1);
  waits[0]!.resume();
  assert.equal(replies.length, 1);

  fileSystem.next = new Suspension(PRESSURE);
  session.handle(request("setlkw of flock", 6n));
  session.handle(interrupt(6n));
  assert.equal(replies.length, 1);
  // Interrupted before it came to wait for the lock: the interrupt still counts.
  fileSystem.next = new Suspension(LOCK);
  waits[1]!.resume();
  assert.deepEqual(replies[1], [6n, EINTR]);
  assert.equal(session.parked, 0);
});

Deno.test("callers that were interrupted are looked at again from time to time", () => {
  const { session, fileSystem, replies, waits } = setUp();
  assert.equal(session.endDying(1000), null);
  fileSystem.next = new Suspension(PRESSURE);
  session.handle(request("read", 4n));
  assert.equal(session.endDying(1000), null);
  session.handle(interrupt(4n));
  const next = session.endDying(1000)!;
  assert.ok(next > 0);
  assert.equal(session.endDying(1001), next - 1);
  waits[0]!.resume();
  assert.equal(session.endDying(1002), null);
  // Nobody is read: whoever waits may be dying.
  fileSystem.next = new Suspension(PRESSURE);
  session.handle(request("read", 6n));
  assert.equal(session.endDying(5000), null);
  assert.equal(session.endDying(5000, true), next);
  assert.deepEqual(replies, [[4n, 0]]);
});

Deno.test("a handle is released even when its closer was interrupted", () => {
  const { session, fileSystem, replies, waits } = setUp();
  fileSystem.next = new Suspension(LOCK);
  session.handle(request("release of a flock", 8n));
  session.handle(interrupt(8n));
  assert.deepEqual(replies, []);
  waits[0]!.resume();
  assert.deepEqual(replies, [[8n, 0]]);
});

Deno.test("a pending SIGKILL is read from the text of /proc/PID/status", () => {
  const text = Deno.readTextFileSync("/proc/self/status");
  assert.equal(parseDying(text), false);
  assert.equal(parseDying(text.replace(/^SigPnd:.*$/m, "SigPnd:\t0000000000000100")), true);
  assert.equal(parseDying(text.replace(/^ShdPnd:.*$/m, "ShdPnd:\t0000000000004100")), true);
});

Deno.test("INTERRUPT of a request that was answered gets EAGAIN", () => {
  const { session, replies } = setUp();
  session.handle(request("lookup", 4n));
  session.handle(interrupt(4n));
  assert.deepEqual(replies, [[4n, 0], [5n, EAGAIN]]);
});

Deno.test("an error that is no FsError is EIO for the caller, and told to the owner", () => {
  const { session, fileSystem, replies, broken } = setUp();
  const error = new RangeError("broken");
  fileSystem.next = error;
  session.handle(request("read", 4n));
  assert.deepEqual(replies, [[4n, EIO]]);
  assert.deepEqual(broken, [error]);
});

Deno.test("an absent name is kept by the kernel only when told so, and never a control file", () => {
  const plain = setUp();
  plain.session.handle(request("lookup absent", 4n));
  assert.deepEqual(plain.replies, [[4n, ENOENT]]);

  const { session, replies, bodies } = setUp({ negativeSeconds: 86400 });
  session.handle(request("lookup absent", 4n));
  const control = request("lookup absent", 6n);
  new DataView(control.buffer).setBigUint64(16, 2n ** 52n, true);
  session.handle(control);
  assert.deepEqual(replies, [[4n, 0], [6n, ENOENT]]);
  const entry = new DataView(bodies[0]!.buffer);
  assert.equal(bodies[0]!.length, 128);
  assert.equal(entry.getBigUint64(0, true), 0n);
  assert.equal(entry.getBigUint64(16, true), 86400n);
});

Deno.test("nothing is answered before INIT but EIO", () => {
  const sent: number[] = [];
  const sink = {
    send(parts: readonly Uint8Array[]) {
      sent.push(-new DataView(parts[0]!.slice().buffer).getInt32(4, true));
      return 0;
    },
  };
  const waiter = { start: () => assert.fail("nothing waits here") };
  const fileSystem = new TestingFileSystem();
  const session = new Session(sink, fileSystem, waiter, {
    onBroken: (error) => assert.fail(String(error)),
  });
  session.handle(request("lookup", 4n));
  assert.deepEqual(sent, [EIO]);
  assert.deepEqual(fileSystem.calls, []);
});

Deno.test("abandon answers all that wait; each answer is observed with its name", () => {
  const observed: [string, number][] = [];
  const { session, fileSystem, replies } = setUp({
    onAnswered: (name, errno) => observed.push([name, errno]),
  });
  for (const [name, unique] of [["read", 4n], ["fsync", 6n]] as const) {
    fileSystem.next = new Suspension(PRESSURE);
    session.handle(request(name, unique));
  }
  fileSystem.next = new FsError(ENOENT);
  session.handle(request("unlink", 8n));
  session.abandon(EIO);
  assert.deepEqual(replies, [[8n, ENOENT], [4n, EIO], [6n, EIO]]);
  assert.deepEqual(observed, [["init", 0], ["unlink", ENOENT], ["read", EIO], ["fsync", EIO]]);
  assert.equal(session.parked, 0);
});

Deno.test("supplementary groups are read from the text of /proc/PID/status", () => {
  assert.deepEqual(parseGroups("Name:\tx\nGroups:\t4 27 1000 \nNStgid:\t1\n"), [4, 27, 1000]);
  assert.deepEqual(parseGroups("Groups:\t \n"), []);
  assert.deepEqual(parseGroups("Name:\tx\n"), []);
});
