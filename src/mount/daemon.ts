import { hostname } from "node:os";
import { TarboxError } from "../base/errors.ts";
import { processAlive } from "../base/process.ts";
import { openDatabase, type Settings } from "./database.ts";
import { detachMount, mountFuse } from "../fuse/mount.ts";
import { resolve } from "../layer/references.ts";
import type { Chain, WorkspaceRow } from "../store/rows.ts";
import type { Store } from "../store/store.ts";
import { Holding } from "./holding.ts";
import { removeRecord, writeRecord } from "./record.ts";
import { RequestThread } from "./request_thread.ts";
import type { MountSpec } from "./spec.ts";

/** Seconds without a heartbeat after which another mount may take the workspace over. */
const STALE_SECONDS = 15;

/** What is mounted: a state of the tree, and the lease when it may be written. */
interface Mounted {
  readonly workspace: WorkspaceRow;
  readonly epoch: number | null;
  readonly chain: Chain;
  readonly counters: { readonly nextInode: number; readonly nextCookie: number };
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
  try {
    await writeRecord(spec.home, { ...record, state: "starting" });
    const database = await openDatabase({
      config: spec.config ?? undefined,
      tenant: spec.tenant,
      workspace: spec.workspace,
      home: spec.home,
    });
    try {
      await serve(spec, database.store, database.settings, async () => {
        await writeRecord(spec.home, { ...record, state: "serving" });
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
  serving: () => Promise<void>,
): Promise<void> {
  const mounted = await open(spec, store);
  const { workspace, epoch } = mounted;
  try {
    const device = await mountFuse(spec.directory, {
      allowOther: spec.allowOther,
      readOnly: spec.readOnly,
      source: `tarbox:${spec.workspace}`,
    });
    const thread = new RequestThread({
      device,
      ...mounted.counters,
      readOnly: epoch === null,
      controlDirectory: epoch !== null,
      noatime: spec.noatime,
      uid: Deno.uid() ?? 0,
      gid: Deno.gid() ?? 0,
      maxFileSize: settings.config.filesystem.maxFileSize,
      metadataCacheBytes: settings.config.cache.metadataCacheSize,
      blockCacheBytes: settings.config.cache.blockCacheSize,
    });
    const holding = new Holding(store, thread, workspace, epoch, mounted.chain, device);
    const stop = () => void detachMount(spec.directory, true).catch(console.error);
    Deno.addSignalListener("SIGTERM", stop);
    Deno.addSignalListener("SIGINT", stop);
    try {
      await holding.start();
      await serving();
      await holding.ended();
    } finally {
      Deno.removeSignalListener("SIGTERM", stop);
      Deno.removeSignalListener("SIGINT", stop);
      await detachMount(spec.directory, true).catch(() => {});
      await holding.stop();
      thread.terminate();
    }
  } finally {
    if (epoch !== null) await store.detach(workspace.id, epoch);
  }
}

/** Takes the lease of the head, or looks up the layer to show read-only. */
async function open(spec: MountSpec, store: Store): Promise<Mounted> {
  const found = await store.workspace(spec.workspace);
  if (found === null) {
    throw new TarboxError(
      `mount ${spec.directory}: workspace ${spec.workspace} does not exist`,
      `\`tarbox --workspace ${spec.workspace} init\` creates it`,
    );
  }
  if (spec.readOnly) {
    const { point } = await resolve(store, spec.workspace, spec.at ?? "head");
    return {
      workspace: found,
      epoch: null,
      chain: await store.chain(point),
      counters: await store.counters(point.lineage),
    };
  }
  const lease = await store.attach(
    found.id,
    { host: hostname(), pid: Deno.pid, mountPoint: spec.directory },
    holderIsGone(found) ? 0 : STALE_SECONDS,
  );
  const workspace = (await store.workspace(spec.workspace))!;
  return {
    workspace,
    epoch: lease.epoch,
    chain: await store.chain(workspace.head),
    counters: await store.counters(workspace.head.lineage),
  };
}

/** Whether the lease is left over from a process of this machine that is dead. */
function holderIsGone(workspace: WorkspaceRow): boolean {
  const holder = workspace.lease?.holder;
  return holder !== undefined && holder.host === hostname() && !processAlive(holder.pid);
}
