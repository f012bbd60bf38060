import type { Command } from "commander";
import { concatBytes, fromLatin1, latin1, text, utf8 } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import { isDirectory, isRegular } from "../base/modes.ts";
import { listDirectory, type Place, readFile, resolvePath } from "../layer/file.ts";
import { formatMode, formatTime } from "../layer/format.ts";
import { splitReference } from "../layer/references.ts";
import type { Chain, InodeRow } from "../store/rows.ts";
import { unpackXattrs } from "../store/xattrs.ts";
import { examples } from "./examples.ts";
import { printJson, resolveFlushed } from "./layers_session.ts";
import type { Run, Session } from "./session.ts";

/** `ls`, `cat`, `stat` and `tree` on `[REF:]PATH`, without a mount. */
export function addReadCommands(program: Command, run: Run): void {
  program
    .command("ls")
    .description("names in a directory")
    .argument("[PATH]", "[REF:]PATH", "/")
    .option("-l, --long", "with mode, links, owner, size and time")
    .addHelpText("after", examples("tarbox ls -l /src", "tarbox ls ckpt-3:/"))
    .action((path: string, options: { long?: boolean }, command: Command) =>
      run(command, (session) => list(session, path, options.long ?? false))
    );

  program
    .command("cat")
    .description("write the content of files to standard output")
    .argument("<PATHS...>", "[REF:]PATH")
    .addHelpText("after", examples("tarbox cat /package.json", "tarbox cat ckpt-3:/package.json"))
    .action((paths: string[], _options: unknown, command: Command) =>
      run(command, async (session) => {
        for (const path of paths) await cat(session, path);
      })
    );

  program
    .command("stat")
    .description("facts of a file")
    .argument("<PATHS...>", "[REF:]PATH")
    .addHelpText(
      "after",
      examples("tarbox stat /package.json", "tarbox stat --json ckpt-3:/package.json"),
    )
    .action((paths: string[], _options: unknown, command: Command) =>
      run(command, async (session) => {
        const facts = [];
        for (const path of paths) {
          const { place } = await open(session, path, false);
          if (session.json) facts.push(inodeFacts(place.path, place.inode));
          else await session.out(statText(place));
        }
        if (session.json) await printJson(session, facts.length === 1 ? facts[0] : facts);
      })
    );

  program
    .command("tree")
    .description("everything in a directory and below")
    .argument("[PATH]", "[REF:]PATH", "/")
    .addHelpText("after", examples("tarbox tree", "tarbox tree ckpt-3:/src"))
    .action((path: string, _options: unknown, command: Command) =>
      run(command, (session) => tree(session, path))
    );
}

async function open(
  session: Session,
  argument: string,
  follow = true,
): Promise<{ chain: Chain; place: Place }> {
  const { ref, path } = splitReference(argument);
  const { point } = await resolveFlushed(session, ref);
  const chain = await session.store.chain(point);
  return { chain, place: await resolvePath(session.store, chain, utf8(path), follow) };
}

async function list(session: Session, argument: string, long: boolean): Promise<void> {
  const { chain, place } = await open(session, argument);
  const rows = isDirectory(place.inode.mode)
    ? (await listDirectory(session.store, chain, place.inode.inode))
      .map(({ dentry, inode }) => ({ name: dentry.name, inode }))
    : [{ name: place.path, inode: place.inode }];
  if (session.json) {
    return await printJson(session, rows.map(({ name, inode }) => inodeFacts(name, inode)));
  }
  const width = Math.max(...rows.map(({ inode }) => String(inode.size).length), 1);
  const newline = utf8("\n");
  const lines = rows.map(({ name, inode }) => {
    if (!long) return concatBytes([name, newline]);
    const facts = `${formatMode(inode.mode)} ${String(inode.nlink).padStart(3)} ${inode.uid}:` +
      `${inode.gid} ${String(inode.size).padStart(width)} ${formatTime(timeOf(inode.mtime))} `;
    const target = inode.target === null ? [] : [utf8(" -> "), inode.target];
    return concatBytes([utf8(facts), name, ...target, newline]);
  });
  await session.out(concatBytes(lines));
}

