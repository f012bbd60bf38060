import type { Command } from "commander";
import { fromLatin1 } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import { parseSize } from "../base/quantity.ts";
import { checkState } from "../layer/check.ts";
import { drop } from "../layer/checkpoint.ts";
import type { LayerFacts, QuotaFacts } from "../layer/commands.ts";
import { formatSize, formatTime } from "../layer/format.ts";
import { requireWorkspace, resolve } from "../layer/references.ts";
import { deadEpoch, selfHolder, STALE_SECONDS } from "../mount/lease.ts";
import type { LayerRow, WorkspaceRow } from "../store/rows.ts";
import { examples } from "./examples.ts";
import { onWorkspace, printJson } from "./layers_session.ts";
import { held, type Run, type Session } from "./session.ts";

/** `fsck` and `workspace`. */
export function addInspectCommands(program: Command, run: Run): void {
  program
    .command("fsck")
    .description("check every invariant of a state; exit status 1 when one is broken")
    .argument("[REF]", "which state", "head")
    .addHelpText("after", examples("tarbox fsck", "tarbox fsck ckpt-3"))
    .action((ref: string, _options: unknown, command: Command) =>
      run(command, (session) => check(session, ref))
    );

  const workspace = program.command("workspace").description("the trees of this tenant");
  workspace
    .command("list")
    .description("all workspaces")
    .addHelpText("after", examples("tarbox workspace list"))
    .action((_options: unknown, command: Command) => run(command, listWorkspaces));
  workspace
    .command("info")
    .description("facts of one workspace")
    .argument("[NAME]", "default: --workspace")
    .addHelpText("after", examples("tarbox workspace info", "tarbox workspace info other --json"))
    .action((name: string | undefined, _options: unknown, command: Command) =>
      run(command, async (session) => {
        const row = await requireWorkspace(session.store, name ?? session.workspace);
        const facts = workspaceFacts(row, await session.store.layers());
        if (session.json) return await printJson(session, facts);
        const lines = Object.entries(facts).map(([field, value]) =>
          `${field}: ${typeof value === "object" ? JSON.stringify(value) : value}\n`
        );
        await session.out(lines.join(""));
      })
    );
  workspace
    .command("quota")
    .description("what a workspace's head may hold and holds; over it, writing gets EDQUOT")
    .option("--bytes <SIZE>", 'such as "10GB", or "none"')
    .option("--inodes <N>", 'files, directories and all else, or "none"')
    .addHelpText(
      "after",
      examples("tarbox workspace quota", "tarbox workspace quota --bytes 10GB --inodes none"),
    )
    .action((options: QuotaOptions, command: Command) =>
      run(command, (session) => quota(session, options))
    );
  workspace
    .command("delete")
    .description("remove a workspace and the layers it owns")
    .argument("<NAME>", "the workspace; nobody may have it mounted")
    .addHelpText("after", examples("tarbox workspace delete other"))
    .action((name: string, _options: unknown, command: Command) =>
      run(command, async (session) => {
        const row = await requireWorkspace(session.store, name);
        if (held(row)) {
          throw new TarboxError(
            `workspace ${name}: held by ${row.lease!.holder.host}:${row.lease!.holder.pid}`,
            "unmount it first",
          );
        }
        if (row.lease !== null) {
          // A holder that crashed never gave its lease back: take it, which fences him, and give it.
          const dead = deadEpoch(row.lease);
          const self = selfHolder(null);
          const lease = await session.store.attach(row.id, self, STALE_SECONDS, dead);
          await session.store.detach(row.id, lease.epoch);
        }
        await session.store.deleteWorkspace(row.id);
        if (session.json) return await printJson(session, { deleted: name });
        if (!session.quiet) await session.out(`deleted ${name}\n`);
      })
    );
}

/**
 * Checks a state. A head with something unsealed is sealed for the check, so that what is read cannot
 * change while it is read, and the layer is dropped again afterwards, which gives its changes back
 * to the head.
 */
