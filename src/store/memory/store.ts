import { equalBytes, hex } from "../../base/bytes.ts";
import { invariant, TarboxError } from "../../base/errors.ts";
import { FencedError, RewoundError } from "../errors.ts";
import { checkName, leaseHeld, nameTaken } from "../names.ts";
import {
  type Batch,
  type BlockRow,
  type Chain,
  type ChangedKeys,
  type DentryRow,
  type Entry,
  type Holder,
  type InodeRow,
  type LayerRow,
  type Lease,
  type Point,
  ROOT_INODE,
  type WorkspaceRow,
} from "../rows.ts";
import { type TakeOptions, touchedKeys } from "../sharing.ts";
import { MemorySharing, SharedWorkspace } from "./sharing.ts";
import type { Reply, Request, Store } from "../store.ts";
import { emptyRoot } from "../root.ts";
import { LineageTable, nameKey, splitNameKey } from "./versions.ts";

interface Lineage {
  readonly on: Point | null;
  nextInode: number;
  nextCookie: number;
}

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
  readonly #lineages = new Map<number, Lineage>();
  readonly #workspaces = new Map<number, Workspace>();
  readonly #layers = new Map<number, LayerRow>();
  readonly #inodes = new LineageTable<InodeRow>();
  readonly #dentries = new LineageTable<DentryRow>();
  readonly #blocks = new LineageTable<BlockRow>();
  readonly #contents = new Map<string, Uint8Array>();
  #lastId = 0;

  constructor(readonly tenant: string) {
    super();
  }

  protected shared(workspace: number): SharedWorkspace {
    return this.#workspaces.get(workspace)!.shared;
  }

  protected workspaceOf(id: number): WorkspaceRow {
    return workspaceRow(this.#workspaces.get(id)!);
  }

  protected newId(): number {
    return ++this.#lastId;
  }

  async close(): Promise<void> {}

  async chain(point: Point): Promise<Chain> {
    return this.#chain(point);
  }

  async inodes(chain: Chain, numbers: readonly number[]): Promise<InodeRow[]> {
    return numbers.map((inode) => this.#inodes.read(chain, String(inode))).filter(isPresent);
  }

  async lookup(
    chain: Chain,
    keys: readonly { readonly parent: number; readonly name: Uint8Array }[],
  ): Promise<Entry[]> {
    return keys.map(({ parent, name }) => this.#dentries.read(chain, nameKey(parent, name)))
      .filter(isPresent).map((dentry) => this.#entry(chain, dentry));
  }

  async list(chain: Chain, parent: number, after: number, limit: number): Promise<Entry[]> {
    return [...this.#dentries.rows(chain)]
      .filter((dentry) => dentry.parent === parent && dentry.cookie > after)
      .sort((a, b) => a.cookie - b.cookie).slice(0, limit)
      .map((dentry) => this.#entry(chain, dentry));
  }

  async blocks(chain: Chain, inodes: readonly number[]): Promise<BlockRow[]> {
    const wanted = new Set(inodes);
    return [...this.#blocks.rows(chain)].filter(({ inode }) => wanted.has(inode))
      .sort((a, b) => a.inode - b.inode || a.index - b.index);
  }

  async contents(hashes: readonly Uint8Array[]): Promise<Uint8Array[]> {
    return hashes.map((hash) => {
      const data = this.#contents.get(hex(hash));
      invariant(data !== undefined, `content ${hex(hash)} is missing`);
      return data;
    });
  }

  async names(chain: Chain, children: readonly number[]): Promise<DentryRow[]> {
    const wanted = new Set(children);
    return [...this.#dentries.rows(chain)].filter(({ child }) => wanted.has(child));
  }

  async changedKeys(lineage: number, after: number, upto: number): Promise<ChangedKeys> {
    return {
      inodes: [...this.#inodes.of(lineage).changed(after, upto)].map(Number),
      dentries: [...this.#dentries.of(lineage).changed(after, upto)].map(splitNameKey),
    };
  }

  async counters(lineage: number): Promise<{ nextInode: number; nextCookie: number }> {
    const { nextInode, nextCookie } = this.#lineages.get(lineage)!;
    return { nextInode, nextCookie };
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
    const head = this.#newLineage(from?.point ?? null);
    if (from === null) {
      this.#inodes.of(head.lineage).put(String(ROOT_INODE), head.ordinal, emptyRoot(root));
    }
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
    const workspace = this.#workspaces.get(id)!;
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

  async attach(
    id: number,
    holder: Holder,
    staleSeconds: number,
    gone?: number,
  ): Promise<Lease> {
    const workspace = await this.tryAttach(id, holder, { staleSeconds, gone, fresh: true });
    if (workspace !== null) return workspace.lease!;
    const { name, holder: other } = this.#workspaces.get(id)!;
    throw leaseHeld(name, other ?? holder);
  }

  async tryAttach(
    id: number,
    holder: Holder,
    { staleSeconds, gone, alone = false, fresh = false }: TakeOptions,
  ): Promise<WorkspaceRow | null> {
    const workspace = this.#workspaces.get(id)!;
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
      const chain = this.#chain(workspace.head);
      for (const row of [...this.#inodes.rows(chain)]) {
        if (row.nlink === 0) this.#killInode(chain, row.inode);
      }
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
    this.#apply(head, batch);
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
    workspace.head = this.#newLineage(onto.point);
    workspace.base = onto.id;
    return workspace.head;
  }

  async amend(id: number, epoch: number | null, head: Point, batch: Batch): Promise<Point> {
    const workspace = this.#holding(id, epoch);
    if (workspace.head.lineage !== head.lineage || workspace.head.ordinal !== head.ordinal) {
      throw new FencedError(workspace.name);
    }
    const next = { lineage: head.lineage, ordinal: head.ordinal + 1 };
    this.#apply(next, batch);
    workspace.head = next;
    return next;
  }

  async headChanged(id: number): Promise<boolean> {
    const { lineage, ordinal } = this.#workspaces.get(id)!.head;
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
    return this.#newLineage(on);
  }

  async write(point: Point, batch: Batch): Promise<void> {
    this.#apply(point, batch);
  }

  async publish(
    workspace: number,
    layers: Parameters<Store["publish"]>[1],
  ): Promise<LayerRow[]> {
    const taken = new Set<string>();
    for (const { name } of layers) {
      this.#checkLayerName(workspace, name);
      if (taken.has(name)) throw nameTaken("layer", name);
      taken.add(name);
    }
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
    for (const lineage of lineages) {
      for (const table of [this.#inodes, this.#dentries, this.#blocks]) table.drop(lineage);
      this.#lineages.delete(lineage);
    }
  }

  async ask(id: number, command: string, argument: unknown): Promise<unknown> {
    const { name, handle } = this.#workspaces.get(id)!;
    if (handle === null) throw new TarboxError(`workspace ${name}: its holder does not answer`);
    const reply = await handle({ id: ++this.#lastId, workspace: id, command, argument });
    if ("error" in reply) throw new TarboxError(reply.error, reply.hint);
    return reply.result;
  }

  async serve(
    id: number,
    epoch: number,
    handle: (request: Request) => Promise<Reply>,
  ): Promise<() => Promise<void>> {
    const workspace = this.#holding(id, epoch);
    workspace.handle = handle;
    return async () => {
      if (workspace.handle === handle) workspace.handle = null;
    };
  }

  #newLineage(on: Point | null): Point {
    const below = on === null ? null : this.#lineages.get(on.lineage)!;
    const lineage = ++this.#lastId;
    this.#lineages.set(lineage, {
      on,
      nextInode: below?.nextInode ?? ROOT_INODE + 1,
      nextCookie: below?.nextCookie ?? 1,
    });
    return { lineage, ordinal: 1 };
  }

  #chain(point: Point): Chain {
    const chain: Point[] = [];
    for (let at: Point | null = point; at !== null; at = this.#lineages.get(at.lineage)!.on) {
      chain.push(at);
    }
    return chain;
  }

  /** The workspace when `epoch` is current; null stands for "nobody holds it". */
  #holding(id: number, epoch: number | null): Workspace {
    const workspace = this.#workspaces.get(id)!;
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

  #apply(point: Point, batch: Batch): void {
    const chain = this.#chain(point);
    const { lineage, ordinal } = point;
    for (const { hash, data } of batch.contents) {
      const known = this.#contents.get(hex(hash));
      invariant(known === undefined || equalBytes(known, data), "two contents of one hash");
      this.#contents.set(hex(hash), data.slice());
    }
    for (const row of batch.inodes) this.#inodes.of(lineage).put(String(row.inode), ordinal, row);
    for (const row of batch.dentries) {
      this.#dentries.of(lineage).put(nameKey(row.parent, row.name), ordinal, row);
    }
    for (const row of batch.blocks) {
      invariant(this.#contents.has(hex(row.hash)), "a block names a content that is not there");
      this.#blocks.of(lineage).put(`${row.inode}/${row.index}`, ordinal, row);
    }
    for (const { parent, name } of batch.deadDentries) {
      this.#dentries.remove(chain, nameKey(parent, name));
    }
    for (const { inode, index } of batch.deadBlocks) {
      this.#blocks.remove(chain, `${inode}/${index}`);
    }
    for (const inode of batch.deadInodes) this.#killInode(chain, inode);
    const counters = this.#lineages.get(lineage)!;
    counters.nextInode = Math.max(counters.nextInode, batch.nextInode);
    counters.nextCookie = Math.max(counters.nextCookie, batch.nextCookie);
  }

  #killInode(chain: Chain, inode: number): void {
    const { lineage, ordinal } = chain[0]!;
    this.#inodes.remove(chain, String(inode));
    const blocks = this.#blocks.of(lineage);
    for (const key of [...blocks.keys(ordinal)]) {
      if (key.startsWith(`${inode}/`) && blocks.at(key, ordinal)!.born === ordinal) {
        blocks.end(key, ordinal);
      }
    }
  }

  #entry(chain: Chain, dentry: DentryRow): Entry {
    const inode = this.#inodes.read(chain, String(dentry.child));
    invariant(inode !== null, `inode ${dentry.child} has a name and does not exist`);
    return { dentry, inode };
  }
}

function workspaceRow(workspace: Workspace): WorkspaceRow {
  const { id, name, head, base, createdAt, epoch, holder, heartbeat } = workspace;
  const ageSeconds = (Date.now() - heartbeat.getTime()) / 1000;
  const lease = holder === null ? null : { epoch, holder, heartbeat, ageSeconds };
  return { id, name, head, base, createdAt, lease };
}

function isPresent<T>(row: T | null): row is T {
  return row !== null;
}
