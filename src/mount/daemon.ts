import { TarboxError } from "../base/errors.ts";
import { openDatabase, type Settings } from "./database.ts";
import { detachMount, mountFuse } from "../fuse/mount.ts";
import { resolve } from "../layer/references.ts";
import type { Chain, WorkspaceRow } from "../store/rows.ts";
import type { Store } from "../store/store.ts";
import type { Counters } from "../vfs/tree.ts";
import { Holding } from "./holding.ts";
import { Leasing } from "./leasing.ts";
import { removeRecord, type Trouble, writeRecord } from "./record.ts";
import { RequestThread } from "./request_thread.ts";
import type { MountSpec } from "./spec.ts";

/** What is mounted: a state of the tree, and the lease when it may be written. */
interface Mounted {
  readonly workspace: WorkspaceRow;
  /** Null: a sealed state is shown, which never changes. */
  readonly leasing: Leasing | null;
  readonly chain: Chain;
  readonly counters: Counters;
}

/**
 * Serves one mount until it is unmounted or told to stop, and commits everything.
 * @returns the exit status of the daemon
 */
export async function runDaemon(spec: MountSpec): Promise<number> {
  const record = {
    directory: spec.directory,
    pid: Deno.pid,
    tenant: spec.tenant,
    workspace: spec.workspace,
    log: "",
  };
  let failure: TarboxError | null = null;
  let written: Promise<void> = Promise.resolve();
  try {
    await writeRecord(spec.home, { ...record, state: "starting" });
    const database = await openDatabase({
      config: spec.config ?? undefined,
      tenant: spec.tenant,
      workspace: spec.workspace,
      home: spec.home,
    });
    try {
      await serve(spec, database.store, database.settings, async (trouble) => {
        const known = trouble === null ? {} : { trouble };
        written = written.catch(() => {}).then(() =>
          writeRecord(spec.home, { ...record, state: "serving", ...known })
        );
        await written;
      });
    } finally {
      await database.close();
    }
  } catch (error) {
    failure = error instanceof TarboxError
      ? error
      : new TarboxError(error instanceof Error ? error.message : String(error));
    console.error(error);
  }
  await written.catch(() => {});
  if (failure === null) {
    await removeRecord(spec.home, spec.directory, Deno.pid);
    return 0;
  }
  const { message, hint } = failure;
  await writeRecord(spec.home, { ...record, state: "failed", error: { message, hint } });
  return 1;
}

async function serve(
  spec: MountSpec,
  store: Store,
  settings: Settings,
  serving: (trouble: Trouble | null) => Promise<void>,
): Promise<void> {
  const mounted = await open(spec, store);
  const { workspace, leasing } = mounted;
  const { filesystem, layer } = settings.config;
  try {
    const device = await mountFuse(spec.directory, {
      allowOther: spec.allowOther,
      readOnly: spec.readOnly,
      source: `tarbox:${spec.workspace}`,
    });
    const thread = new RequestThread({
      device,
      ...mounted.counters,
      shared: leasing?.shared ?? false,
      readOnly: spec.readOnly,
      controlDirectory: leasing !== null,
      noatime: spec.noatime,
      uid: Deno.uid() ?? 0,
      gid: Deno.gid() ?? 0,
      maxFileSize: filesystem.maxFileSize,
      commitIntervalMs: filesystem.commitInterval * 1000,
      dirtyBytesMax: filesystem.dirtyLimit,
      metadataCacheBytes: settings.config.cache.metadataCacheSize,
      blockCacheBytes: settings.config.cache.blockCacheSize,
    });
    let served = false;
    let trouble: Trouble | null = null;
    const holding = new Holding(store, thread, workspace, leasing, mounted.chain, device, {
      directory: spec.directory,
      checkpointSeconds: layer.autoCheckpoint ? layer.checkpointInterval : null,
      retryTimeoutMs: filesystem.retryTimeout * 1000,
      onTrouble(now) {
        trouble = now;
        if (served) void serving(now).catch(console.error);
      },
    });
    const stop = () => void detachMount(spec.directory, true).catch(console.error);
    Deno.addSignalListener("SIGTERM", stop);
    Deno.addSignalListener("SIGINT", stop);
    try {
      await holding.start();
      // Linux makes the root inode before it asks for it, owned by root: chmod(2) and the like would
      // be refused to its owner until somebody had looked at it.
      await Deno.stat(spec.directory);
      served = true;
      await serving(trouble);
      await holding.ended();
    } finally {
      Deno.removeSignalListener("SIGTERM", stop);
      Deno.removeSignalListener("SIGINT", stop);
      await detachMount(spec.directory, true).catch(() => {});
      await holding.stop();
      thread.terminate();
    }
  } catch (error) {
    await leasing?.stop().catch(console.error);
    throw error;
  }
}

/** Joins the mounts of the head, or looks up the layer to show. */
async function open(spec: MountSpec, store: Store): Promise<Mounted> {
  const found = await store.workspace(spec.workspace);
  if (found === null) {
    throw new TarboxError(
      `mount ${spec.directory}: workspace ${spec.workspace} does not exist`,
      `\`tarbox --workspace ${spec.workspace} init\` creates it`,
    );
  }
  if (spec.at !== null) {
    const { point } = await resolve(store, spec.workspace, spec.at);
    return {
      workspace: found,
      leasing: null,
      chain: await store.chain(point),
      counters: await store.counters(point.lineage),
    };
  }
  const leasing = await Leasing.join(store, found.id, spec.directory);
  const workspace = (await store.workspace(spec.workspace))!;
  return {
    workspace,
    leasing,
    chain: await store.chain(workspace.head),
    counters: await store.counters(workspace.head.lineage),
  };
}
