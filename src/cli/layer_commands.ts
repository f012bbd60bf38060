import type { Command } from "commander";
import { ancestry } from "../layer/chains.ts";
import { drop, rename, squash } from "../layer/checkpoint.ts";
import { type LayerFacts, layerFacts } from "../layer/commands.ts";
import { formatSize, formatTime } from "../layer/format.ts";
import { layerUsage } from "../layer/usage.ts";
import type { LayerRow, WorkspaceRow } from "../store/rows.ts";
import { examples } from "./examples.ts";
import { addCompareCommands } from "./layers_compare.ts";
import { addInspectCommands } from "./layers_inspect.ts";
import { addReadCommands } from "./layers_read.ts";
import { onWorkspace, printJson } from "./layers_session.ts";
import type { Run, Session } from "./session.ts";

/** Digits of an id that listings show. */
const SHOWN_DIGITS = 12;

interface SwitchFacts {
  readonly layer: LayerFacts;
  readonly saved: LayerFacts | null;
}

/** What `merge` answers. */
export interface MergeFacts {
  readonly from: string;
  readonly actions: readonly { readonly kind: string; readonly path: string }[];
  readonly conflicts: readonly {
    readonly path: string;
    readonly why: string;
    readonly file: string | null;
  }[];
  readonly saved: LayerFacts | null;
}

interface RestoreFacts {
  readonly from: string;
  readonly changes: number;
  readonly saved: LayerFacts | null;
}

/** Commands on layers, on what is in them, and on workspaces. */
export function addLayerCommands(program: Command, run: Run): void {
  addHeadCommands(program, run);
  addUpkeepCommands(program, run);
  addCompareCommands(program, run);
  addReadCommands(program, run);
  addInspectCommands(program, run);
  program
    .command("layers")
    .description("the chain below the head, newest first")
    .option("--tree", "all workspaces and forks")
    .addHelpText("after", examples("tarbox layers", "tarbox layers --tree"))
    .action((options: { tree?: boolean }, command: Command) =>
      run(command, (session) => options.tree ? showTree(session) : showChain(session))
    );
}

