import assert from "node:assert/strict";
import { GOLDEN } from "./golden.ts";
import { opcode } from "./protocol.ts";
import { decodeHeader } from "./request.ts";
import { Session } from "./session.ts";
import { OPERATION_NAMES, OPERATIONS } from "./table.ts";
import { TestingFileSystem } from "./testing_filesystem.ts";

/** A session whose replies are collected, not sent. */
function setUp() {
  const replies: Uint8Array[] = [];
  const broken: unknown[] = [];
  const fileSystem = new TestingFileSystem();
  const sink = {
    send(parts: readonly Uint8Array[]) {
      replies.push(Uint8Array.fromHex(parts.map((part) => part.toHex()).join("")));
      return 0;
    },
  };
  const waiter = { start: () => assert.fail("nothing waits here") };
  const session = new Session(sink, fileSystem, waiter, { onBroken: (e) => broken.push(e) });
  return { session, fileSystem, replies, broken };
}

function bytes(hex: string): Uint8Array {
  return Uint8Array.fromHex(hex);
}

/** What the file system is asked for by each request, where it is more than the name shows. */
const CALLS: Record<string, unknown[][]> = {
  "lookup": [["lookup", 1, "hello"]],
  "getattr": [["getattr", 2, null, 1000, 100, 4321]],
  "getattr of a handle": [["getattr", 2, 9, 1000, 100, 4321]],
  "statx": [["getattr", 2, null, 1000, 100, 4321]],
  "setattr": [["setattr", 3, {
    mode: 0o100600,
    uid: 7,
    gid: 8,
    handle: 9,
    atime: -1_999_999_995n,
    mtime: "now",
    ctime: 8_000_000_001n,
    killPrivileges: true,
  }]],
  "setattr of the size": [["setattr", 2, { size: 5 }]],
  "symlink": [["symlink", 1, "new", "to/there"]],
  "mknod": [["mknod", 1, "dev", 0o20644, 0x501, 0o22]],
  "mkdir": [["mkdir", 1, "dir", 0o755, 0o22]],
  "unlink": [["unlink", 1, "hello"]],
  "rmdir": [["rmdir", 1, "dir"]],
  "rename": [["rename", 1, "a", 5, "b", 0]],
  "rename2": [["rename", 1, "a", 5, "b", 2]],
  "link": [["link", 2, 1, "other"]],
  "open": [["open", 2, 2]],
  "open that clears setuid": [["setattr", 2, { killPrivileges: true }], ["open", 2, 0o1001]],
  "read": [["read", 2, 9, 1, 3]],
  "write": [["write", 2, 9, 1, "EL", true]],
  "release": [["release", 2, 9, null]],
  "release of a flock": [["release", 2, 9, 0xffeeddccbbaa9988n]],
  "fsync": [["fsync", 2, 9]],
  "fsyncdir": [["fsync", 1, 9]],
  "syncfs": [["fsync", 1, null]],
  "setxattr": [["setxattr", 2, "user.x", "abc", 1]],
  "removexattr": [["removexattr", 2, "user.a"]],
  "flush": [["flush", 2, 9, 5n]],
  "getlk": [["getlk", 2, 5n, { start: 10n, end: 20n, type: "write", pid: 4321 }, false]],
  "setlk": [
    ["setlk", 2, 9, 5n, { start: 10n, end: 2n ** 63n - 1n, type: "read", pid: 4321 }, false, false],
  ],
  "setlk of an unknown type": [],
  "setlkw of flock": [
    ["setlk", 2, 9, 5n, { start: 0n, end: 2n ** 63n - 1n, type: "write", pid: 4321 }, true, true],
  ],
  "create": [["create", 1, "new", 0o102, 0o100640, 0o22]],
  "tmpfile": [["tmpfile", 1, 0o20200002, 0o100600, 0o22]],
  "fallocate": [["fallocate", 2, 9, 0, 4096, 8192]],
  "lseek": [["lseek", 2, 9, 2, 4]],
  "copy_file_range": [["copyFileRange", 2, 9, 1, 3, 10, 2, 4]],
  "copy_file_range_64": [["copyFileRange", 2, 9, 1, 3, 10, 2, 5_000_000_000]],
};

