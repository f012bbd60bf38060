import type { Command } from "commander";
import { fromLatin1, text } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import { ancestry } from "../layer/chains.ts";
import {
  compare,
  type Compared,
  diffFile,
  type FileDiff,
  nameStatusLine,
  renderFile,
  statLine,
  statusLetter,
  unifiedDiff,
} from "../layer/diff.ts";
import { findPath } from "../layer/file.ts";
import { history, historyLines } from "../layer/history.ts";
import { gitPatch } from "../layer/git_patch.ts";
import { layerFacts } from "../layer/commands.ts";
import { absolutePath } from "../layer/paths.ts";
import { type Resolved, splitReference } from "../layer/references.ts";
import { blame } from "../layer/blame.ts";
import { formatTime } from "../layer/format.ts";
import type { LayerRow, WorkspaceRow } from "../store/rows.ts";
import { examples } from "./examples.ts";
import { printJson, resolveFlushed } from "./layers_session.ts";
import { colored, type GlobalOptions, type Run, type Session, tell } from "./session.ts";

interface DiffOptions {
  readonly stat?: boolean;
  readonly nameStatus?: boolean;
  readonly color?: boolean;
  readonly git?: boolean;
  readonly renames?: boolean;
}

/** `diff` and `history`. */
export function addCompareCommands(program: Command, run: Run): void {
  program
    .command("diff")
    .description("what differs between two states; exit status 0 same, 1 different, 2 trouble")
    .argument("<A>", "reference of the older state")
    .argument("[B_AND_PATHS...]", "the newer one (default: head), then absolute paths")
    .option("--stat", "one line for each file")
    .option("--name-status", "A, D, M or R and the path")
    .option("--git", "as a patch for `git apply`, binary contents included")
    .option("--no-renames", "tell renamed files as removed and added, unless the inode is one")
    .option("--color", "colours (default: on a terminal, unless NO_COLOR is set)")
    .option("--no-color", "no colours")
    .addHelpText(
      "after",
      examples(
        "tarbox diff head~1",
        "tarbox diff ckpt-1 ckpt-2 /src --stat",
        "tarbox diff ckpt-1 ckpt-2 --git > changes.patch",
      ),
    )
    .action((from: string, rest: string[], options: DiffOptions, command: Command) =>
      run(command, async (session) => {
        try {
          return await diff(session, from, rest, options);
        } catch (error) {
          tell(error, command.optsWithGlobals<GlobalOptions>().debug ?? false);
          return 2;
        }
      })
    );

  program
    .command("blame")
    .description("for each line of a text the layer that brought it, and when")
    .argument("<PATH>", "[REF:]PATH")
    .addHelpText("after", examples("tarbox blame /src/main.c", "tarbox blame ckpt-3:/src/main.c"))
    .action((path: string, _options: unknown, command: Command) =>
      run(command, (session) => showBlame(session, path))
    );

  program
    .command("history")
    .description("each layer in which PATH changed, newest first; follows renames")
    .argument("<PATH>", "absolute path in the workspace")
    .option("--patch", "with the changed lines")
    .addHelpText(
      "after",
      examples("tarbox history /package.json", "tarbox history --patch /package.json"),
    )
    .action((path: string, options: { patch?: boolean }, command: Command) =>
      run(command, (session) => showHistory(session, path, options.patch ?? false))
    );
}

async function diff(
  session: Session,
  from: string,
  rest: readonly string[],
  options: DiffOptions,
): Promise<number> {
  const [second, ...more] = rest;
  const secondIsPath = second !== undefined && /^\.?\//.test(second);
  const paths = (secondIsPath ? rest : more).map(absolutePath);
  const to = second === undefined || secondIsPath ? "head" : second;
  const [old, now] = [await resolveFlushed(session, from), await resolveFlushed(session, to)];
  const compared = await compare(
    session.store,
    {
      from: { point: old.point, label: label(session, old) },
      to: { point: now.point, label: label(session, now) },
    },
    paths,
    { renames: options.renames },
  );
  if (session.json) await printDiffJson(session, compared);
  else if (options.nameStatus) {
    for (const change of compared.changes) await session.out(nameStatusLine(change));
  } else if (options.stat) await printStat(session, compared);
  else if (options.git) {
    for await (const part of gitPatch(session.store, compared)) await session.out(part);
  } else {
    const color = options.color ?? colored();
    for await (const part of unifiedDiff(session.store, compared, { color })) {
      await session.out(part);
    }
  }
  return compared.changes.length > 0 ? 1 : 0;
}

