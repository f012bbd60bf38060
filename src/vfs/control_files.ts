import { equalBytes, fromLatin1, text, utf8 } from "../base/bytes.ts";
import { nowNanoseconds } from "../base/clock.ts";
import { EACCES, EBADF, EINVAL, EISDIR, ENOENT, ENOTDIR, EPERM } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import { S_IFDIR } from "../base/modes.ts";
import { ROOT_INODE } from "../store/rows.ts";
import {
  CONTROL_NAME,
  CONTROL_ROOT,
  controlAttributes,
  controlChildren,
  type ControlNode,
  controlNode,
} from "./control.ts";
import type { AttributeChange, Attributes, Context, Listed, Opened } from "./operations.ts";
import { Suspension } from "./suspension.ts";

const O_ACCMODE = 3;

/** Positions of a listing: 1 and 2 are `.` and `..`. */
const FIRST_POSITION = 3;

/** What the control directory needs of the mount. */
export interface ControlOptions {
  /** Owner of the control directory. */
  readonly uid: number;
  readonly gid: number;
  /** What a file says that the mount's own memory answers; null: the main thread is asked. */
  readonly answer: (path: string) => string | null;
}

/** The files of the control directory: reading and writing them are commands. */
export class ControlFiles {
  readonly #options: ControlOptions;
  readonly #texts = new Map<number, Uint8Array | null>();
  #nextHandle = 1;

  constructor(options: ControlOptions) {
    this.#options = options;
  }

  /** The synthetic inode of a name in the root of the workspace or of a control directory. */
  child(parent: number, name: Uint8Array): ControlNode | null {
    if (parent === ROOT_INODE) return equalBytes(name, CONTROL_NAME) ? CONTROL_ROOT : null;
    const directory = controlNode(parent);
    if (directory === undefined) return null;
    return controlChildren(directory).find((child) => equalBytes(child.name, name)) ?? null;
  }

  attributes(node: ControlNode): Attributes {
    return controlAttributes(node, this.#options, nowNanoseconds());
  }

  lookup(parent: number, name: Uint8Array): Attributes {
    const found = this.child(parent, name);
    if (found === null) throw new FsError(ENOENT);
    return this.attributes(found);
  }

  /** echo(1) into a file truncates it first; everything else stays as it is. */
  setattr(node: ControlNode, change: AttributeChange): Attributes {
    const { mode, uid, gid } = change;
    if (mode !== undefined || uid !== undefined || gid !== undefined) throw new FsError(EPERM);
    return this.attributes(node);
  }

  open(context: Context, node: ControlNode, flags: number): Opened {
    if (node.directory) throw new FsError(EISDIR);
    const access = flags & O_ACCMODE;
    if (access !== 0 && (node.mode & 0o200) === 0) throw new FsError(EACCES);
    if (access !== 1 && (node.mode & 0o400) === 0) throw new FsError(EACCES);
    return this.#opened(access === 1 ? null : fromLatin1(this.#read(context, node.path)));
  }

  read(handle: number, offset: number, size: number): readonly Uint8Array[] {
    return [this.#text(handle).subarray(offset, offset + size)];
  }

  write(context: Context, node: ControlNode, data: Uint8Array): number {
    const argument = new TextDecoder().decode(data).trim();
    if (argument !== "") command(context, node.path, argument);
    return data.length;
  }

  opendir(context: Context, node: ControlNode): Opened {
    if (!node.directory) throw new FsError(ENOTDIR);
    // What is under `at` is not made of control files: one name a line.
    const listed = node.path === "at" ? utf8(this.#read(context, "at")) : null;
    return this.#opened(listed);
  }

  readdir(
    directory: ControlNode,
    handle: number,
    after: number,
    take: (entry: Listed) => boolean,
  ): void {
    const above = directory === CONTROL_ROOT ? ROOT_INODE : directory.parent;
    if (after < 1 && !take(dot(".", directory.inode, 1))) return;
    if (after < 2 && !take(dot("..", above, 2))) return;
    let next = FIRST_POSITION;
    for (const child of controlChildren(directory)) {
      const { name, inode, mode } = child;
      const attributes = this.attributes(child);
      if (next > after && !take({ name, inode, mode, next, attributes })) return;
      next++;
    }
    const listed = this.#texts.get(handle);
    for (const name of listed == null ? [] : text(listed).split("\n")) {
      if (name !== "" && next > after && !take(dot(name, directory.inode, next))) return;
      next++;
    }
  }

  release(handle: number): void {
    this.#texts.delete(handle);
  }

  #read(context: Context, path: string): string {
    return this.#options.answer(path) ?? command(context, path, "");
  }

  #opened(content: Uint8Array | null): Opened {
    const handle = this.#nextHandle++;
    this.#texts.set(handle, content);
    return { handle, keepCache: false, directIo: true };
  }

  #text(handle: number): Uint8Array {
    const found = this.#texts.get(handle);
    if (found == null) throw new FsError(EBADF);
    return found;
  }
}

/** Has the main thread carry a command out. @throws {Suspension} first, {FsError} when it failed */
export function command(context: Context, path: string, argument: string): string {
  const { answer } = context;
  if (answer === undefined) throw new Suspension({ kind: "command", command: path, argument });
  if ("errno" in answer) throw new FsError(answer.errno === 0 ? EINVAL : answer.errno);
  return answer.result;
}

/** An entry whose attributes are not told with the listing. */
function dot(name: string, inode: number, next: number): Listed {
  return { name: utf8(name), inode, mode: S_IFDIR, next, attributes: null };
}