function addHeadCommands(program: Command, run: Run): void {
  program
    .command("checkpoint")
    .description("seal the head as a layer and print its name")
    .argument("[NAME]", "its name (default: ckpt-N)")
    .option("-m, --message <TEXT>", "what it is for")
    .addHelpText(
      "after",
      examples("tarbox checkpoint", 'tarbox checkpoint before-upgrade -m "npm 10, all tests pass"'),
    )
    .action((name: string | undefined, options: { message?: string }, command: Command) =>
      run(command, async (session) => {
        const argument = { name, message: options.message };
        const layer = await onWorkspace(session, "checkpoint", argument) as LayerFacts;
        if (session.json) return await printJson(session, layer);
        await session.out(`${layer.name}\n`);
      })
    );

  program
    .command("switch")
    .description("put a fresh head on a layer; what is unsealed is sealed first as auto-…")
    .argument("<REF>", "the layer to stand on")
    .option("--discard", "forget what is unsealed")
    .addHelpText(
      "after",
      examples(
        "tarbox switch before-upgrade",
        "tarbox switch '@{2026-01-15 10:30}'",
        "tarbox switch --discard head~1",
      ),
    )
    .action((ref: string, options: { discard?: boolean }, command: Command) =>
      run(command, async (session) => {
        const argument = { ref, discard: options.discard ?? false };
        await tellSwitch(session, await onWorkspace(session, "switch", argument) as SwitchFacts);
      })
    );

  program
    .command("undo")
    .description("take back what was done since the last layer, or else that layer; it stays kept")
    .addHelpText("after", examples("tarbox undo"))
    .action((_options: unknown, command: Command) =>
      run(command, async (session) => {
        await tellSwitch(session, await onWorkspace(session, "undo", {}) as SwitchFacts);
      })
    );

  program
    .command("restore")
    .description("bring paths back as they were in a layer; what is unsealed is sealed first")
    .argument("<REF>", "the layer that has them as they should be")
    .argument("<PATHS...>", "absolute paths in the workspace")
    .addHelpText(
      "after",
      examples(
        "tarbox restore before-upgrade /src/main.c",
        "tarbox restore head~1 /etc /package.json",
      ),
    )
    .action((ref: string, paths: string[], _options: unknown, command: Command) =>
      run(command, async (session) => {
        const facts = await onWorkspace(session, "restore", { ref, paths }) as RestoreFacts;
        if (session.json) return await printJson(session, facts);
        if (session.quiet) return;
        if (facts.saved !== null) {
          await session.out(`sealed what was unsealed as ${facts.saved.name}\n`);
        }
        await session.out(`${facts.changes} paths restored from ${facts.from}\n`);
      })
    );

  program
    .command("merge")
    .description("bring what a layer changed into the head; exit status 1 when something conflicts")
    .argument("<REF>", "the state to take from; a fork's head is WORKSPACE/head")
    .option("--dry-run", "only tell what would be done")
    .addHelpText(
      "after",
      examples("tarbox merge --dry-run attempt/head", "tarbox merge attempt/head"),
    )
    .action((ref: string, options: { dryRun?: boolean }, command: Command) =>
      run(command, async (session) => {
        const argument = { ref, dryRun: options.dryRun ?? false };
        const facts = await onWorkspace(session, "merge", argument) as MergeFacts;
        await tellMerge(session, facts);
        return facts.conflicts.length > 0 ? 1 : 0;
      })
    );

  program
    .command("fork")
    .description("make a workspace that stands on a layer")
    .argument("<NAME>", "the new workspace")
    .option("--from <REF>", "where it starts", "head")
    .addHelpText(
      "after",
      examples("tarbox fork attempt", "tarbox fork attempt --from before-upgrade"),
    )
    .action((name: string, options: { from: string }, command: Command) =>
      run(command, async (session) => {
        const made = await onWorkspace(session, "fork", { name, from: options.from });
        if (session.json) return await printJson(session, made);
        if (!session.quiet) await session.out(`${name}\n`);
      })
    );
}

async function tellMerge(session: Session, facts: MergeFacts): Promise<void> {
  if (session.json) return await printJson(session, facts);
  const { actions, conflicts, saved, from } = facts;
  if (!session.quiet) {
    if (saved !== null) await session.out(`sealed what was unsealed as ${saved.name}\n`);
    for (const { kind, path } of actions) await session.out(`${kind} ${path}\n`);
  }
  for (const { path, why, file } of conflicts) {
    await session.out(`conflict ${path}: ${why}${file === null ? "" : `; see ${file}`}\n`);
  }
  if (session.quiet) return;
  await session.out(
    `${from}: ${actions.length} paths taken, ${conflicts.length} in conflict\n`,
  );
}

async function tellSwitch(session: Session, { layer, saved }: SwitchFacts): Promise<void> {
  if (session.json) return await printJson(session, { layer, saved });
  if (session.quiet) return;
  if (saved !== null) await session.out(`sealed what was unsealed as ${saved.name}\n`);
  await session.out(`${session.workspace} stands on ${layer.name}\n`);
}

