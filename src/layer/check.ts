import { createHash } from "node:crypto";
import { equalBytes, latin1 } from "../base/bytes.ts";
import { InvariantError } from "../base/errors.ts";
import { isDirectory, isRegular } from "../base/modes.ts";
import {
  allocatedBytes,
  BLOCK_SIZE,
  type BlockRow,
  type Chain,
  type DentryRow,
  type InodeRow,
  type Point,
  ROOT_INODE,
} from "../store/rows.ts";
import type { Reader } from "../store/store.ts";
import { batches, dentryKey, keysOf, PathBuilder, readBatched } from "./chains.ts";
import { quotePath } from "./format.ts";

/** Contents that are read and hashed together: at most 8 MiB. */
const CONTENTS_AT_ONCE = 64;

/** What a check of one state found. */
export interface CheckReport {
  /** One line each; none means that every invariant holds. */
  readonly violations: readonly string[];
  readonly inodes: number;
  readonly dentries: number;
  readonly blocks: number;
  /** Distinct contents that were read and hashed. */
  readonly contents: number;
  /** Inodes without a name that were open when the state was sealed; they are no violation. */
  readonly unlinked: number;
}

/**
 * Checks every invariant of spec/layers.md on one state. The state must not change meanwhile: a
 * sealed layer never does; of a head that is being written, reads at different moments would show
 * different states, so its callers seal it first.
 */
export async function checkState(reader: Reader, point: Point): Promise<CheckReport> {
  const chain = await reader.chain(point);
  const segments = chain.map(({ lineage, ordinal }) => ({ lineage, after: -1, upto: ordinal }));
  const [keys, counters] = await Promise.all([
    keysOf(reader, segments),
    reader.counters(point.lineage),
  ]);
  const rows = await readBatched(
    [...new Set([ROOT_INODE, ...keys.inodes])],
    (batch) => reader.inodes(chain, batch),
  );
  const inodes = new Map(rows.map((row) => [row.inode, row]));
  const dentries = await visibleDentries(reader, chain, keys.inodes, counters.nextInode);
  const paths = new PathBuilder(reader, chain);
  await paths.load(inodes.keys());
  const report = new Report(paths);

  checkDentries(report, inodes, dentries, counters.nextCookie);
  checkLinks(report, inodes, dentries);
  for (const number of inodes.keys()) {
    if (number < counters.nextInode) continue;
    report.add(number, `its number is not below the counter ${counters.nextInode}`);
  }
  await checkLookups(report, reader, chain, keys.dentries, dentries);
  const { blocks, contents } = await checkBlocks(report, reader, chain, inodes);
  return {
    violations: report.lines,
    inodes: inodes.size,
    dentries: dentries.length,
    blocks,
    contents,
    unlinked: rows.filter((row) => row.nlink === 0).length,
  };
}

class Report {
  readonly lines: string[] = [];

  constructor(private readonly paths: PathBuilder) {}

  /** A violation told of an inode, by number and, where it has one, path. */
  add(inode: number, what: string): void {
    const name = this.paths.names(inode)[0];
    const directory = name === undefined ? null : this.paths.directory(name.parent);
    const path = directory === null ? "" : ` ${quotePath(`${directory}/${latin1(name!.name)}`)}`;
    this.lines.push(`inode ${inode}${path}: ${what}`);
  }
}

/**
 * Every visible name, also one of an inode that is missing: all numbers that were ever given are
 * asked for, not only those that have rows.
 */
async function visibleDentries(
  reader: Reader,
  chain: Chain,
  changed: readonly number[],
  nextInode: number,
): Promise<DentryRow[]> {
  const numbers = new Set(changed);
  for (let number = 1; number < nextInode; number++) numbers.add(number);
  return await readBatched([...numbers], (batch) => reader.names(chain, batch));
}

function checkDentries(
  report: Report,
  inodes: ReadonlyMap<number, InodeRow>,
  dentries: readonly DentryRow[],
  nextCookie: number,
): void {
  const keys = new Set<string>();
  const cookies = new Set<string>();
  for (const { parent, name, child, cookie } of dentries) {
    const shown = quotePath(latin1(name));
    if (!inodes.has(child)) report.add(parent, `its entry ${shown} names inode ${child}: missing`);
    const directory = inodes.get(parent);
    if (directory === undefined) report.add(child, `its directory, inode ${parent}, is missing`);
    else if (!isDirectory(directory.mode)) {
      report.add(parent, `it is no directory but holds the entry ${shown}`);
    }
    if (name.length === 0 || name.length > 255 || name.includes(0) || name.includes(0x2f)) {
      report.add(child, `${shown} is no file name`);
    }
    const key = dentryKey(parent, name);
    if (keys.has(key)) report.add(parent, `the entry ${shown} is there twice`);
    keys.add(key);
    const position = `${parent} ${cookie}`;
    if (cookies.has(position)) report.add(parent, `two entries have the cookie ${cookie}`);
    cookies.add(position);
    if (cookie >= nextCookie) {
      report.add(parent, `the cookie ${cookie} is not below the counter ${nextCookie}`);
    }
  }
}

