import { latin1 } from "../base/bytes.ts";
import { S_IFMT } from "../base/modes.ts";
import type { Load } from "../store/loads.ts";
import type { DentryRow, Entry } from "../store/rows.ts";
import { DirectoryList } from "./directory_list.ts";
import type { Dentry, Node } from "./node.ts";
import { Suspension } from "./suspension.ts";

/** Names that one step of a listing brings: what fills a reply to the kernel. */
const NAMES_AT_ONCE = 1000;

/** Lists of a batch that names add to. */
export interface NameRows {
  readonly dentries: DentryRow[];
  readonly deadDentries: { readonly parent: number; readonly name: Uint8Array }[];
}

/**
 * The names in the directories of a tree: which are known, which are dirty or in the batch in flight.
 * Inodes are not its business.
 */
export class Names {
  /** By inode of the directory and name. */
  #dirty = new Map<string, Node>();
  #flying = new Map<string, Node>();
  #count = 0;

  /** Names in memory, as far as they were counted: {@link trim} counts anew. */
  get count(): number {
    return this.#count;
  }

  /** Whether {@link collect} has something to tell. */
  get dirty(): boolean {
    return this.#dirty.size > 0;
  }

  /** What a directory has under a name, or null. @throws {Suspension} */
  find(directory: Node, name: Uint8Array): Dentry | null {
    const known = directory.children!.get(latin1(name));
    if (known !== undefined) return known.child === 0 ? null : known;
    if (directory.complete || !directory.stored) return null;
    if (directory.missed()) {
      const list = listFrom(directory, 0);
      if (list.upto !== Infinity) nextPage(directory, list);
    }
    return fault({ kind: "lookup", parent: directory.inode, name });
  }

  /**
   * Some names after a cookie, in the order of the cookies; none at the end only.
   * @throws {Suspension}
   */
  after(directory: Node, cookie: number): Dentry[] {
    const list = listFrom(directory, cookie);
    const found = list.after(cookie, NAMES_AT_ONCE);
    return found.length === 0 && list.upto !== Infinity ? nextPage(directory, list) : found;
  }

  /** Whether a directory holds no name. @throws {Suspension} */
  isEmpty(directory: Node): boolean {
    for (const { child } of directory.children!.values()) if (child !== 0) return false;
    if (directory.complete || !directory.stored) return true;
    const list = listFrom(directory, 0);
    return list.upto === Infinity ? true : nextPage(directory, list);
  }

  /** A name begins to stand for an inode; `cookie` is above all that there were. */
  set(directory: Node, name: Uint8Array, child: Node, cookie: number): void {
    const type = child.row.mode & S_IFMT;
    const dentry = this.#replace(directory, name, child.inode, cookie, type);
    directory.list?.append(dentry);
  }

  /** A name is gone. */
  remove(directory: Node, name: Uint8Array): void {
    this.#replace(directory, name, 0, 0, 0);
  }

  #replace(directory: Node, name: Uint8Array, child: number, cookie: number, type: number): Dentry {
    const key = latin1(name);
    const before = directory.children!.get(key);
    const stored = before?.stored ?? false;
    const dentry = { name: name.slice(), child, cookie, type, stored, dirty: true, gone: false };
    directory.children!.set(key, dentry);
    if (before === undefined) this.#count++;
    else {
      before.gone = true;
      directory.list?.dropped();
    }
    this.#dirty.set(keyOf(directory, key), directory);
    return dentry;
  }

  /** The store has an entry; what memory knows of the name already is newer. */
  know(directory: Node, { dentry, inode }: Entry): void {
    const { name, child, cookie } = dentry;
    const key = latin1(name);
    if (directory.children!.has(key)) return;
    this.#count++;
    const type = inode.mode & S_IFMT;
    const state = { stored: true, dirty: false, gone: false };
    directory.children!.set(key, { name, child, cookie, type, ...state });
  }

  /** The store has no such name. */
  knowAbsent(directory: Node, name: Uint8Array): void {
    const key = latin1(name);
    if (directory.children!.has(key)) return;
    this.#count++;
    const state = { stored: false, dirty: false, gone: false };
    directory.children!.set(key, { name, child: 0, cookie: 0, type: 0, ...state });
  }

  /** The store has these entries, all known by now, after a cookie; or no others at all. */
  knowPage(
    directory: Node,
    after: number,
    entries: readonly Entry[],
    complete: boolean,
  ): void {
    const { list, children } = directory;
    if (list === null || list.upto !== after) return;
    const page = entries.map(({ dentry }) => children!.get(latin1(dentry.name))!);
    list.extend(page, complete ? Infinity : entries.at(-1)!.dentry.cookie);
    if (complete && list.from === 0) directory.complete = true;
  }

  /** Adds the rows of what is dirty to a batch; nothing is dirty after it. */
  collect(rows: NameRows): void {
    for (const [path, directory] of this.#dirty) {
      const dentry = directory.children!.get(nameOf(path))!;
      dentry.dirty = false;
      const { child, name, cookie } = dentry;
      if (child !== 0) rows.dentries.push({ parent: directory.inode, name, child, cookie });
      else if (dentry.stored) rows.deadDentries.push({ parent: directory.inode, name });
      dentry.stored = child !== 0;
    }
    this.#flying = this.#dirty;
    this.#dirty = new Map();
  }

  /** The batch in flight is committed. */
  settled(): void {
    for (const [path, directory] of this.#flying) {
      const key = nameOf(path);
      const dentry = directory.children!.get(key);
      const absent = dentry !== undefined && dentry.child === 0 && !dentry.dirty;
      if (absent && directory.complete) directory.children!.delete(key);
    }
    this.#flying.clear();
  }

  /** Whether all names of a directory are what the store has. */
  isClean(directory: Node): boolean {
    for (const [key, dentry] of directory.children ?? []) {
      if (dentry.dirty || this.#flying.has(keyOf(directory, key))) return false;
    }
    return true;
  }

  /** Forgets the names that lead to none of these inodes. */
  trim(nodes: ReadonlyMap<number, Node>): void {
    this.#count = 0;
    for (const directory of nodes.values()) {
      if (directory.children === null) continue;
      if (directory.stored) this.#trimDirectory(directory, directory.children, nodes);
      this.#count += directory.children.size;
    }
  }

  #trimDirectory(
    directory: Node,
    children: Map<string, Dentry>,
    nodes: ReadonlyMap<number, Node>,
  ): void {
    for (const [key, dentry] of children) {
      if (dentry.dirty || nodes.has(dentry.child)) continue;
      if (this.#flying.has(keyOf(directory, key))) continue;
      children.delete(key);
      dentry.gone = true;
      directory.complete = false;
      directory.list = null;
    }
  }
}

function listFrom(directory: Node, after: number): DirectoryList {
  const { list, children } = directory;
  if (list !== null && list.from <= after && after <= list.upto) return list;
  // From another place than what is known goes to: begins anew there.
  const whole = directory.complete || !directory.stored;
  directory.list = new DirectoryList(whole ? 0 : after, children!.values(), whole);
  return directory.list;
}

function nextPage(directory: Node, list: DirectoryList): never {
  return fault({ kind: "list", parent: directory.inode, after: list.upto });
}

function fault(load: Load): never {
  throw new Suspension({ kind: "load", load });
}

function keyOf(directory: Node, name: string): string {
  return `${directory.inode}/${name}`;
}

function nameOf(key: string): string {
  return key.slice(key.indexOf("/") + 1);
}
