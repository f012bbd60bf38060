/** The control directory `/.tarbox`: synthetic inodes whose files are commands (spec/control.md). */
import { utf8 } from "../base/bytes.ts";
import { S_IFDIR, S_IFREG } from "../base/modes.ts";
import { SYNTHETIC_INODE } from "../store/rows.ts";
import type { Attributes } from "./operations.ts";

const READABLE = 0o444;
const WRITABLE = 0o644;
const COMMAND = 0o200;

/** Path below `/.tarbox` and permission bits; directories end with a slash. */
const TREE: readonly (readonly [path: string, mode: number])[] = [
  ["", 0o755],
  ["layers/", 0o755],
  ["layers/new", COMMAND],
  ["layers/switch", COMMAND],
  ["layers/drop", COMMAND],
  ["layers/diff", WRITABLE],
  ["layers/list", READABLE],
  ["layers/current", READABLE],
  ["layers/tree", READABLE],
  ["layers/last_error", READABLE],
  ["stats/", 0o755],
  ["stats/usage", READABLE],
  ["stats/cache", READABLE],
  ["stats/mount", READABLE],
  ["at/", 0o555],
];

/** Name of the directory in the root. */
export const CONTROL_NAME: Uint8Array = utf8(".tarbox");

/** One synthetic inode. */
export interface ControlNode {
  readonly inode: number;
  /** Path below `/.tarbox`: also the name of the command. */
  readonly path: string;
  readonly name: Uint8Array;
  readonly directory: boolean;
  readonly mode: number;
  readonly parent: number;
}

const NODES: readonly ControlNode[] = TREE.map(([path, mode], i) => {
  const directory = path === "" || path.endsWith("/");
  const bare = path.replace(/\/$/, "");
  const above = bare.includes("/") ? `${bare.slice(0, bare.indexOf("/"))}/` : "";
  return {
    inode: SYNTHETIC_INODE + i,
    path: bare,
    name: utf8(bare.slice(bare.lastIndexOf("/") + 1)),
    directory,
    mode: (directory ? S_IFDIR : S_IFREG) | mode,
    parent: SYNTHETIC_INODE + TREE.findIndex(([candidate]) => candidate === above),
  };
});

/** The directory `/.tarbox` itself. */
export const CONTROL_ROOT: ControlNode = NODES[0]!;

/** The synthetic inode of a number, or undefined. */
export function controlNode(inode: number): ControlNode | undefined {
  return inode < SYNTHETIC_INODE ? undefined : NODES[inode - SYNTHETIC_INODE];
}

/** What a synthetic directory holds. */
export function controlChildren(directory: ControlNode): readonly ControlNode[] {
  return NODES.filter((node) => node.parent === directory.inode && node !== directory);
}

/** What stat(2) tells of a synthetic inode. */
export function controlAttributes(
  node: ControlNode,
  owner: { readonly uid: number; readonly gid: number },
  time: bigint,
): Attributes {
  return {
    inode: node.inode,
    mode: node.mode,
    ...owner,
    nlink: node.directory ? 2 : 1,
    size: 0,
    blocks: 0,
    rdev: 0,
    atime: time,
    mtime: time,
    ctime: time,
    btime: time,
    validSeconds: 0,
  };
}
