import type {
  Batch,
  BlockRow,
  Chain,
  ChangedKeys,
  ChangesetRow,
  DentryRow,
  Entry,
  Holder,
  InodeRow,
  LayerRow,
  Lease,
  Point,
  WorkspaceRow,
} from "./rows.ts";
import type { Quotas } from "./quotas.ts";
import type { Sharing } from "./sharing.ts";

/** Reads of tree states. Every method is one round trip, whatever the number of keys. */
export interface Reader {
  /** The chain of a point: itself, then what its lineage stands on, down to the bottom. */
  chain(point: Point): Promise<Chain>;
  /** The inodes that are visible; those absent are left out. In no order. */
  inodes(chain: Chain, numbers: readonly number[]): Promise<InodeRow[]>;
  /** The named entries that are visible, with their inodes; those absent are left out. */
  lookup(
    chain: Chain,
    keys: readonly { readonly parent: number; readonly name: Uint8Array }[],
  ): Promise<Entry[]>;
  /**
   * Up to `limit` entries of a directory with `cookie > after`, in the order of the cookies, with
   * their inodes. Fewer than `limit` means that there are no more.
   */
  list(chain: Chain, parent: number, after: number, limit: number): Promise<Entry[]>;
  /** All blocks of these files, ordered by inode and index. */
  blocks(chain: Chain, inodes: readonly number[]): Promise<BlockRow[]>;
  /** Content of each hash, in the order asked. @throws {InvariantError} where one is missing. */
  contents(hashes: readonly Uint8Array[]): Promise<Uint8Array[]>;
  /** Every visible name of these inodes: for paths from the bottom up, and for hard links. */
  names(chain: Chain, children: readonly number[]): Promise<DentryRow[]>;
  /** What changed in a lineage after ordinal `after` up to and with ordinal `upto`. */
  changedKeys(lineage: number, after: number, upto: number): Promise<ChangedKeys>;
  /** Inode and cookie numbers that a writer at this lineage may use next. */
  counters(lineage: number): Promise<{ nextInode: number; nextCookie: number }>;
}

/** Workspaces, layers, leases and the two ways to write: through a lease, or a private lineage. */
export interface Catalog {
  workspaces(): Promise<WorkspaceRow[]>;
  /** @returns null when there is none of that name. */
  workspace(name: string): Promise<WorkspaceRow | null>;
  /**
   * A new workspace. On `from` null: an empty tree with a root directory (mode 0755, owner and time
   * as given). Else its head stands on that layer. O(1).
   * @throws {TarboxError} when the name is taken.
   */
  createWorkspace(
    name: string,
    from: LayerRow | null,
    root: { uid: number; gid: number; time: bigint },
  ): Promise<WorkspaceRow>;
  /** Removes a workspace and the layers it owns. @throws {TarboxError} when held or needed. */
  deleteWorkspace(id: number): Promise<void>;

  /**
   * Takes the lease: epoch + 1. A holder whose heartbeat is older than `staleSeconds` is fenced, and
   * that of epoch `gone`, which the caller knows to be dead.
   * Inodes with nlink 0 that a crashed holder left are reclaimed (marked dead in the head), unless
   * mounts of the workspace are registered, which may have them open.
   * @throws {HeldError} naming the holder when the lease is held.
   */
  attach(
    workspace: number,
    holder: Holder,
    staleSeconds: number,
    gone?: number,
  ): Promise<Lease>;
  /** Says that the holder lives. @throws {FencedError} when the epoch is no longer current. */
  heartbeat(workspace: number, epoch: number): Promise<void>;
  /** Gives the lease back; nothing happens when the epoch is no longer current. */
  detach(workspace: number, epoch: number): Promise<void>;

  /**
   * Applies a batch to the head in one transaction with synchronous commit. Idempotent: a
   * `sequence` (1, 2, 3… per epoch) that was committed already changes nothing and succeeds.
   * With `publish`, other mounts are told which keys changed; without, that anything may have.
   * @throws {FencedError} when epoch or head are no longer current; then nothing was written.
   * @throws {RewoundError} when the batch before this one is not there.
   */
  commit(
    workspace: number,
    epoch: number,
    head: Point,
    sequence: number,
    batch: Batch,
    publish?: boolean,
  ): Promise<void>;

  /**
   * Seals the head under a name and makes the next ordinal the head. O(1). Idempotent by `uid`.
   * `epoch` null: only when nobody holds the lease.
   * @throws {TarboxError} when the name is taken or invalid. @throws {FencedError}
   */
  seal(
    workspace: number,
    epoch: number | null,
    layer: { uid: string; name: string; message: string },
  ): Promise<{ layer: LayerRow; head: Point }>;
  /**
   * Puts a fresh head on a layer (a new lineage). O(1). What the old head held unsealed is left
   * behind: the caller seals it first. `epoch` as in {@link Catalog.seal}.
   */
  setHead(workspace: number, epoch: number | null, onto: LayerRow): Promise<Point>;
  /**
   * Applies a batch to the head at its next ordinal, in one transaction: what the head showed before
   * stays readable as a point. For changes that are not the holder's own operations; nothing of his
   * may be in flight. Contents that blocks name are in the store already. `epoch` as in
   * {@link Catalog.seal}.
   * @returns the head from then on
   * @throws {FencedError} when epoch or head are no longer current; then nothing was written.
   */
  amend(workspace: number, epoch: number | null, head: Point, batch: Batch): Promise<Point>;
  /**
   * Makes a state that stands on a chain of more lineages than `depth` readable through fewer: what
   * the upper ones changed is summed up once. The state must never change: a layer's, or what a
   * lineage stands on. Chains, and what they tell of changes, stay as they are.
   * @returns whether there was something to do
   */
  summarize(point: Point, depth: number): Promise<boolean>;
  /** Whether any row was born or died in the head since it was opened. */
  headChanged(workspace: number): Promise<boolean>;
  /** @throws {TarboxError} when the name is taken or invalid. */
  renameLayer(id: number, name: string): Promise<void>;
  /**
   * Forgets layers. What stands on one of them stands on its nearest kept ancestor from then on; its
   * changes become part of the layer above it. A layer without anything above is simply gone.
   */
  dropLayers(ids: readonly number[]): Promise<void>;