Deno.test("each request is decoded and answered byte for byte as linux/fuse.h says", () => {
  const { session, fileSystem, replies, broken } = setUp();
  for (const { name, request, reply } of GOLDEN) {
    replies.length = 0;
    fileSystem.calls.length = 0;
    session.handle(bytes(request));
    assert.deepEqual(replies.map((sent) => sent.toHex()), reply === null ? [] : [reply], name);
    const calls = CALLS[name];
    if (calls !== undefined) assert.deepEqual(fileSystem.calls, calls, name);
  }
  assert.deepEqual(fileSystem.forgotten, [[2, 3], [2, 1], [3, 9]]);
  assert.ok(session.destroyed);
  assert.deepEqual(broken, []);
});

Deno.test("every opcode of the table has a golden request, and its row a name", () => {
  const seen = new Set(GOLDEN.map(({ request }) => decodeHeader(bytes(request))!.opcode));
  // REMOVEMAPPING is answered as SETUPMAPPING is, without being decoded.
  const missing = Object.values(opcode).filter((code) => !seen.has(code));
  assert.deepEqual(missing, [opcode.REMOVEMAPPING]);
  for (const code of Object.values(opcode)) assert.ok(OPERATIONS.has(code), `opcode ${code}`);
  for (const name of OPERATION_NAMES) assert.match(name, /^[a-z0-9_]+$/);
});

Deno.test("a truncated request is answered with an error, and nothing is done for it", () => {
  const init = bytes(GOLDEN[0]!.request);
  for (const { name, request, reply } of GOLDEN.slice(1)) {
    const whole = bytes(request);
    const { session, fileSystem, replies, broken } = setUp();
    session.handle(init);
    for (let length = 0; length < whole.length; length++) {
      replies.length = broken.length = fileSystem.calls.length = 0;
      const cut = whole.slice(0, length);
      // A header that tells its own length rightly, so that the decoder of the rest must notice.
      if (length >= 4) new DataView(cut.buffer).setUint32(0, length, true);
      session.handle(cut);
      const at = `${name}, ${length} of ${whole.length} bytes`;
      if (length < 40) {
        assert.equal(broken.length, 1, at);
        assert.equal(replies.length, 0, at);
        continue;
      }
      assert.deepEqual(broken, [], at);
      assert.equal(replies.length, reply === null ? 0 : 1, at);
      for (const sent of replies) {
        const error = new DataView(sent.buffer).getInt32(4, true);
        // Some requests are answered without looking at what follows the header.
        const undecoded = ["bmap", "ioctl", "poll", "syncfs"].includes(name);
        assert.ok(undecoded || error < 0, `${at}: error ${error}`);
      }
      if (name !== "syncfs") assert.deepEqual(fileSystem.calls, [], at);
      assert.deepEqual(fileSystem.forgotten, [], at);
    }
  }
});

Deno.test("a header that disagrees about the length is answered EINVAL", () => {
  const { session, replies } = setUp();
  session.handle(bytes(GOLDEN[0]!.request));
  const lookup = bytes(GOLDEN[1]!.request);
  new DataView(lookup.buffer).setUint32(0, lookup.length + 1, true);
  session.handle(lookup);
  assert.equal(new DataView(replies[1]!.buffer).getInt32(4, true), -22);
});

Deno.test("INIT: a later major version gets ours, an old minor is refused, an old struct is read", () => {
  const answers = [[8, 0, 64, 0], [7, 30, 16, -71], [7, 31, 16, 0]].map(([major, minor, size]) => {
    const { session, replies } = setUp();
    const request = bytes(GOLDEN[0]!.request).slice(0, 40 + size!);
    const view = new DataView(request.buffer);
    view.setUint32(0, request.length, true);
    view.setUint32(40, major!, true);
    view.setUint32(44, minor!, true);
    if (size === 16) view.setUint32(52, 0x3fffffff, true);
    session.handle(request);
    const reply = new DataView(replies[0]!.buffer);
    return [reply.getInt32(4, true), replies[0]!.length > 16 ? reply.getUint32(20, true) : null];
  });
  assert.deepEqual(answers, [[0, 45], [-71, null], [0, 31]]);
});

Deno.test("names may hold any bytes but NUL and slash", () => {
  const { session, fileSystem } = setUp();
  session.handle(bytes(GOLDEN[0]!.request));
  const name = [0xff, 0xfe, 0x80, 0x0a, 0x20];
  const request = new Uint8Array([...bytes(GOLDEN[1]!.request).slice(0, 40), ...name, 0]);
  new DataView(request.buffer).setUint32(0, request.length, true);
  session.handle(request);
  assert.deepEqual(fileSystem.calls, [["lookup", 1, String.fromCharCode(...name)]]);
});