async function check(session: Session, ref: string): Promise<number> {
  const { store } = session;
  let resolved = await resolve(store, session.workspace, ref);
  let seal: LayerFacts | null = null;
  if (resolved.layer === null) {
    const { name } = resolved.workspace;
    if (name !== session.workspace) {
      throw new TarboxError(
        `fsck ${ref}: the head of another workspace`,
        `\`tarbox --workspace ${name} fsck\` checks it`,
      );
    }
    seal = await onWorkspace(session, "seal", { message: "fsck" }) as LayerFacts | null;
    resolved = await resolve(store, session.workspace, ref);
    // Whatever is written from here on is above this layer.
    const { base: under } = resolved.workspace;
    const base = seal !== null
      ? await store.layerOfUid(seal.id)
      : under === null
      ? null
      : await store.layer(under);
    if (base !== null) resolved = { ...resolved, point: base.point };
  }
  try {
    const report = await checkState(store, resolved.point);
    if (session.json) {
      await printJson(session, { ...report, state: ref, clean: report.violations.length === 0 });
    } else {
      const lines = report.violations.map((line) => `${line}\n`).join("");
      const summary = `${ref}: ${report.violations.length} violations; ${report.inodes} inodes, ` +
        `${report.dentries} entries, ${report.blocks} blocks, ${report.contents} contents checked\n`;
      await session.out(fromLatin1(lines));
      if (!session.quiet) await session.out(summary);
    }
    return report.violations.length === 0 ? 0 : 1;
  } finally {
    if (seal !== null) await drop(store, session.workspace, seal.id);
  }
}

interface QuotaOptions {
  readonly bytes?: string;
  readonly inodes?: string;
}

async function quota(session: Session, options: QuotaOptions): Promise<void> {
  const limits = await session.store.limits((await session.row()).id);
  const bound = (text: string | undefined, parse: (text: string) => number, kept: number | null) =>
    text === undefined ? kept : text === "none" ? null : parse(text);
  const argument = options.bytes === undefined && options.inodes === undefined ? {} : {
    bytes: bound(options.bytes, (text) => parseSize("--bytes", text), limits.bytes),
    inodes: bound(options.inodes, (text) => parseCount("--inodes", text), limits.inodes),
  };
  const facts = await onWorkspace(session, "quota", argument) as QuotaFacts;
  if (session.json) return await printJson(session, facts);
  const line = (kind: string, used: string, limit: string | null) =>
    `${kind}: ${used} of ${limit ?? "any number"}\n`;
  await session.out(
    line("inodes", String(facts.usage.inodes), facts.limits.inodes?.toString() ?? null) +
      line(
        "bytes",
        formatSize(facts.usage.bytes),
        facts.limits.bytes === null ? null : formatSize(facts.limits.bytes),
      ),
  );
}

function parseCount(key: string, text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(count)) return count;
  throw new TarboxError(
    `${key}: ${JSON.stringify(text)} is no number`,
    'such as 100000, or "none"',
    2,
  );
}

async function listWorkspaces(session: Session): Promise<void> {
  const [workspaces, layers] = await Promise.all([
    session.store.workspaces(),
    session.store.layers(),
  ]);
  const facts = workspaces.map((row) => workspaceFacts(row, layers));
  if (session.json) return await printJson(session, facts);
  const width = Math.max(0, ...facts.map(({ name }) => name.length));
  const lines = facts.map((row, i) =>
    `${row.name.padEnd(width)}  ${formatTime(workspaces[i]!.createdAt)}  ` +
    `${row.layers} layers  on ${row.base ?? "(empty)"}${row.held ? "  held" : ""}\n`
  );
  await session.out(lines.join(""));
}

function workspaceFacts(row: WorkspaceRow, layers: readonly LayerRow[]) {
  return {
    name: row.name,
    createdAt: row.createdAt.toISOString(),
    base: layers.find((layer) => layer.id === row.base)?.name ?? null,
    layers: layers.filter((layer) => layer.workspace === row.id).length,
    held: held(row),
    holder: row.lease === null ? null : row.lease.holder,
  };
}
