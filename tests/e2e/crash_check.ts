import { existsSync } from "node:fs";
import { join } from "node:path";
import { type LogLine, Model, type Node, type Operation, pattern } from "./crash_model.ts";

/** An operation of a writer. `end` is null when the crash came before its answer. */
export interface Done {
  readonly operation: Operation;
  readonly start: number;
  readonly end: number | null;
}

/** What a writer noted, and of what it ended. */
export interface Log {
  readonly name: string;
  readonly done: readonly Done[];
  readonly failed: string | null;
}

/** Reads a writer's log; a last line that is torn was never told. */
export function readLog(name: string, path: string): Log {
  const done: { operation: Operation; start: number; end: number | null }[] = [];
  let failed: string | null = null;
  for (const text of Deno.readTextFileSync(path).split("\n").slice(0, -1)) {
    const line: LogLine = JSON.parse(text);
    if ("operation" in line) done.push({ ...line, end: null });
    else if ("end" in line) done.at(-1)!.end = line.end;
    else failed = line.failed;
  }
  return { name, done, failed };
}

/** What is found at a path. */
export type Found = Pick<Node, "kind" | "mode" | "content" | "target"> & { readonly links: number };

/**
 * Reads everything below a folder, by path relative to it. A folder that is not there holds nothing:
 * making it is an operation like any other, and what was fsynced in it is missed by the check.
 */
export function readTree(folder: string): Map<string, Found> {
  const found = new Map<string, Found>();
  if (!existsSync(folder)) return found;
  const read = (directory: string) => {
    for (const { name } of Deno.readDirSync(join(folder, directory))) {
      const path = directory === "" ? name : `${directory}/${name}`;
      const whole = join(folder, path);
      const info = Deno.lstatSync(whole);
      const mode = (info.mode ?? 0) & 0o7777;
      const kind = info.isDirectory ? "directory" : info.isSymlink ? "symlink" : "file";
      const content = kind === "file" ? Deno.readFileSync(whole) : new Uint8Array();
      if (kind === "file" && content.length !== info.size) {
        throw new Error(`${path}: ${content.length} bytes, but its size is ${info.size}`);
      }
      const target = kind === "symlink" ? Deno.readLinkSync(whole) : "";
      found.set(path, { kind, mode, content, target, links: info.nlink ?? 0 });
      if (kind === "directory") read(path);
    }
  };
  read("");
  return found;
}

function same(node: Node | undefined, found: Found | undefined): boolean {
  if (node === undefined || found === undefined) return node === found;
  if (node.kind !== found.kind || node.target !== found.target) return false;
  if (node.kind === "symlink") return true;
  if (node.mode !== found.mode) return false;
  if (node.kind === "directory") return true;
  return found.links === node.names.size && equal(node.content, found.content);
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}

/** Of the tree what one writer made. */
function own(tree: ReadonlyMap<string, Found>, name: string): Map<string, Found> {
  return new Map(
    [...tree].filter(([path]) => path === name || path.includes(`/${name}-`)),
  );
}

/** Bytes of a page: where the kernel may cut one write(2) into several requests. */
const PAGE_BYTES = 4096;

/** Whether a file is as it was in the middle of a write that the kernel sent in parts. */
function partlyWritten(before: Node, write: Operation & { call: "write" }, found: Found): boolean {
  if (found.kind !== "file" || before.mode !== found.mode) return false;
  const bytes = pattern(write.seed, write.length);
  const end = write.at + write.length;
  for (let cut = write.at - write.at % PAGE_BYTES + PAGE_BYTES; cut < end; cut += PAGE_BYTES) {
    if (found.content.length !== Math.max(before.content.length, cut)) continue;
    const content = new Uint8Array(found.content.length);
    content.set(before.content);
    content.set(bytes.subarray(0, cut - write.at), write.at);
    if (equal(content, found.content)) return true;
  }
  return false;
}

/**
 * After how many of its operations a writer's part of the tree looked as it is found now; half an
 * operation is a write of which the kernel sent a part. When there is no such number, `nearest` has
 * the paths that differ where the fewest do.
 */
function prefixes(log: Log, tree: ReadonlyMap<string, Found>): { fit: number[]; nearest: string } {
  const found = own(tree, log.name);
  const model = new Model();
  const wrong = new Set(found.keys());
  const fit = wrong.size === 0 ? [0] : [];
  let fewest = Infinity;
  let nearest = "";
  log.done.forEach(({ operation }, index) => {
    if (operation.call === "write") {
      const node = model.nodes.get(operation.path)!;
      const others = [...wrong].filter((path) => !node.names.has(path));
      const is = found.get(operation.path);
      if (others.length === 0 && is !== undefined && partlyWritten(node, operation, is)) {
        if (!fit.includes(index)) fit.push(index + 0.5);
      }
    }
    for (const path of model.apply(operation)) {
      if (same(model.nodes.get(path), found.get(path))) wrong.delete(path);
      else wrong.add(path);
    }
    if (wrong.size === 0) fit.push(index + 1);
    if (wrong.size < fewest) {
      fewest = wrong.size;
      nearest = `after ${index + 1} of ${log.done.length}: ${[...wrong].slice(0, 5).join(", ")}`;
    }
  });
  return { fit, nearest };
}

/**
 * Checks what a crash left against what the writers noted: every writer's part is the result of the
 * first so many of its operations; together these are a prefix of all operations in the order in
 * which they were answered; and it has all that was answered before an fsync that succeeded began.
 * @returns for each writer the number of its operations that are there
 * @throws {Error} that names what is missing
 */
export function checkPrefix(logs: readonly Log[], tree: ReadonlyMap<string, Found>): number[] {
  const fits = logs.map((log) => {
    const { fit, nearest } = prefixes(log, tree);
    if (fit.length > 0) return fit;
    throw new Error(`what ${log.name} left is no prefix of its operations; nearest ${nearest}`);
  });
  const before = (log: Log, time: number) =>
    log.done.filter(({ end }) => end !== null && end < time).length;
  // The least that must be there: what fsync promised, and from it what came before what is there.
  const need = logs.map((log, index) => {
    const own = log.done.findLastIndex(({ operation, end }) =>
      operation.call === "fsync" && end !== null
    );
    return Math.max(fits[index]![0]!, own);
  });
  const promised = Math.max(
    ...logs.flatMap(({ done }) =>
      done.filter(({ operation, end }) => operation.call === "fsync" && end !== null)
        .map(({ start }) => start)
    ),
    0,
  );
  let time = promised;
  for (let state = ""; state !== `${time} ${need}`;) {
    state = `${time} ${need}`;
    logs.forEach((log, index) => {
      const least = Math.max(need[index]!, before(log, time));
      const fit = fits[index]!;
      const count = fit.find((count) => count >= least);
      if (count === undefined) {
        throw new Error(
          `${log.name}: ${
            fit.at(-1)
          } of its ${log.done.length} operations are there, but ${least} ` +
            `were answered before an fsync, or before what is there of others; first missing: ` +
            JSON.stringify(log.done[Math.floor(fit.at(-1)!)]),
        );
      }
      if (count > 0) time = Math.max(time, log.done[Math.ceil(count) - 1]!.start);
      need[index] = count;
    });
  }
  return need;
}