async function cat(session: Session, argument: string): Promise<void> {
  const { chain, place } = await open(session, argument);
  if (!isRegular(place.inode.mode)) {
    const kind = isDirectory(place.inode.mode) ? "it is a directory" : "it is no regular file";
    throw new TarboxError(`cat ${argument}: ${kind}`);
  }
  for await (const part of readFile(session.store, chain, place.inode)) await session.out(part);
}

async function tree(session: Session, argument: string): Promise<void> {
  const { chain, place } = await open(session, argument);
  const counts = { directories: 0, files: 0 };
  interface Node {
    readonly name: string;
    readonly mode: number;
    readonly size: number;
    readonly children?: readonly Node[];
  }
  const lines: string[] = [latin1(place.path)];
  const below = async (directory: number, indent: string): Promise<Node[]> => {
    const nodes: Node[] = [];
    const entries = await listDirectory(session.store, chain, directory);
    for (const [i, { dentry, inode }] of entries.entries()) {
      const last = i === entries.length - 1;
      const target = inode.target === null ? "" : ` -> ${latin1(inode.target)}`;
      const branch = latin1(utf8(last ? "└── " : "├── "));
      lines.push(`${indent}${branch}${latin1(dentry.name)}${target}`);
      const node = { name: text(dentry.name), mode: inode.mode, size: inode.size };
      if (!isDirectory(inode.mode)) {
        counts.files++;
        nodes.push(node);
        continue;
      }
      counts.directories++;
      const deeper = indent + latin1(utf8(last ? "    " : "│   "));
      nodes.push({ ...node, children: await below(inode.inode, deeper) });
    }
    return nodes;
  };
  const children = isDirectory(place.inode.mode) ? await below(place.inode.inode, "") : [];
  if (session.json) {
    return await printJson(session, { path: text(place.path), children, ...counts });
  }
  lines.push("", `${counts.directories} directories, ${counts.files} files`);
  await session.out(fromLatin1(lines.map((line) => `${line}\n`).join("")));
}

function timeOf(nanoseconds: bigint): Date {
  return new Date(Number(nanoseconds / 1_000_000n));
}

/** Facts of an inode as `ls --json` and `stat --json` show them. Times are ISO with nanoseconds. */
function inodeFacts(name: Uint8Array, inode: InodeRow) {
  const iso = (time: bigint) => {
    const fraction = ((time % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
    const seconds = new Date(Number((time - fraction) / 1_000_000n)).toISOString().slice(0, 19);
    return `${seconds}.${String(fraction).padStart(9, "0")}Z`;
  };
  return {
    name: text(name),
    inode: inode.inode,
    mode: inode.mode,
    permissions: formatMode(inode.mode),
    uid: inode.uid,
    gid: inode.gid,
    nlink: inode.nlink,
    size: inode.size,
    allocated: inode.allocated,
    rdev: inode.rdev,
    atime: iso(inode.atime),
    mtime: iso(inode.mtime),
    ctime: iso(inode.ctime),
    btime: iso(inode.btime),
    target: inode.target === null ? null : text(inode.target),
    xattrs: unpackXattrs(inode.xattrs).map(({ name, value }) => ({
      name: text(name),
      value: value.toBase64(),
    })),
  };
}

function statText({ path, inode }: Place): Uint8Array {
  const facts = inodeFacts(path, inode);
  const lines = [
    `  Size: ${inode.size}  Blocks: ${Math.ceil(inode.allocated / 512)}  Inode: ${inode.inode}  ` +
    `Links: ${inode.nlink}`,
    `Access: (${(inode.mode & 0o7777).toString(8).padStart(4, "0")}/${facts.permissions})  ` +
    `Uid: ${inode.uid}  Gid: ${inode.gid}`,
    `Access: ${facts.atime}`,
    `Modify: ${facts.mtime}`,
    `Change: ${facts.ctime}`,
    ` Birth: ${facts.btime}`,
  ];
  const target = inode.target === null ? [] : [utf8(" -> "), inode.target];
  return concatBytes([utf8("  File: "), path, ...target, utf8("\n" + lines.join("\n") + "\n")]);
}