  /** A private lineage standing on a point (null: on nothing) that no workspace sees: for import. */
  openLineage(on: Point | null): Promise<Point>;
  /** Applies a batch to a private lineage at an ordinal not below any written before. */
  write(point: Point, batch: Batch): Promise<void>;
  /** Makes layers of points of private lineages, all or none. */
  publish(
    workspace: number,
    layers: readonly {
      uid: string;
      name: string;
      message: string;
      createdAt: Date;
      point: Point;
      /** `uid` of the layer below, of this list or there already; null at the bottom. */
      parent: string | null;
    }[],
  ): Promise<LayerRow[]>;
  /** Removes every row of private lineages that were never published: after a failed import. */
  discardLineages(lineages: readonly number[]): Promise<void>;
}

/** Reads of layers: one round trip each, and except {@link Layers.layers} by index. */
export interface Layers {
  /** All layers of the tenant, oldest first. */
  layers(): Promise<LayerRow[]>;
  /** @returns null when it was dropped. */
  layer(id: number): Promise<LayerRow | null>;
  /** The layer of this whole id, of any workspace. */
  layerOfUid(uid: string): Promise<LayerRow | null>;
  /**
   * The layer of this name among the workspace's own, else the nearest below its head: one whose
   * state the head's chain goes through.
   */
  layerNamed(workspace: number, name: string): Promise<LayerRow | null>;
  /**
   * The layers whose id starts with these lower-case hexadecimal digits, ordered by id: those of the
   * workspace, and when it has none, those of the tenant. At most `limit`.
   */
  layersOfPrefix(workspace: number, prefix: string, limit: number): Promise<LayerRow[]>;
  /**
   * The last layer sealed at or before a time, of the workspace's own and of those below its head.
   * Of a lineage below the head only what was sealed no later than the newest that the head sees
   * there counts: a clock that was set back hides nothing.
   */
  layerAt(workspace: number, time: Date): Promise<LayerRow | null>;
  /** What is `steps` layers below a layer (0: itself); null when there are fewer. Costs the steps. */
  layerBelow(id: number, steps: number): Promise<LayerRow | null>;
  /** The highest N of the workspace's layers called `STEM-N`, N of 1 to 15 digits; 0: there is none. */
  highestNumber(workspace: number, stem: string): Promise<number>;
}

/** What a collection of garbage removed. */
export interface Collected {
  readonly lineages: number;
  /** Rows of inodes, names and blocks. */
  readonly rows: number;
  readonly contents: number;
  /** Bytes of those contents. */
  readonly bytes: number;
}

/** The collector of garbage (spec/garbage.md). */
export interface Collector {
  /**
   * Removes what no layer, workspace, fork or unfinished import needs, while others work.
   * @param graceSeconds a lineage that was written to this lately is spared
   * @throws {TarboxError} when another collection of this tenant is running.
   */
  collectGarbage(graceSeconds: number): Promise<Collected>;
}

/** A request to whoever holds a workspace, from any machine that reaches the database. */
export interface Request {
  readonly id: number;
  readonly workspace: number;
  readonly command: string;
  readonly argument: unknown;
}

/** How a request ended. */
export type Reply = { readonly result: unknown } | {
  readonly error: string;
  readonly hint?: string;
};

/** Requests to the holder of a workspace, kept in the database. */
export interface Requests {
  /**
   * Hands a request to the holder and waits for its reply.
   * @throws {TarboxError} what the holder answered, or when it did not answer in time.
   */
  ask(
    workspace: number,
    command: string,
    argument: unknown,
    timeoutSeconds: number,
  ): Promise<unknown>;
  /**
   * Calls `handle` for every request to this workspace until the returned function is called.
   * @param epoch of the lease whose holder serves; null: one of the workspace's mounts, whoever has
   * the lease. Of several that serve, one carries a request out
   */
  serve(
    workspace: number,
    epoch: number | null,
    handle: (request: Request) => Promise<Reply>,
  ): Promise<() => Promise<void>>;
}

/** What is known of sealed states as container images. Nothing here is needed to read a tree. */
export interface Images {
  /** What leads to any of these states. */
  changesetsTo(points: readonly Point[]): Promise<ChangesetRow[]>;
  /** What has one of these digests of its unpacked tar. */
  changesetsOf(diffIds: readonly string[]): Promise<ChangesetRow[]>;
  /** Notes changesets; repositories are added to those that are known. */
  noteChangesets(rows: readonly ChangesetRow[]): Promise<void>;
  /** Configurations of the images that ended at these states. */
  imageConfigs(
    points: readonly Point[],
  ): Promise<{ readonly point: Point; readonly config: unknown }[]>;
  /** Notes the configuration (JSON) of the image that ends at a state, in place of an older one. */
  noteImageConfig(point: Point, config: unknown): Promise<void>;
}

/** One tenant's store. */
export interface Store
  extends Reader, Catalog, Layers, Requests, Images, Sharing, Collector, Quotas {
  readonly tenant: string;
  close(): Promise<void>;
}
