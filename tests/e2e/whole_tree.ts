/**
 * Everything that a program can see of a tree: of each entry its type, mode, owner, links, inode
 * number, size, blocks, times in nanoseconds, device and xattrs; the target of each link and the
 * SHA-256 of each content.
 */
export interface WholeTree {
  readonly attributes: readonly string[];
  readonly contents: readonly string[];
}

const ATTRIBUTES = String
  .raw`find . -name .tarbox -prune -o -printf '%P\t%y %m %U %G %n %i %s %b %T@ %C@ %A@\0'`;
const XATTRS = "find . -print0 | xargs -0 getfattr -h -d -m - -e hex 2>&1";
/** Targets of links are contents, too: reading them moves their access times. */
const CONTENTS = String.raw`find . -name .tarbox -prune -o -type l -printf '%P\t%l\0'
  find . -type f -print0 | xargs -0 sha256sum -z`;

/**
 * Reads a whole tree.
 * @param order reading contents moves access times: to compare two states in those, too, the first
 *   is read contents first, the second contents last
 */
export async function wholeTree(
  directory: string,
  order: "contents-first" | "contents-last",
): Promise<WholeTree> {
  let contents: string[] = [];
  if (order === "contents-first") contents = await records(directory, CONTENTS, "\0");
  const attributes = await records(directory, ATTRIBUTES, "\0");
  if (order === "contents-last") contents = await records(directory, CONTENTS, "\0");
  const xattrs = await records(directory, XATTRS, "\n\n");
  return { attributes: [...attributes, ...xattrs], contents };
}

async function records(cwd: string, script: string, separator: string): Promise<string[]> {
  const { stdout, stderr, success } = await new Deno.Command("/bin/sh", {
    args: ["-c", script],
    cwd,
  }).output();
  if (!success) throw new Error(`${script}: ${new TextDecoder().decode(stderr)}`);
  // One character a byte: names need not be UTF-8.
  const text = new TextDecoder("latin1").decode(stdout);
  return text.split(separator).filter((record) => record !== "").sort();
}

/** @throws {Error} that shows the first entries in which the two differ */
export function assertSameTree(before: WholeTree, after: WholeTree): void {
  for (const part of ["contents", "attributes"] as const) {
    const [was, is] = [new Set(before[part]), new Set(after[part])];
    const gone = before[part].filter((record) => !is.has(record)).slice(0, 5);
    const come = after[part].filter((record) => !was.has(record)).slice(0, 5);
    if (gone.length + come.length > 0) {
      throw new Error(`${part} differ:\n- ${gone.join("\n- ")}\n+ ${come.join("\n+ ")}`);
    }
  }
}
