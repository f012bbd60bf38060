import type { Batch, ChangedKeys, Holder, WorkspaceRow } from "./rows.ts";

/** One daemon that serves a workspace. */
export interface MountRow {
  readonly id: number;
  readonly workspace: number;
  readonly holder: Holder;
  /** Seconds since its heartbeat by the database's clock. */
  readonly ageSeconds: number;
}

/** One advisory lock that a process of some mount has. */
export interface LockRow {
  readonly mount: number;
  readonly inode: number;
  /** flock(2); else a POSIX record lock (man 2 fcntl). */
  readonly flock: boolean;
  /** The kernel's name of the owner, unique in its mount. */
  readonly owner: bigint;
  readonly start: bigint;
  /** Last byte; 0x7fffffffffffffff for "to the end, wherever it is". */
  readonly end: bigint;
  readonly type: "read" | "write";
  readonly pid: number;
}

/** What a mount of several knows of the shared state; what is asked is what came after it. */
export interface Known {
  readonly version: number;
  readonly lockVersion: number;
}

/** The shared state of a workspace at one moment. */
export interface Seen extends Known {
  readonly workspace: WorkspaceRow;
  /** Keys that commits since `Known.version` touched; null: not known, it may be all of them. */
  readonly changed: ChangedKeys | null;
  /** Locks of all other mounts; null: as they were at `Known.lockVersion`. */
  readonly locks: readonly LockRow[] | null;
  /** Numbers that are free at the head. */
  readonly counters: { readonly nextInode: number; readonly nextCookie: number };
}

/** When a lease may be taken that somebody has, and when not even a free one. */
export interface TakeOptions {
  /** Seconds without heartbeat after which a holder is fenced. */
  readonly staleSeconds: number;
  /** Epoch of a lease whose holder is known to be gone. */
  readonly gone?: number;
  /** Only when no other mount is there. */
  readonly alone?: boolean;
  /**
   * The holder has nothing open yet: inodes with nlink 0 that a crashed one left are reclaimed, unless
   * there are other mounts.
   */
  readonly fresh?: boolean;
}

/** Several mounts of one workspace (spec/coherence.md). */
export interface Sharing {
  /** Registers a mount. @returns its id */
  joinMount(workspace: number, holder: Holder): Promise<number>;
  /** Takes a mount and its locks away. */
  leaveMount(workspace: number, mount: number): Promise<void>;
  /**
   * Says that a mount lives, and takes those away whose heartbeat is older than `staleSeconds`.
   * @returns how many others there are, and whether one of them wants the lease
   * @throws {FencedError} when this one was taken away
   */
  beatMount(
    workspace: number,
    mount: number,
    staleSeconds: number,
  ): Promise<{ readonly others: number; readonly wanted: boolean }>;
  /** The mounts of a workspace (null: of all), also those whose heartbeat is old. */
  mounts(workspace: number | null): Promise<MountRow[]>;
  /**
   * Takes the lease when it is free or `options` allow to fence its holder, whose mount then goes with
   * its locks. A mount of `holder` must still be registered.
   * @returns the workspace with the new lease, or null when it is not to be had now
   * @throws {FencedError} when the holder's own mount was taken away
   */
  tryAttach(
    workspace: number,
    holder: Holder,
    options: TakeOptions,
  ): Promise<WorkspaceRow | null>;
  /** Asks whoever has the lease to yield it. */
  wantLease(workspace: number, mount: number): Promise<void>;
  /** The shared state. @throws {FencedError} when the mount was taken away */
  look(workspace: number, mount: number, known: Known): Promise<Seen>;
  /** Replaces the locks that a mount has of these inodes. */
  putLocks(
    workspace: number,
    mount: number,
    inodes: readonly number[],
    locks: readonly LockRow[],
  ): Promise<void>;
  /**
   * Calls back when something happened that other mounts may wait for: the lease is wanted (with the
   * id of the mount that wants it) or free, a lock was given up, a mount came or went (with null).
   * Notifications may be lost; they only make it quick.
   * @returns ends this
   */
  watch(
    workspace: number,
    onEvent: (wantedBy: number | null) => void,
  ): Promise<() => Promise<void>>;
}

/** The keys that a batch touches: what others who know the state before it must ask again. */
export function touchedKeys(batch: Batch): ChangedKeys {
  const inodes = new Set([
    ...batch.inodes.map(({ inode }) => inode),
    ...batch.deadInodes,
    ...batch.blocks.map(({ inode }) => inode),
    ...batch.deadBlocks.map(({ inode }) => inode),
  ]);
  const dentries = [...batch.dentries, ...batch.deadDentries]
    .map(({ parent, name }) => ({ parent, name }));
  return { inodes: [...inodes], dentries };
}
