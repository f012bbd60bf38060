/**
 * A writer of the crash test, a process of its own: random operations on its names below a folder of
 * the mount, each written to a log outside the mount before and after. Ends when the mount dies or
 * the stop file is there. Arguments: folder, log, stop file, name, seed, operations for each fsync.
 */
import { join } from "node:path";
import { type LogLine, Model, type Operation, pattern, random } from "./crash_model.ts";

const [folder, logPath, stopPath, name, seed, fsyncOneIn] = Deno.args as [
  string,
  string,
  string,
  string,
  string,
  string,
];
const next = random(Number(seed));
const model = new Model();
const log = Deno.openSync(logPath, { write: true, append: true, create: true });
const sleeper = new Int32Array(new SharedArrayBuffer(4));
let made = 0;

const FILES_MAX = 30;

function below(limit: number): number {
  return next() % limit;
}

function pick<T>(items: readonly T[]): T | undefined {
  return items[below(items.length || 1)];
}

/** A name that was never there, or one that is. In the own folder, one below it, or the shared one. */
function newPath(): string {
  const parents = model.paths("directory").filter((path) => path !== name);
  const parent = below(4) === 0 ? "common" : pick([name, ...parents])!;
  return `${parent}/${name}-${made++}`;
}

function size(): number {
  const kind = below(20);
  return 1 + below(kind < 14 ? 8_000 : kind < 19 ? 150_000 : 600_000);
}

/** Any operation that succeeds on the tree as it is. */
function choose(): Operation {
  if (below(Number(fsyncOneIn)) === 0) {
    return { call: "fsync", path: pick(model.paths("file")) ?? name };
  }
  for (;;) {
    const files = model.paths("file");
    const file = pick(files);
    const other = pick(files);
    const directories = model.paths("directory").filter((path) => path !== name);
    switch (below(40)) {
      case 0:
      case 1:
        if (directories.length < 5) return { call: "mkdir", path: newPath() };
        break;
      case 2: {
        const directory = pick(directories);
        if (directory !== undefined && model.empty(directory)) {
          return { call: "rmdir", path: directory };
        }
        break;
      }
      case 3:
        if (file !== undefined) return { call: "link", from: file, path: newPath() };
        break;
      case 4:
        return { call: "symlink", from: `/target/${below(1000)}`, path: newPath() };
      case 5:
      case 6: {
        const link = pick(model.paths("symlink"));
        if (link !== undefined) return { call: "unlink", path: link };
        break;
      }
      case 7: {
        const directory = pick(directories);
        const to = newPath();
        if (directory !== undefined && !to.startsWith(`${directory}/`)) {
          return { call: "rename", from: directory, path: to };
        }
        break;
      }
      case 8:
      case 9:
        if (file !== undefined) {
          return { call: "chmod", path: file, mode: 0o600 + below(0o200) };
        }
        break;
      case 10:
      case 11:
      case 12:
        if (file !== undefined) {
          const length = model.nodes.get(file)!.content.length;
          return { call: "truncate", path: file, size: below(length + 10_000) };
        }
        break;
      case 13:
      case 14:
      case 15:
        if (file !== undefined) return { call: "rename", from: file, path: newPath() };
        break;
      case 16:
      case 17:
        if (file !== undefined && other !== undefined && file !== other) {
          return { call: "rename", from: file, path: other };
        }
        break;
      case 18:
      case 19:
        if (file !== undefined) return { call: "unlink", path: file };
        break;
      case 20:
      case 21:
      case 22:
      case 23:
      case 24:
      case 25:
        if (files.length < FILES_MAX) return { call: "create", path: newPath() };
        if (file !== undefined) return { call: "unlink", path: file };
        break;
      default: {
        if (file === undefined) break;
        const length = model.nodes.get(file)!.content.length;
        const at = below(2) === 0 ? length : below(length + 1);
        return { call: "write", path: file, at, length: size(), seed: next() };
      }
    }
  }
}

function perform(operation: Operation): void {
  const path = join(folder, operation.path);
  switch (operation.call) {
    case "create":
      return Deno.openSync(path, { write: true, createNew: true, mode: 0o644 }).close();
    case "mkdir":
      return Deno.mkdirSync(path, { mode: 0o755 });
    case "unlink":
    case "rmdir":
      return Deno.removeSync(path);
    case "fsync": {
      using file = Deno.openSync(path, { read: true });
      return file.syncSync();
    }
    case "write": {
      using file = Deno.openSync(path, { write: true });
      file.seekSync(operation.at, Deno.SeekMode.Start);
      const written = file.writeSync(pattern(operation.seed, operation.length));
      // The kernel sends one write(2) in parts; the mount died after the first of them.
      if (written !== operation.length) file.writeSync(new Uint8Array(1));
      return;
    }
    case "truncate":
      return Deno.truncateSync(path, operation.size);
    case "chmod":
      return Deno.chmodSync(path, operation.mode);
    case "rename":
      return Deno.renameSync(join(folder, operation.from), path);
    case "link":
      return Deno.linkSync(join(folder, operation.from), path);
    case "symlink":
      return Deno.symlinkSync(operation.from, path);
  }
}

function tell(line: LogLine): void {
  log.writeSync(new TextEncoder().encode(`${JSON.stringify(line)}\n`));
}

function stopped(): boolean {
  try {
    Deno.statSync(stopPath);
    return true;
  } catch {
    return false;
  }
}

Deno.umask(0o022);
for (let count = 0; !stopped(); count++) {
  const operation: Operation = count === 0 ? { call: "mkdir", path: name } : choose();
  tell({ start: Date.now(), operation });
  try {
    perform(operation);
  } catch (error) {
    tell({ failed: error instanceof Error ? error.message : String(error) });
    break;
  }
  tell({ end: Date.now() });
  model.apply(operation);
  Atomics.wait(sleeper, 0, 0, below(3));
}
