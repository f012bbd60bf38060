import { TarboxError } from "../../base/errors.ts";
import { FencedError, RewoundError } from "../errors.ts";
import { checkName, leaseHeld, nameTaken, publishRefusal, workspaceGone } from "../names.ts";
import type { Batch, Holder, LayerRow, Lease, Point, WorkspaceRow } from "../rows.ts";
import { type TakeOptions, touchedKeys } from "../sharing.ts";
import { LayersSeen } from "./layers.ts";
import { MemorySharing, SharedWorkspace } from "./sharing.ts";
import type { Collected, Reply, Request, Store } from "../store.ts";
import { emptyRoot } from "../root.ts";

interface Workspace {
  readonly id: number;
  readonly name: string;
  readonly createdAt: Date;
  head: Point;
  base: number | null;
  epoch: number;
  holder: Holder | null;
  heartbeat: Date;
  committed: number;
  readonly shared: SharedWorkspace;
  handle: ((request: Request) => Promise<Reply>) | null;
}

/** A store in memory: the plain statement of what a store does, and the oracle of the tests. */
export function memoryStore(options: { readonly tenant?: string } = {}): Store {
  return new MemoryStore(options.tenant ?? "default");
}

class MemoryStore extends MemorySharing implements Store {
  readonly #workspaces = new Map<number, Workspace>();
  readonly #layers = new Map<number, LayerRow>();
  #lastId = 0;

  constructor(readonly tenant: string) {
    super();
  }

  protected shared(workspace: number): SharedWorkspace {
    return this.#byId(workspace).shared;
  }