/** A state of another workspace is labelled with that workspace's name. */
function label(session: Session, resolved: Resolved): string {
  return resolved.workspace.name === session.workspace
    ? resolved.label
    : `${resolved.workspace.name}/${resolved.label}`;
}

async function printStat(session: Session, compared: Compared): Promise<void> {
  const total = { added: 0, removed: 0, modified: 0 };
  for (const change of compared.changes) {
    const file = await diffFile(session.store, compared, change);
    total.added += file.added;
    total.removed += file.removed;
    total.modified += file.modified;
    await session.out(statLine(file));
  }
  await session.out(
    ` ${compared.changes.length} paths differ, +${total.added} -${total.removed} ~${total.modified}\n`,
  );
}

async function printDiffJson(session: Session, compared: Compared): Promise<void> {
  const changes = [];
  for (const change of compared.changes) {
    changes.push(fileFacts(await diffFile(session.store, compared, change)));
  }
  await printJson(session, { from: compared.from.label, to: compared.to.label, changes });
}

function fileFacts(file: FileDiff) {
  const { change } = file;
  return {
    status: statusLetter(change),
    path: text(change.path),
    oldPath: change.oldPath === null ? null : text(change.oldPath),
    form: file.form,
    added: file.added,
    removed: file.removed,
    modified: file.modified,
    sizeBefore: change.before?.size ?? null,
    sizeAfter: change.after?.size ?? null,
    modeBefore: change.before?.mode ?? null,
    modeAfter: change.after?.mode ?? null,
  };
}

async function showBlame(session: Session, argument: string): Promise<void> {
  const { store } = session;
  const { ref, path } = splitReference(argument);
  const resolved = await resolveFlushed(session, ref);
  const all = await store.layers();
  const below = ancestry(all, resolved.layer?.id ?? resolved.workspace.base);
  const head = resolved.layer === null ? headRow(resolved.workspace) : null;
  const chain = head === null ? below : [head, ...below];
  const lines = await blame(store, chain, absolutePath(path), head);
  if (session.json) {
    return await printJson(
      session,
      lines.map(({ layer, text: line }, i) => ({
        line: i + 1,
        layer: layer === null ? null : layerFacts(layer),
        text: text(fromLatin1(line.replace(/\n$/, ""))),
      })),
    );
  }
  const name = (layer: LayerRow | null) => layer?.name ?? "head";
  const width = Math.max(0, ...lines.map(({ layer }) => name(layer).length));
  const digits = String(lines.length).length;
  const unsealed = "not sealed yet".padEnd(19);
  await session.out(fromLatin1(
    lines.map(({ layer, text }, i) => {
      const time = layer === null ? unsealed : formatTime(layer.createdAt);
      const place = String(i + 1).padStart(digits);
      return `${name(layer).padEnd(width)}  ${time}  ${place}) ${text.replace(/\n$/, "")}\n`;
    }).join(""),
  ));
}

/** The unsealed head as if it were a layer. */
function headRow({ id, head, base }: WorkspaceRow): LayerRow {
  const none = { id: -1, uid: "", message: "", createdAt: new Date() };
  return { ...none, workspace: id, name: "head", point: head, parent: base };
}

async function showHistory(session: Session, path: string, patch: boolean): Promise<number> {
  const { store } = session;
  const row = await session.row();
  const layers = ancestry(await store.layers(), row.base);
  const wanted = absolutePath(path);
  const facts = [];
  let found = false;
  for await (const entry of history(store, layers, wanted)) {
    found = true;
    if (session.json) {
      facts.push({
        layer: layerFacts(entry.layer),
        lines: entry.file.lines,
        ...fileFacts(entry.file),
      });
      continue;
    }
    await session.out(fromLatin1(historyLines(entry)));
    if (patch) {
      await session.out(renderFile(entry.file, {
        from: { point: null, label: entry.parent?.name ?? "empty" },
        to: { point: null, label: entry.layer.name },
      }));
    }
  }
  if (!found && await findPath(store, await store.chain(row.head), wanted, false) === null) {
    throw new TarboxError(
      `history of ${path}: no layer of ${session.workspace} has it`,
      "`tarbox ls REF:PATH` shows what a layer has",
    );
  }
  if (session.json) await printJson(session, facts);
  return 0;
}
