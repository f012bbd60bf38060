import { fromLatin1, latin1 } from "../base/bytes.ts";
import { isDirectory } from "../base/modes.ts";
import { dentryKey, PathBuilder, readBatched } from "../layer/chains.ts";
import { type Chain, type InodeRow, ROOT_INODE } from "../store/rows.ts";
import type { Reader } from "../store/store.ts";

/**
 * Paths of images: relative, without a slash at either end, `""` the root, one character per byte,
 * so that the order of strings is the order of bytes.
 */
export type ImagePath = string;

/** The directory that a path is in; of the root: the root. */
export function parentPath(path: ImagePath): ImagePath {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "" : path.slice(0, slash);
}

/** The last component of a path. */
export function baseName(path: ImagePath): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Path of a name in a directory. */
export function joinPath(directory: ImagePath, name: string): ImagePath {
  return directory === "" ? name : `${directory}/${name}`;
}

/** The inodes that these paths name in one state; paths that name nothing are left out. */
export async function resolvePaths(
  reader: Reader,
  chain: Chain,
  paths: Iterable<ImagePath>,
): Promise<Map<ImagePath, InodeRow>> {
  const levels: Set<ImagePath>[] = [];
  for (const path of paths) {
    for (let at = path; at !== ""; at = parentPath(at)) {
      const level = levels[at.split("/").length - 1] ??= new Set();
      if (level.has(at)) break;
      level.add(at);
    }
  }
  const found = new Map<ImagePath, InodeRow>();
  if (chain.length === 0) return found;
  for (const root of await reader.inodes(chain, [ROOT_INODE])) found.set("", root);
  for (const level of levels) {
    const asked = new Map<string, ImagePath>();
    const keys: { parent: number; name: Uint8Array }[] = [];
    for (const path of level ?? []) {
      const parent = found.get(parentPath(path));
      if (parent === undefined || !isDirectory(parent.mode)) continue;
      const key = { parent: parent.inode, name: fromLatin1(baseName(path)) };
      keys.push(key);
      asked.set(dentryKey(key.parent, key.name), path);
    }
    for (const { dentry, inode } of await readBatched(keys, (some) => reader.lookup(chain, some))) {
      found.set(asked.get(dentryKey(dentry.parent, dentry.name))!, inode);
    }
  }
  return found;
}

/** All paths of each of these inodes in one state, in order. */
export async function pathsOfInodes(
  reader: Reader,
  chain: Chain,
  inodes: readonly number[],
): Promise<Map<number, ImagePath[]>> {
  const builder = new PathBuilder(reader, chain);
  await builder.load(inodes);
  const out = new Map<number, ImagePath[]>();
  for (const inode of inodes) {
    const paths: ImagePath[] = [];
    for (const { parent, name } of builder.names(inode)) {
      const directory = builder.directory(parent);
      if (directory !== null) paths.push(joinPath(directory.slice(1), latin1(name)));
    }
    out.set(inode, paths.sort());
  }
  return out;
}
