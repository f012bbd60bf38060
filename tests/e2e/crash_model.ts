/** What a writer of the crash test does, and what the tree then looks like. */

/** One system call that changes something, or an fsync. Paths are relative to the round's folder. */
export type Operation =
  | { readonly call: "create" | "mkdir" | "unlink" | "rmdir" | "fsync"; readonly path: string }
  /** `length` bytes of {@link pattern} at an offset; one request to the mount. */
  | {
    readonly call: "write";
    readonly path: string;
    readonly at: number;
    readonly length: number;
    readonly seed: number;
  }
  | { readonly call: "truncate"; readonly path: string; readonly size: number }
  | { readonly call: "chmod"; readonly path: string; readonly mode: number }
  | { readonly call: "rename" | "link" | "symlink"; readonly from: string; readonly path: string };

/** A line of a writer's log. `start` and `end` are milliseconds of the machine's clock. */
export type LogLine =
  | { readonly start: number; readonly operation: Operation }
  | { readonly end: number }
  | { readonly failed: string };

/** An inode, as the model has it. */
export interface Node {
  readonly kind: "file" | "directory" | "symlink";
  mode: number;
  content: Uint8Array<ArrayBuffer>;
  readonly target: string;
  /** Paths that name it. */
  readonly names: Set<string>;
}

/** Numbers below 2^32, the same for the same seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** Bytes that a seed stands for; never zeros only, so that a hole is no content. */
export function pattern(seed: number, length: number): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(length / 4));
  const next = random(seed);
  for (let index = 0; index < words.length; index++) words[index] = next() | 0x01010101;
  return new Uint8Array(words.buffer, 0, length);
}

/** The names that one writer made, and what they are. */
export class Model {
  readonly nodes = new Map<string, Node>();

  /** Names of one kind. */
  paths(kind: Node["kind"]): string[] {
    return [...this.nodes].filter(([, node]) => node.kind === kind).map(([path]) => path);
  }

  /** Whether a directory has nothing in it. */
  empty(directory: string): boolean {
    return ![...this.nodes.keys()].some((path) => path.startsWith(`${directory}/`));
  }

  /** Does an operation. @returns the paths whose node is another one, or differs, from now on */
  apply(operation: Operation): string[] {
    const { call, path } = operation;
    switch (call) {
      case "create":
      case "mkdir":
        this.#add(
          path,
          call === "create" ? "file" : "directory",
          call === "create" ? 0o644 : 0o755,
        );
        return [path];
      case "symlink":
        this.#add(path, "symlink", 0o777, operation.from);
        return [path];
      case "link": {
        const node = this.#node(operation.from);
        this.#name(path, node);
        return [...node.names];
      }
      case "unlink":
      case "rmdir":
        return [path, ...this.#forget(path)];
      case "fsync":
        return [];
      case "chmod":
        this.#node(path).mode = operation.mode;
        return [...this.#node(path).names];
      case "truncate": {
        const node = this.#node(path);
        const content = new Uint8Array(operation.size);
        content.set(node.content.subarray(0, operation.size));
        node.content = content;
        return [...node.names];
      }
      case "write": {
        const node = this.#node(path);
        const content = new Uint8Array(
          Math.max(node.content.length, operation.at + operation.length),
        );
        content.set(node.content);
        content.set(pattern(operation.seed, operation.length), operation.at);
        node.content = content;
        return [...node.names];
      }
      case "rename":
        return this.#rename(operation.from, path);
    }
  }

  #rename(from: string, to: string): string[] {
    const changed = new Set([from, to]);
    const moved = this.#node(from);
    // rename(2) of one name of a file onto another name of it does nothing.
    if (this.nodes.get(to) === moved) return [];
    for (const name of this.#forget(to)) changed.add(name);
    for (const path of [...this.nodes.keys()]) {
      if (path !== from && !path.startsWith(`${from}/`)) continue;
      const node = this.#node(path);
      const next = to + path.slice(from.length);
      this.nodes.delete(path);
      node.names.delete(path);
      this.#name(next, node);
      changed.add(path);
      for (const name of node.names) changed.add(name);
    }
    return [...changed];
  }

  /** Takes a name away, if it is there. @returns the other names of its node */
  #forget(path: string): string[] {
    const node = this.nodes.get(path);
    if (node === undefined) return [];
    this.nodes.delete(path);
    node.names.delete(path);
    return [...node.names];
  }

  #add(path: string, kind: Node["kind"], mode: number, target = ""): void {
    this.#name(path, { kind, mode, content: new Uint8Array(), target, names: new Set() });
  }

  #name(path: string, node: Node): void {
    this.nodes.set(path, node);
    node.names.add(path);
  }

  #node(path: string): Node {
    const node = this.nodes.get(path);
    if (node === undefined) throw new Error(`the model has no ${path}`);
    return node;
  }
}
