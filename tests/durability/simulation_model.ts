import { createHash } from "node:crypto";

/** A file of the model; several names may stand for it. */
export interface ModelFile {
  data: Uint8Array;
}

/** A directory of the model. */
export type ModelDirectory = Map<string, ModelNode>;

/** What a name of the model stands for. */
export type ModelNode = ModelFile | ModelDirectory;

/** What a file system is to the simulation: names and bytes, without inodes, blocks or batches. */
export class Model {
  readonly root: ModelDirectory = new Map();

  /** The node of a path; the root for an empty one. */
  at(path: readonly string[]): ModelNode | undefined {
    let node: ModelNode | undefined = this.root;
    for (const name of path) node = node instanceof Map ? node.get(name) : undefined;
    return node;
  }

  /** Paths of all directories, and of all files. */
  paths(): { directories: string[][]; files: string[][] } {
    const directories: string[][] = [[]];
    const files: string[][] = [];
    for (const at of directories) {
      for (const [name, node] of this.at(at) as ModelDirectory) {
        (node instanceof Map ? directories : files).push([...at, name]);
      }
    }
    return { directories, files };
  }

  /** Every name and byte as one text: equal texts are equal trees. */
  toString(): string {
    const links = new Map<ModelFile, string>();
    const lines: string[] = [];
    const walk = (path: string, directory: ModelDirectory) => {
      for (const name of [...directory.keys()].sort()) {
        const node = directory.get(name)!;
        const here = `${path}/${name}`;
        if (node instanceof Map) {
          lines.push(`${here}/`);
          walk(here, node);
        } else {
          // The first name of a file stands for it, so that hard links are seen.
          if (!links.has(node)) links.set(node, here);
          lines.push(`${here} ${links.get(node)} ${node.data.length} ${digest(node.data)}`);
        }
      }
    };
    walk("", this.root);
    return lines.join("\n");
  }

  /** A copy that shares nothing that can change. */
  clone(): Model {
    const files = new Map<ModelFile, ModelFile>();
    const copy = (from: ModelDirectory, to: ModelDirectory) => {
      for (const [name, node] of from) {
        if (node instanceof Map) {
          const directory: ModelDirectory = new Map();
          to.set(name, directory);
          copy(node, directory);
        } else {
          if (!files.has(node)) files.set(node, { data: node.data });
          to.set(name, files.get(node)!);
        }
      }
    };
    const made = new Model();
    copy(this.root, made.root);
    return made;
  }
}

/** Data with some bytes replaced, the gap before them zeros. Never changes what it was given. */
export function patched(data: Uint8Array, offset: number, bytes: Uint8Array): Uint8Array {
  const made = new Uint8Array(Math.max(data.length, offset + bytes.length));
  made.set(data);
  made.set(bytes, offset);
  return made;
}

/** Data cut, or grown by zeros, to a length. */
export function resized(data: Uint8Array, length: number): Uint8Array {
  const made = new Uint8Array(length);
  made.set(data.subarray(0, length));
  return made;
}

function digest(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex").slice(0, 16);
}
