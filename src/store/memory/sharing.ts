import { FencedError } from "../errors.ts";
import type { ChangedKeys, Holder, WorkspaceRow } from "../rows.ts";
import { MemoryImages } from "./images.ts";
import { type Limits, UNLIMITED } from "../quotas.ts";
import type { Known, LockRow, MountRow, Seen } from "../sharing.ts";

/** What several mounts of one workspace share, in memory. */
export class SharedWorkspace {
  version = 0;
  lockVersion = 0;
  limits: Limits = UNLIMITED;
  /** Keys of the commit that made a version. */
  readonly changes = new Map<number, ChangedKeys>();
  readonly mounts = new Map<number, { holder: Holder; heartbeat: number; wants: number }>();
  locks: LockRow[] = [];
  readonly watchers = new Set<(wantedBy: number | null) => void>();

  constructor(readonly name: string) {}

  /** Takes a mount and its locks away. */
  takeAway(mount: number): void {
    this.mounts.delete(mount);
    const locks = this.locks.filter((lock) => lock.mount !== mount);
    if (locks.length !== this.locks.length) this.lockVersion++;
    this.locks = locks;
  }

  /** Has those who watch look. */
  tell(wantedBy: number | null = null): void {
    for (const watcher of [...this.watchers]) queueMicrotask(() => watcher(wantedBy));
  }
}

/** The part of a store in memory that several mounts of one workspace use. */
export abstract class MemorySharing extends MemoryImages {
  protected abstract shared(workspace: number): SharedWorkspace;
  protected abstract workspaceIds(): number[];
  protected abstract workspaceOf(id: number): WorkspaceRow;

  async limits(id: number): Promise<Limits> {
    return this.shared(id).limits;
  }

  async setLimits(id: number, limits: Limits): Promise<void> {
    this.shared(id).limits = limits;
  }

  async joinMount(id: number, holder: Holder): Promise<number> {
    const workspace = this.shared(id);
    const mount = this.newId();
    workspace.mounts.set(mount, { holder, heartbeat: Date.now(), wants: 0 });
    workspace.tell();
    return mount;
  }

  async leaveMount(id: number, mount: number): Promise<void> {
    const workspace = this.shared(id);
    workspace.takeAway(mount);
    workspace.tell();
  }

  async beatMount(
    id: number,
    mount: number,
    staleSeconds: number,
  ): Promise<{ others: number; wanted: boolean }> {
    const workspace = this.shared(id);
    const { mounts, name } = workspace;
    const own = mounts.get(mount);
    if (own === undefined) throw new FencedError(name);
    own.heartbeat = Date.now();
    for (const [other, { heartbeat }] of [...mounts]) {
      const stale = Date.now() - heartbeat >= staleSeconds * 1000;
      if (other !== mount && stale) workspace.takeAway(other);
    }
    const others = [...mounts].filter(([other]) => other !== mount).map(([, row]) => row);
    return {
      others: others.length,
      wanted: others.some(({ wants }) => Date.now() - wants < 2000),
    };
  }

  async mounts(id: number | null): Promise<MountRow[]> {
    return (id === null ? this.workspaceIds() : [id]).flatMap((workspace) =>
      [...this.shared(workspace).mounts].map(([mount, { holder, heartbeat }]) => ({
        id: mount,
        workspace,
        holder,
        ageSeconds: (Date.now() - heartbeat) / 1000,
      }))
    );
  }

  async wantLease(id: number, mount: number): Promise<void> {
    const workspace = this.shared(id);
    const own = workspace.mounts.get(mount);
    if (own !== undefined) own.wants = Date.now();
    workspace.tell(mount);
  }

  async look(id: number, mount: number, known: Known): Promise<Seen> {
    const workspace = this.shared(id);
    if (!workspace.mounts.has(mount)) throw new FencedError(workspace.name);
    const { version, lockVersion, changes, locks } = workspace;
    const since = [...changes].filter(([of]) => of > known.version).map(([, keys]) => keys);
    const row = this.workspaceOf(id);
    return {
      workspace: row,
      version,
      lockVersion,
      changed: since.length !== version - known.version ? null : {
        inodes: since.flatMap(({ inodes }) => inodes),
        dentries: since.flatMap(({ dentries }) => dentries),
      },
      locks: lockVersion === known.lockVersion
        ? null
        : locks.filter((lock) => lock.mount !== mount),
      counters: await this.counters(row.head.lineage),
    };
  }

  async putLocks(
    id: number,
    mount: number,
    inodes: readonly number[],
    locks: readonly LockRow[],
  ): Promise<void> {
    const workspace = this.shared(id);
    if (!workspace.mounts.has(mount)) return;
    workspace.locks = [
      ...workspace.locks.filter((lock) => lock.mount !== mount || !inodes.includes(lock.inode)),
      ...locks,
    ];
    workspace.lockVersion++;
    workspace.tell();
  }

  async watch(
    id: number,
    onEvent: (wantedBy: number | null) => void,
  ): Promise<() => Promise<void>> {
    const { watchers } = this.shared(id);
    watchers.add(onEvent);
    return async () => void watchers.delete(onEvent);
  }
}