/** Link counts, one name for each directory, and that everything hangs on the root. */
function checkLinks(
  report: Report,
  inodes: ReadonlyMap<number, InodeRow>,
  dentries: readonly DentryRow[],
): void {
  const root = inodes.get(ROOT_INODE);
  if (root === undefined || !isDirectory(root.mode)) {
    report.add(ROOT_INODE, "the root directory is missing");
  }
  const names = Map.groupBy(dentries, (dentry) => dentry.child);
  const children = Map.groupBy(dentries, (dentry) => dentry.parent);
  for (const { inode, mode, nlink } of inodes.values()) {
    const count = names.get(inode)?.length ?? 0;
    if (!isDirectory(mode)) {
      if (nlink !== count) report.add(inode, `nlink ${nlink}, but it has ${count} names`);
      continue;
    }
    if (inode === ROOT_INODE ? count !== 0 : count !== 1 && nlink !== 0) {
      report.add(inode, `a directory with ${count} names`);
    }
    const below = children.get(inode) ?? [];
    if (nlink === 0) {
      if (count > 0 || below.length > 0) report.add(inode, "nlink 0, but it is in use");
      continue;
    }
    const subdirectories = below.filter(({ child }) => isDirectory(inodes.get(child)?.mode ?? 0));
    if (nlink !== 2 + subdirectories.length) {
      report.add(inode, `nlink ${nlink}, but it has ${subdirectories.length} subdirectories`);
    }
  }
  const reached = new Set([ROOT_INODE]);
  const todo = [ROOT_INODE];
  while (todo.length > 0) {
    for (const { child } of children.get(todo.pop()!) ?? []) {
      if (reached.has(child)) continue;
      reached.add(child);
      todo.push(child);
    }
  }
  for (const { inode, nlink } of inodes.values()) {
    // A name count of zero with links was told already.
    if (!reached.has(inode) && nlink > 0 && names.has(inode)) {
      report.add(inode, "it cannot be reached from the root");
    }
  }
}

/** Names found from above and names found from below are the same. */
async function checkLookups(
  report: Report,
  reader: Reader,
  chain: Chain,
  keys: readonly { readonly parent: number; readonly name: Uint8Array }[],
  dentries: readonly DentryRow[],
): Promise<void> {
  const byKey = new Map(dentries.map((row) => [dentryKey(row.parent, row.name), row]));
  const entries = await readBatched(keys, (batch) => reader.lookup(chain, batch));
  for (const { dentry } of entries) {
    const other = byKey.get(dentryKey(dentry.parent, dentry.name));
    if (other?.child === dentry.child) continue;
    report.add(
      dentry.parent,
      `its entry ${quotePath(latin1(dentry.name))} names inode ${dentry.child}, ` +
        `which ${other === undefined ? "does not know the name" : "another inode has, too"}`,
    );
  }
}

async function checkBlocks(
  report: Report,
  reader: Reader,
  chain: Chain,
  inodes: ReadonlyMap<number, InodeRow>,
): Promise<{ blocks: number; contents: number }> {
  let count = 0;
  /** Hash (hexadecimal) to a block that has it: each content is read once. */
  const contents = new Map<string, BlockRow>();
  for (const group of batches([...inodes.values()])) {
    const rows = await reader.blocks(chain, group.map(({ inode }) => inode));
    const byInode = Map.groupBy(rows, (row) => row.inode);
    count += rows.length;
    for (const inode of group) {
      const own = byInode.get(inode.inode) ?? [];
      if (own.length > 0 && !isRegular(inode.mode)) {
        report.add(inode.inode, "it has blocks but is no regular file");
      }
      let allocated = 0;
      for (const block of own) {
        checkBlock(report, inode, block);
        allocated += allocatedBytes(block.length);
        contents.set(`${block.hash.toHex()} ${block.length}`, block);
      }
      if (isRegular(inode.mode) && allocated !== inode.allocated) {
        report.add(inode.inode, `allocated is ${inode.allocated}, its blocks take ${allocated}`);
      }
    }
  }
  for (const group of batches([...contents.values()], CONTENTS_AT_ONCE)) {
    await checkContents(report, reader, group);
  }
  return { blocks: count, contents: contents.size };
}

function checkBlock(report: Report, { inode, size }: InodeRow, block: BlockRow): void {
  const { index, length, hash } = block;
  if (index < 0 || length < 1 || length > BLOCK_SIZE || hash.length !== 32) {
    report.add(inode, `block ${index}: ${length} bytes, a hash of ${hash.length} bytes`);
  }
  if (index * BLOCK_SIZE + length > size) {
    report.add(inode, `block ${index} ends after the end of the file at ${size}`);
  }
}

async function checkContents(
  report: Report,
  reader: Reader,
  blocks: readonly BlockRow[],
): Promise<void> {
  let data: Uint8Array[];
  try {
    data = await reader.contents(blocks.map((block) => block.hash));
  } catch (error) {
    if (!(error instanceof InvariantError)) throw error;
    // One of them is missing: halving finds which.
    if (blocks.length === 1) {
      const [block] = blocks;
      report.add(block!.inode, `block ${block!.index}: its content is missing`);
      return;
    }
    const half = blocks.length >> 1;
    await checkContents(report, reader, blocks.slice(0, half));
    await checkContents(report, reader, blocks.slice(half));
    return;
  }
  blocks.forEach((block, i) => {
    const bytes = data[i]!;
    if (bytes.length !== block.length) {
      report.add(
        block.inode,
        `block ${block.index}: ${block.length} bytes stored as ${bytes.length}`,
      );
    }
    if (!equalBytes(createHash("sha256").update(bytes).digest(), block.hash)) {
      report.add(block.inode, `block ${block.index}: its content does not have its hash`);
    }
  });
}
