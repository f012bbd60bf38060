/** The check of the crash test, shown what it must refuse. */
import { join } from "node:path";
import { checkPrefix, type Done, type Found, type Log, readTree } from "./crash_check.ts";
import { Model, type Operation } from "./crash_model.ts";

function write(path: string, at: number, seed: number): Operation {
  return { call: "write", path, at, length: 10, seed };
}

/** Each operation takes one millisecond of ten, in the order given. */
function log(name: string, operations: readonly [time: number, operation: Operation][]): Log {
  const done: Done[] = operations.map(([time, operation]) => ({
    operation,
    start: time * 10,
    end: time * 10 + 1,
  }));
  return { name, done, failed: null };
}

/** What is found after so many operations of each log. */
function found(logs: readonly Log[], counts: readonly number[]): Map<string, Found> {
  const tree = new Map<string, Found>();
  logs.forEach(({ done }, index) => {
    const model = new Model();
    for (const { operation } of done.slice(0, counts[index])) model.apply(operation);
    for (const [path, node] of model.nodes) tree.set(path, { ...node, links: node.names.size });
  });
  return tree;
}

const ONE = log("w0", [
  [0, { call: "mkdir", path: "w0" }],
  [2, { call: "create", path: "w0/w0-0" }],
  [4, write("w0/w0-0", 0, 1)],
  [6, { call: "fsync", path: "w0/w0-0" }],
  [8, write("w0/w0-0", 10, 2)],
  [10, { call: "rename", from: "w0/w0-0", path: "common/w0-1" }],
]);
const TWO = log("w1", [
  [1, { call: "mkdir", path: "w1" }],
  [3, { call: "create", path: "common/w1-0" }],
  [5, write("common/w1-0", 0, 3)],
  [7, write("common/w1-0", 10, 4)],
  [9, { call: "unlink", path: "common/w1-0" }],
]);
const LOGS = [ONE, TWO];

function refuses(what: string, tree: ReadonlyMap<string, Found>): void {
  try {
    checkPrefix(LOGS, tree);
  } catch {
    return;
  }
  throw new Error(`not seen: ${what}`);
}

Deno.test("every cut in the order of the answers is a prefix", () => {
  for (const counts of [[3, 3], [4, 3], [4, 4], [5, 4], [5, 5], [6, 5]]) {
    checkPrefix(LOGS, found(LOGS, counts));
  }
});

Deno.test("a write that the kernel sent in parts may end at a page, nowhere else", () => {
  const logs = [log("w0", [
    [0, { call: "mkdir", path: "w0" }],
    [1, { call: "create", path: "w0/w0-0" }],
    [2, { call: "write", path: "w0/w0-0", at: 100, length: 9000, seed: 1 }],
    [3, { call: "write", path: "w0/w0-0", at: 0, length: 9000, seed: 2 }],
  ])];
  const cut = (length: number) => {
    const tree = found(logs, [3]);
    const file = tree.get("w0/w0-0")!;
    return new Map(tree).set("w0/w0-0", { ...file, content: file.content.slice(0, length) });
  };
  for (const length of [4096, 8192, 9100]) checkPrefix(logs, cut(length));
  for (const length of [4095, 100, 5000, 9099]) {
    try {
      checkPrefix(logs, cut(length));
    } catch {
      continue;
    }
    throw new Error(`not seen: a file of ${length} bytes`);
  }
});

Deno.test("what is no prefix is refused", () => {
  refuses("what was fsynced is lost", found(LOGS, [2, 2]));
  refuses("what another wrote before the fsync is lost", found(LOGS, [4, 2]));
  refuses("a later operation without the earlier one of another", found(LOGS, [4, 5]));
  refuses("the same, the other way round", found(LOGS, [6, 4]));
  const holed = found(LOGS, [5, 4]);
  const file = holed.get("w0/w0-0")!;
  holed.set("w0/w0-0", { ...file, content: new Uint8Array(file.content).fill(0, 0, 10) });
  refuses("a hole where data was", holed);
  const torn = found(LOGS, [5, 4]);
  torn.set("w0/w0-0", { ...file, content: file.content.slice(0, 15) });
  refuses("a torn write", torn);
  const extra = found(LOGS, [5, 4]);
  extra.set("common/w0-7", file);
  refuses("a name that nobody made", extra);
});

Deno.test("a folder that a crash took is a prefix unless something in it was fsynced", () => {
  const gone = readTree(join(import.meta.dirname!, "no such round"));
  checkPrefix([TWO], gone);
  refuses("a folder in which something was fsynced", gone);
});
