import assert from "node:assert/strict";
import { latin1, utf8 } from "../base/bytes.ts";
import { S_IFREG } from "../base/modes.ts";
import { DirectoryList } from "./directory_list.ts";
import type { Dentry } from "./node.ts";

function dentry(cookie: number, child = cookie): Dentry {
  const name = utf8(`n${cookie}`);
  return { name, child, cookie, type: S_IFREG, stored: true, dirty: false, gone: false };
}

function names(list: DirectoryList, after = 0, limit = 100): string[] {
  return list.after(after, limit).map(({ name }) => latin1(name));
}

Deno.test("pages and what only memory knows come in the order of the cookies", () => {
  const list = new DirectoryList(0, [dentry(9), dentry(3), dentry(0, 0)], false);
  assert.equal(list.upto, 0);
  assert.deepEqual(names(list), []);
  list.append(dentry(12));
  const four = dentry(4);
  list.extend([dentry(1), four, dentry(7, 0)], 7);
  assert.deepEqual(names(list), ["n1", "n3", "n4"]);
  four.gone = true;
  list.dropped();
  list.extend([dentry(8)], Infinity);
  assert.deepEqual(names(list), ["n1", "n3", "n8", "n9", "n12"]);
  list.append(dentry(13));
  assert.deepEqual(names(list, 3, 3), ["n8", "n9", "n12"]);
  assert.deepEqual(names(list, 12), ["n13"]);
});

Deno.test("a name that a page brings and memory knew is there once", () => {
  const known = dentry(2);
  const list = new DirectoryList(0, [known], false);
  list.extend([known, dentry(3)], Infinity);
  assert.deepEqual(names(list), ["n2", "n3"]);
});

Deno.test("a listing goes on while everything before it is removed", () => {
  const all = Array.from({ length: 1000 }, (_, i) => dentry(i + 1));
  const list = new DirectoryList(0, all, true);
  const seen: string[] = [];
  let after = 0;
  for (;;) {
    const some = list.after(after, 10);
    if (some.length === 0) break;
    for (const one of some) {
      seen.push(latin1(one.name));
      after = one.cookie;
      one.gone = true;
      list.dropped();
    }
  }
  assert.equal(seen.length, 1000);
  assert.equal(new Set(seen).size, 1000);
  assert.deepEqual(names(list), []);
});
