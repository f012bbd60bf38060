import type { Command } from "commander";
import { TarboxError } from "../base/errors.ts";
import { resolveHome } from "../base/home.ts";
import { formatTime } from "../layer/format.ts";
import { askCounts } from "../mount/counts.ts";
import { runDaemon } from "../mount/daemon.ts";
import { type FoundRecord, readRecords } from "../mount/record.ts";
import { spawnDaemon } from "../mount/spawn.ts";
import { unmount } from "../mount/unmount.ts";
import { loadSettings } from "../mount/database.ts";
import { examples } from "./examples.ts";
import { alone, type GlobalOptions, held, print, type Run } from "./session.ts";

interface MountOptions extends GlobalOptions {
  readonly foreground?: boolean;
  readonly readOnly?: boolean;
  readonly at?: string;
  readonly allowOther?: boolean;
  readonly create?: boolean;
  readonly noatime?: boolean;
}

/** `mount`, `umount` and `status`. */
export function addMountCommands(program: Command, run: Run): void {
  program
    .command("mount")
    .description("mount the workspace on DIR and return once it serves")
    .argument("[DIR]", "where (default: filesystem.mount_point of the configuration)")
    .option("--foreground", "serve from this process instead of a background one")
    .option("--read-only", "refuse every change")
    .option("--at <REF>", "that layer, read-only")
    .option("--allow-other", "let other users in (root always does)")
    .option("--create", "make DIR when it is missing")
    .option("--noatime", "never update access times (default: relatime)")
    .addHelpText(
      "after",
      examples(
        "tarbox mount --create /mnt/work",
        "tarbox mount --at ckpt-3 --create /mnt/then",
        "tarbox --workspace other mount --foreground /mnt/other",
      ),
    )
    .action(async (directory: string | undefined, options: MountOptions, command: Command) => {
      await alone(command, () => mount(command, directory, options));
    });

  program
    .command("mount-daemon", { hidden: true })
    .argument("<SPEC>")
    .action(async (spec: string) => {
      Deno.exit(await runDaemon(JSON.parse(spec)));
    });

  program
    .command("umount")
    .description("flush, unmount, and return when everything is committed")
    .argument("<DIR>", "where it is mounted")
    .option("--force", "unmount at once, also when files are open or the daemon hangs")
    .addHelpText("after", examples("tarbox umount /mnt/work", "tarbox umount --force /mnt/work"))
    .action(async (directory: string, options: { force?: boolean }, command: Command) => {
      await alone(command, async () => {
        await unmount(resolveHome(), directory, options.force ?? false);
      });
    });

  program
    .command("status")
    .description("workspaces, who holds them, their heads, and the mounts of this home")
    .addHelpText("after", examples("tarbox status", "tarbox status --json"))
    .action((_options: unknown, command: Command) => status(command, run));
}

/** A mount of this home, in words. */
function stateOf({ record, alive, mounted }: FoundRecord): string {
  const { directory, pid, trouble } = record;
  if (!alive) return `dead: its daemon is gone; \`tarbox umount ${directory}\` clears it`;
  if (!mounted) return "unmounted, still writing back";
  if (trouble === undefined) return `served by process ${pid}`;
  const since = `since ${formatTime(new Date(trouble.since))}: ${trouble.why}`;
  return trouble.kind === "waiting"
    ? `served by process ${pid}, waits for the database ${since}`
    : `served by process ${pid}, ${trouble.kind} ${since}`;
}

/** Tells of the mounts of this home also while the database is away. */
async function status(command: Command, run: Run): Promise<void> {
  const records = await readRecords(resolveHome());
  const { json, tenant } = command.optsWithGlobals<GlobalOptions>();
  const mounts = await Promise.all(records.map(async ({ record, alive, mounted }) => ({
    ...record,
    alive,
    mounted,
    ...(json && alive && mounted ? { stats: await askCounts(record.directory) } : {}),
  })));
  const lines = records.map((found) => `${found.record.directory}  ${stateOf(found)}`);
  let told = false;
  await run(command, async (session) => {
    const [workspaces, layers, holders] = await Promise.all([
      session.store.workspaces(),
      session.store.layers(),
      session.store.mounts(null),
    ]);
    const facts = {
      tenant: session.store.tenant,
      workspaces: workspaces.map((workspace) => ({
        name: workspace.name,
        base: layers.find((layer) => layer.id === workspace.base)?.name ?? null,
        held: held(workspace),
        holder: workspace.lease === null ? null : {
          ...workspace.lease.holder,
          epoch: workspace.lease.epoch,
          heartbeatAgeSeconds: workspace.lease.ageSeconds,
        },
        mounts: holders.filter((mount) => mount.workspace === workspace.id)
          .map(({ holder, ageSeconds }) => ({ ...holder, heartbeatAgeSeconds: ageSeconds })),
      })),
      mounts,
    };
    told = true;
    if (session.json) return await session.out(JSON.stringify(facts, null, 2) + "\n");
    const heads = facts.workspaces.map((workspace) => {
      const state = workspace.mounts.length > 1
        ? `shared by ${
          workspace.mounts.map(({ host, pid, mountPoint }) => `${host}:${pid} at ${mountPoint}`)
            .join(", ")
        }`
        : workspace.held
        ? `held by ${workspace.holder!.host}:${workspace.holder!.pid}` +
          (workspace.holder!.mountPoint === null ? "" : ` at ${workspace.holder!.mountPoint}`)
        : "free";
      return `${workspace.name}  on ${workspace.base ?? "(empty)"}  ${state}`;
    });
    await session.out([...heads, ...lines].join("\n") + "\n");
  });
  if (told) return;
  if (json) await print(JSON.stringify({ tenant, workspaces: null, mounts }, null, 2) + "\n");
  else if (lines.length > 0) await print(lines.join("\n") + "\n");
}

async function mount(
  command: Command,
  directory: string | undefined,
  options: MountOptions,
): Promise<void> {
  const globals = command.optsWithGlobals<GlobalOptions>();
  const settings = await loadSettings(globals);
  const target = directory ?? settings.config.filesystem.mountPoint;
  if (target === undefined) {
    throw new TarboxError(
      "mount: no directory given",
      "name one (`tarbox mount DIR`), or set filesystem.mount_point in tarbox.toml",
      2,
    );
  }
  if (options.create) await Deno.mkdir(target, { recursive: true });
  const info = await Deno.stat(target).catch((error) => {
    if (error instanceof Deno.errors.NotFound) {
      throw new TarboxError(
        `mount ${target}: there is no such directory`,
        "make it, or give --create",
      );
    }
    throw new TarboxError(
      `mount ${target}: ${error.message}`,
      "when a daemon died there, `tarbox umount` clears it",
    );
  });
  if (!info.isDirectory) throw new TarboxError(`mount ${target}: it is no directory`);
  const spec = {
    home: resolveHome(),
    directory: await Deno.realPath(target),
    config: globals.config ?? null,
    tenant: globals.tenant,
    workspace: globals.workspace,
    readOnly: (options.readOnly ?? false) || options.at !== undefined,
    at: options.at ?? null,
    allowOther: options.allowOther ?? Deno.uid() === 0,
    noatime: options.noatime ?? false,
  };
  if (options.foreground) Deno.exit(await runDaemon(spec));
  await spawnDaemon(spec);
}