  protected workspaceOf(id: number): WorkspaceRow {
    return workspaceRow(this.#byId(id));
  }

  protected workspaceIds(): number[] {
    return [...this.#workspaces.keys()];
  }

  protected newId(): number {
    return ++this.#lastId;
  }

  async close(): Promise<void> {}

  async collectGarbage(graceSeconds: number): Promise<Collected> {
    return this.collect(
      graceSeconds,
      [...this.#layers.values()].map(({ point }) => point),
      [...this.#workspaces.values()].map(({ head }) => head),
    );
  }

  async workspaces(): Promise<WorkspaceRow[]> {
    return [...this.#workspaces.values()].map(workspaceRow);
  }

  async workspace(name: string): Promise<WorkspaceRow | null> {
    const found = [...this.#workspaces.values()].find((workspace) => workspace.name === name);
    return found === undefined ? null : workspaceRow(found);
  }

  async createWorkspace(
    name: string,
    from: LayerRow | null,
    root: { uid: number; gid: number; time: bigint },
  ): Promise<WorkspaceRow> {
    checkName("workspace", name);
    if (await this.workspace(name) !== null) throw nameTaken("workspace", name);
    const head = this.newLineage(from?.point ?? null);
    if (from === null) this.putInode(head, emptyRoot(root));
    const workspace: Workspace = {
      id: ++this.#lastId,
      name,
      createdAt: new Date(),
      head,
      base: from?.id ?? null,
      epoch: 0,
      holder: null,
      heartbeat: new Date(0),
      committed: 0,
      shared: new SharedWorkspace(name),
      handle: null,
    };
    this.#workspaces.set(workspace.id, workspace);
    return workspaceRow(workspace);
  }

  async deleteWorkspace(id: number): Promise<void> {
    const workspace = this.#byId(id);
    if (workspace.holder !== null) throw leaseHeld(workspace.name, workspace.holder);
    const own = new Set(
      [...this.#layers.values()].filter((layer) => layer.workspace === id).map(({ id }) => id),
    );
    const needed =
      [...this.#workspaces.values()].find((other) =>
        other.id !== id && other.base !== null && own.has(other.base)
      ) ?? [...this.#layers.values()].find((layer) =>
        layer.workspace !== id && layer.parent !== null && own.has(layer.parent)
      );
    if (needed !== undefined) {
      throw new TarboxError(
        `workspace ${workspace.name}: ${needed.name} stands on its layers`,
        `delete ${needed.name} first`,
      );
    }
    for (const layer of own) this.#layers.delete(layer);
    this.#workspaces.delete(id);
  }

  async layers(): Promise<LayerRow[]> {
    return [...this.#layers.values()];
  }

  async layer(id: number): Promise<LayerRow | null> {
    return this.#layers.get(id) ?? null;
  }

  async layerOfUid(uid: string): Promise<LayerRow | null> {
    return [...this.#layers.values()].find((layer) => layer.uid === uid) ?? null;
  }

  async layerNamed(workspace: number, name: string): Promise<LayerRow | null> {
    return (await this.#layersSeen(workspace)).named(name);
  }

  async layersOfPrefix(workspace: number, prefix: string, limit: number): Promise<LayerRow[]> {
    return (await this.#layersSeen(workspace)).ofPrefix(prefix).slice(0, limit);
  }

  async layerAt(workspace: number, time: Date): Promise<LayerRow | null> {
    return (await this.#layersSeen(workspace)).at(time);
  }

  async layerBelow(id: number, steps: number): Promise<LayerRow | null> {
    let layer = this.#layers.get(id);
    for (let i = 0; i < steps && layer !== undefined; i++) {
      layer = layer.parent === null ? undefined : this.#layers.get(layer.parent);
    }
    return layer ?? null;
  }

  async highestNumber(workspace: number, stem: string): Promise<number> {
    return (await this.#layersSeen(workspace)).highestNumber(stem);
  }

  async #layersSeen(workspace: number): Promise<LayersSeen> {
    const { head } = this.#byId(workspace);
    return new LayersSeen([...this.#layers.values()], workspace, await this.chain(head));
  }

  async attach(
    id: number,
    holder: Holder,
    staleSeconds: number,
    gone?: number,
  ): Promise<Lease> {
    const workspace = await this.tryAttach(id, holder, { staleSeconds, gone, fresh: true });
    if (workspace !== null) return workspace.lease!;
    const { name, holder: other } = this.#byId(id);
    throw leaseHeld(name, other ?? holder);
  }

  async tryAttach(
    id: number,
    holder: Holder,
    { staleSeconds, gone, alone = false, fresh = false }: TakeOptions,
  ): Promise<WorkspaceRow | null> {
    const workspace = this.#byId(id);
    const { shared, holder: old } = workspace;
    const { mounts } = shared;
    const { mount } = holder;
    if (mount !== undefined && !mounts.has(mount)) throw new FencedError(workspace.name);
    const age = (Date.now() - workspace.heartbeat.getTime()) / 1000;
    if (old !== null && age < staleSeconds && workspace.epoch !== gone) return null;
    const others = [...mounts.keys()].some((other) => other !== mount);
    if (alone && others) return null;
    if (old?.mount !== undefined && old.mount !== mount) shared.takeAway(old.mount);
    workspace.epoch++;
    workspace.holder = holder;
    workspace.heartbeat = new Date();
    workspace.committed = 0;
    workspace.handle = null;
    if (fresh && ![...mounts.keys()].some((other) => other !== mount)) {
      this.reclaimOrphans(workspace.head);
    }
    return workspaceRow(workspace);
  }

  async heartbeat(id: number, epoch: number): Promise<void> {
    this.#holding(id, epoch).heartbeat = new Date();
  }

  async detach(id: number, epoch: number): Promise<void> {
    const workspace = this.#workspaces.get(id);
    if (workspace?.epoch !== epoch) return;
    workspace.holder = null;
    workspace.handle = null;
    workspace.shared.tell();
  }

  async commit(
    id: number,
    epoch: number,
    head: Point,
    sequence: number,
    batch: Batch,
    publish = false,
  ): Promise<void> {
    const workspace = this.#holding(id, epoch);
    if (sequence <= workspace.committed) return;
    if (workspace.head.lineage !== head.lineage || workspace.head.ordinal !== head.ordinal) {
      throw new FencedError(workspace.name);
    }
    if (sequence !== workspace.committed + 1) throw new RewoundError(workspace.name);
    this.apply(head, batch);
    const { shared } = workspace;
    shared.version++;
    if (publish) shared.changes.set(shared.version, touchedKeys(batch));
    workspace.committed = sequence;
    workspace.heartbeat = new Date();
  }

  async seal(
    id: number,
    epoch: number | null,
    { uid, name, message }: { uid: string; name: string; message: string },
  ): Promise<{ layer: LayerRow; head: Point }> {
    const workspace = this.#holding(id, epoch);
    const sealed = [...this.#layers.values()].find((layer) => layer.uid === uid);
    if (sealed !== undefined) return { layer: sealed, head: workspace.head };
    this.#checkLayerName(id, name);
    const layer: LayerRow = {
      id: ++this.#lastId,
      uid,
      workspace: id,
      name,
      point: workspace.head,
      parent: workspace.base,
      message,
      createdAt: new Date(),
    };
    this.#layers.set(layer.id, layer);
    workspace.base = layer.id;
    workspace.head = { lineage: layer.point.lineage, ordinal: layer.point.ordinal + 1 };
    return { layer, head: workspace.head };
  }

  async setHead(id: number, epoch: number | null, onto: LayerRow): Promise<Point> {
    const workspace = this.#holding(id, epoch);
    workspace.head = this.newLineage(onto.point);
    workspace.base = onto.id;
    return workspace.head;
  }

  async amend(id: number, epoch: number | null, head: Point, batch: Batch): Promise<Point> {
    const workspace = this.#holding(id, epoch);
    if (workspace.head.lineage !== head.lineage || workspace.head.ordinal !== head.ordinal) {
      throw new FencedError(workspace.name);
    }
    const next = { lineage: head.lineage, ordinal: head.ordinal + 1 };
    this.apply(next, batch);
    workspace.shared.version++;
    workspace.head = next;
    return next;
  }

  /** Nothing: what a read costs here does not matter. */
  async summarize(): Promise<boolean> {
    return false;
  }

  async headChanged(id: number): Promise<boolean> {
    const { lineage, ordinal } = this.#byId(id).head;
    const changed = await this.changedKeys(lineage, ordinal - 1, ordinal);
    return changed.inodes.length + changed.dentries.length > 0;
  }

  async renameLayer(id: number, name: string): Promise<void> {
    const layer = this.#layers.get(id)!;
    if (layer.name === name) return;
    this.#checkLayerName(layer.workspace, name);
    this.#layers.set(id, { ...layer, name });
  }

  async dropLayers(ids: readonly number[]): Promise<void> {
    for (const id of ids) {
      const dropped = this.#layers.get(id);
      if (dropped === undefined) continue;
      for (const layer of this.#layers.values()) {
        if (layer.parent === id) {
          this.#layers.set(layer.id, { ...layer, parent: dropped.parent });
        }
      }
      for (const workspace of this.#workspaces.values()) {
        if (workspace.base === id) workspace.base = dropped.parent;
      }
      this.#layers.delete(id);
    }
  }

  async openLineage(on: Point | null): Promise<Point> {
    return this.newLineage(on);
  }

  async write(point: Point, batch: Batch): Promise<void> {
    this.apply(point, batch);
  }

  async publish(
    workspace: number,
    layers: Parameters<Store["publish"]>[1],
  ): Promise<LayerRow[]> {
    for (const { name } of layers) checkName("layer", name);
    const refusal = publishRefusal(this.#layers.values(), workspace, layers);
    if (refusal !== null) throw refusal;
    const published: LayerRow[] = [];
    for (const { uid, name, message, createdAt, point, parent } of layers) {
      const below = [...this.#layers.values()].find((layer) => layer.uid === parent);
      const layer: LayerRow = {
        id: ++this.#lastId,
        uid,
        workspace,
        name,
        point,
        parent: below?.id ?? null,
        message,
        createdAt,
      };
      this.#layers.set(layer.id, layer);
      published.push(layer);
    }
    return published;
  }

  async discardLineages(lineages: readonly number[]): Promise<void> {
    this.dropLineages(lineages);
  }

  async ask(id: number, command: string, argument: unknown): Promise<unknown> {
    const { name, handle } = this.#byId(id);
    if (handle === null) throw new TarboxError(`workspace ${name}: its holder does not answer`);
    const reply = await handle({ id: ++this.#lastId, workspace: id, command, argument });
    if ("error" in reply) throw new TarboxError(reply.error, reply.hint);
    return reply.result;
  }

  async serve(
    id: number,
    epoch: number | null,
    handle: (request: Request) => Promise<Reply>,
  ): Promise<() => Promise<void>> {
    const workspace = epoch === null ? this.#workspaces.get(id)! : this.#holding(id, epoch);
    workspace.handle = handle;
    return async () => {
      if (workspace.handle === handle) workspace.handle = null;
    };
  }

  #byId(id: number): Workspace {
    const workspace = this.#workspaces.get(id);
    if (workspace === undefined) throw workspaceGone();
    return workspace;
  }

  /** The workspace when `epoch` is current; null stands for "nobody holds it". */
  #holding(id: number, epoch: number | null): Workspace {
    const workspace = this.#byId(id);
    if (epoch === null) {
      if (workspace.holder !== null) throw leaseHeld(workspace.name, workspace.holder);
    } else if (workspace.epoch !== epoch || workspace.holder === null) {
      throw new FencedError(workspace.name);
    }
    return workspace;
  }

  #checkLayerName(workspace: number, name: string): void {
    checkName("layer", name);
    for (const layer of this.#layers.values()) {
      if (layer.workspace === workspace && layer.name === name) throw nameTaken("layer", name);
    }
  }
}

function workspaceRow(workspace: Workspace): WorkspaceRow {
  const { id, name, head, base, createdAt, epoch, holder, heartbeat } = workspace;
  const ageSeconds = (Date.now() - heartbeat.getTime()) / 1000;
  const lease = holder === null ? null : { epoch, holder, heartbeat, ageSeconds };
  return { id, name, head, base, createdAt, lease };
}