function addUpkeepCommands(program: Command, run: Run): void {
  program
    .command("rename")
    .description("give a layer another name")
    .argument("<REF>", "the layer")
    .argument("<NAME>", "its new name")
    .addHelpText("after", examples("tarbox rename ckpt-3 before-upgrade"))
    .action((ref: string, name: string, _options: unknown, command: Command) =>
      run(command, async (session) => {
        const layer = await rename(session.store, session.workspace, ref, name);
        if (session.json) await printJson(session, layerFacts(layer));
      })
    );

  program
    .command("drop")
    .description("forget a layer; what stands on it keeps its state")
    .argument("<REF>", "the layer to forget")
    .addHelpText("after", examples("tarbox drop ckpt-3"))
    .action((ref: string, _options: unknown, command: Command) =>
      run(command, async (session) => {
        const layer = await drop(session.store, session.workspace, ref);
        if (session.json) return await printJson(session, layerFacts(layer));
        if (!session.quiet) await session.out(`dropped ${layer.name}\n`);
      })
    );

  program
    .command("squash")
    .description("join the layers after A up to B into B")
    .argument("<A..B>", "A stays as it is; B takes in what came after it")
    .addHelpText("after", examples("tarbox squash ckpt-1..ckpt-9"))
    .action((range: string, _options: unknown, command: Command) =>
      run(command, async (session) => {
        const { layer, squashed } = await squash(session.store, session.workspace, range);
        if (session.json) {
          return await printJson(session, { layer: layerFacts(layer), squashed });
        }
        if (!session.quiet) await session.out(`${layer.name}: took in ${squashed} layers\n`);
      })
    );
}

async function showChain(session: Session): Promise<void> {
  const row = await session.row();
  const all = await session.store.layers();
  const chain = ancestry(all, row.base);
  const facts = await describe(session, chain, all, await session.store.workspaces());
  if (session.json) return await printJson(session, facts);
  const width = Math.max(0, ...facts.map(({ name }) => name.length));
  const lines = facts.map((layer) =>
    [
      layer.name.padEnd(width),
      layer.id.slice(0, SHOWN_DIGITS),
      formatTime(new Date(layer.createdAt)),
      `${layer.files} files`.padStart(9),
      formatSize(layer.bytes).padStart(9),
      layer.message,
    ].join("  ").trimEnd()
  );
  await session.out(lines.map((line) => `${line}\n`).join(""));
}

async function describe(
  session: Session,
  layers: readonly LayerRow[],
  all: readonly LayerRow[],
  workspaces: readonly WorkspaceRow[],
) {
  const usage = await layerUsage(session.store, layers, all);
  const names = new Map(workspaces.map(({ id, name }) => [id, name]));
  const uids = new Map(all.map(({ id, uid }) => [id, uid]));
  return layers.map((layer, i) => ({
    ...layerFacts(layer),
    workspace: names.get(layer.workspace) ?? null,
    parent: layer.parent === null ? null : uids.get(layer.parent) ?? null,
    heads: workspaces.filter(({ base }) => base === layer.id).map(({ name }) => name),
    files: usage[i]!.files,
    bytes: usage[i]!.bytes,
  }));
}

/** All layers of the tenant, oldest first; a branch is indented, a straight line is not. */
async function showTree(session: Session): Promise<void> {
  const [all, workspaces] = await Promise.all([
    session.store.layers(),
    session.store.workspaces(),
  ]);
  const facts = await describe(session, all, all, workspaces);
  if (session.json) return await printJson(session, facts);
  const children = Map.groupBy(facts, ({ parent }) => parent);
  const todo = (children.get(null) ?? []).map((layer) => ({ layer, depth: 0 })).reverse();
  let output = workspaces.filter(({ base }) => base === null)
    .map(({ name }) => `(empty)  <- ${name}\n`).join("");
  while (todo.length > 0) {
    const { layer, depth } = todo.pop()!;
    const heads = layer.heads.length === 0 ? "" : `  <- ${layer.heads.join(", ")}`;
    const where = layer.workspace === null ? "" : `${layer.workspace}/`;
    output += `${"  ".repeat(depth)}${where}${layer.name}  ${layer.id.slice(0, SHOWN_DIGITS)}  ` +
      `${formatTime(new Date(layer.createdAt))}  ${layer.files} files  ` +
      `${formatSize(layer.bytes)}${heads}\n`;
    const above = children.get(layer.id) ?? [];
    // The stack gives back what was pushed last: branches, oldest first, then the straight line on.
    const [first, ...branches] = above;
    if (first !== undefined) todo.push({ layer: first, depth });
    for (const branch of branches.reverse()) todo.push({ layer: branch, depth: depth + 1 });
  }
  await session.out(output);
}
