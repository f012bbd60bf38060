import { EIO } from "../base/errno.ts";
import { FencedError, UnavailableError } from "../store/errors.ts";
import type { ChangedKeys, Holder, Lease, WorkspaceRow } from "../store/rows.ts";
import type { Known, LockRow, Seen } from "../store/sharing.ts";
import type { Store } from "../store/store.ts";
import type { Rebase } from "../vfs/rebase.ts";
import { deadEpoch, HEARTBEAT_MS, holderIsDead, selfHolder, STALE_SECONDS } from "./lease.ts";
import type { Catching, LockChanges, ToWorker } from "./messages.ts";

/** Seconds for which a mount that is alone may take to go to shared mode: it commits first. */
const SHARE_SECONDS = 60;

/** Milliseconds for which others may take the lease that was yielded to them. */
const COURTESY_MS = 5;

/** Milliseconds between looks at a lease that somebody has, should notifications not arrive. */
const LOOK_MS = 100;

/** Milliseconds after which a wish for the lease is told again. */
const WISH_MS = 500;

/** What is known before the first look. */
const NOTHING: Known = { version: -1, lockVersion: -1 };

/** What {@link Leasing} needs of its mount. */
export interface LeaseOwner {
  send(message: ToWorker): void;
  /** The head may be another one; returns what the tree must learn when its lineage is. */
  headIs(workspace: WorkspaceRow): Promise<Rebase | null>;
  /** Other mounts changed these keys; null: it is not known which. */
  changed(keys: ChangedKeys | null): void;
  /** Whether the kernel has pages of a file that it does not ask for again. */
  readonly keepsPages: boolean;
  /** This mount was alone, and another one is there: it is to go to shared mode. */
  wantsShare(): void;
  /** The database answered, is away, or has given the lease to somebody else. */
  beat(error: Error | null): void;
  /** Milliseconds for which a database that is away is waited for. */
  readonly retryTimeoutMs: number;
}

/**
 * The lease of a workspace as one of its mounts has it, on the main thread: kept for good by a mount
 * that is alone, taken and yielded in turns by one of several (spec/coherence.md).
 */
export class Leasing {
  readonly #store: Store;
  readonly #holder: Holder;
  readonly #workspace: number;
  #mount: number;
  #owner!: LeaseOwner;
  #shared = true;
  #lease: Lease | null = null;
  #known: Known = NOTHING;
  /** The question of the request thread that is being worked on, and whether for a turn. */
  #asking: { question: number; write: boolean } | null = null;
  /** The request thread was told that it has its turn. */
  #begun = false;
  /** The turn is being ended. */
  #ending = false;
  #wantedMs = 0;
  #wishedMs = 0;
  #yieldedMs = 0;
  #answering = false;
  /** How many other mounts the last heartbeat saw. */
  #others = 1;
  /** Commands for which the lease is kept. */
  #pins = 0;
  #granted = Promise.withResolvers<void>();
  #event = Promise.withResolvers<void>();
  #unwatch: (() => Promise<void>) | null = null;
  #beating: ReturnType<typeof setInterval> | undefined;
  #stopped = false;

  private constructor(store: Store, workspace: number, holder: Holder, mount: number) {
    this.#store = store;
    this.#workspace = workspace;
    this.#holder = holder;
    this.#mount = mount;
  }

  /**
   * Registers a mount, and takes the lease when no other mount is there; else has the one that is alone
   * go to shared mode, or waits until a dead one is stale.
   * @throws {TarboxError} when a mount that lives does not share
   */
  static async join(store: Store, workspace: number, mountPoint: string): Promise<Leasing> {
    const own = selfHolder(mountPoint);
    const mount = await store.joinMount(workspace, own);
    const leasing = new Leasing(store, workspace, own, mount);
    try {
      await leasing.#enter();
      return leasing;
    } catch (error) {
      await store.leaveMount(workspace, mount).catch(() => {});
      throw error;
    }
  }

  /** Whether there are other mounts. */
  get shared(): boolean {
    return this.#shared;
  }

  /** The epoch of the lease that this mount has, or null: it is not its turn. */
  get epoch(): number | null {
    return this.#lease?.epoch ?? null;
  }

  /** Serves from now on: to be called once the request thread can be told. */
  async start(owner: LeaseOwner): Promise<void> {
    this.#owner = owner;
    this.#unwatch = await this.#store.watch(this.#workspace, (wantedBy) => this.#hear(wantedBy));
    this.#beating = setInterval(() => void this.#beat(), HEARTBEAT_MS);
  }

  /** The request thread has operations that wait for a turn, or for a look. */
  ask(question: number, write: boolean): void {
    this.#asking = {
      question: Math.max(question, this.#asking?.question ?? 0),
      write: write || (this.#asking?.write ?? false),
    };
    void this.#answer();
  }

  /** The request thread's turn is over, and committed. */
  async over(locks: LockChanges): Promise<void> {
    try {
      await this.#putLocks(locks);
      const lease = this.#lease;
      this.#lease = null;
      this.#begun = false;
      // Who wanted the lease has its turn now, and asks again for the next.
      this.#wantedMs = 0;
      this.#yieldedMs = Date.now();
      if (lease !== null) await this.#store.detach(this.#workspace, lease.epoch);
    } catch (error) {
      // The lease goes stale then, and is taken over.
      console.error("yielding the lease:", error);
    }
    this.#ending = false;
    if (this.#asking !== null) void this.#answer();
  }

  /** Locks changed out of a turn: some were given up. */
  async putLocks(locks: LockChanges): Promise<void> {
    await this.#putLocks(locks).catch((error) => console.error("telling of locks:", error));
  }

  /**
   * Has the lease until {@link Leasing.unpin}, whatever others want.
   * @returns its epoch
   */
  async pin(): Promise<number> {
    this.#pins++;
    try {
      for (;;) {
        if (this.#lease !== null && this.#begun && !this.#ending) return this.#lease.epoch;
        this.ask(0, true);
        await this.#granted.promise;
      }
    } catch (error) {
      this.unpin();
      throw error;
    }
  }

  /** Others may have the lease again. */
  unpin(): void {
    this.#pins--;
    if (this.#pins === 0 && Date.now() - this.#wantedMs < 2 * WISH_MS) this.#end();
  }

  /**
   * Goes to shared mode while the tree stands still and everything is committed.
   * @param turnOver has the request thread go there; returns the locks that others must know
   */
  async share(turnOver: () => Promise<LockChanges>): Promise<void> {
    if (this.#shared) return;
    await this.#putLocks(await turnOver());
    // What memory knows is the state up to here: others can only change it from now on.
    const { version } = await this.#store.look(this.#workspace, this.#mount, NOTHING);
    this.#known = { ...NOTHING, version };
    const { epoch } = this.#lease!;
    this.#shared = true;
    this.#others = 1;
    this.#lease = null;
    this.#begun = false;
    await this.#store.detach(this.#workspace, epoch);
  }

  /** Gives everything back: the mount is over. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    clearInterval(this.#beating);
    this.#event.resolve();
    await this.#unwatch?.();
    if (this.#lease !== null) await this.#store.detach(this.#workspace, this.#lease.epoch);
    await this.#store.leaveMount(this.#workspace, this.#mount);
  }

  async #enter(): Promise<void> {
    await this.#forgetDead();
    for (;;) {
      if (await this.#take({ alone: true, fresh: true })) {
        this.#shared = false;
        this.#begun = true;
        return;
      }
      const { workspace } = await this.#store.look(this.#workspace, this.#mount, NOTHING);
      const { lease } = workspace;
      const others = (await this.#store.mounts(this.#workspace))
        .filter(({ id }) => id !== this.#mount);
      if (others.length > 0 && (lease === null || lease.holder.shared === true)) return;
      if (lease?.holder.mount !== undefined && !holderIsDead(lease)) {
        await this.#askToShare(lease);
      } else if (lease !== null) {
        // A command has it, or a holder that is dead: until it is done, or stale.
        if (await this.#take({ gone: deadEpoch(lease) })) {
          await this.#store.detach(this.#workspace, this.#lease!.epoch);
          this.#lease = null;
        }
        await pause(LOOK_MS);
      }
      await this.#forgetDead();
    }
  }

  async #askToShare({ holder, ageSeconds }: Lease): Promise<void> {
    try {
      await this.#store.ask(this.#workspace, "share", {}, SHARE_SECONDS);
    } catch (error) {
      const { workspace } = await this.#store.look(this.#workspace, this.#mount, NOTHING);
      const now = workspace.lease;
      // It ended meanwhile, or stopped answering: then its lease goes stale.
      if (now === null || now.holder.mount !== holder.mount || now.ageSeconds > ageSeconds) return;
      throw error;
    }
  }

  /**
   * Says that this mount lives, and takes those away whose process on this machine is gone or whose
   * heartbeat is old.
   */
  async #forgetDead(): ReturnType<Store["beatMount"]> {
    const beat = await this.#store.beatMount(this.#workspace, this.#mount, STALE_SECONDS);
    if (beat.others === 0) return beat;
    let { others } = beat;
    for (const { id, holder } of await this.#store.mounts(this.#workspace)) {
      if (id === this.#mount || !holderIsDead({ holder })) continue;
      await this.#store.leaveMount(this.#workspace, id);
      others--;
    }
    return { ...beat, others };
  }

  /** Tries to take the lease. @returns whether it is ours now */
  async #take(
    options: { alone?: boolean; fresh?: boolean; gone?: number },
  ): Promise<boolean> {
    const holder = { ...this.#holder, mount: this.#mount, shared: options.alone !== true };
    const row = await this.#store.tryAttach(this.#workspace, holder, {
      staleSeconds: STALE_SECONDS,
      ...options,
    });
    this.#lease = row?.lease ?? null;
    return row !== null;
  }

  /** Works on what the request thread asked, until it is answered. One at a time. */
  async #answer(): Promise<void> {
    if (this.#answering) return;
    this.#answering = true;
    const deadline = Date.now() + this.#owner.retryTimeoutMs;
    try {
      while (this.#asking !== null && this.#lease === null && !this.#stopped) {
        try {
          if (await this.#attempt()) return;
        } catch (error) {
          if (error instanceof FencedError) await this.#rejoin();
          else if (!(error instanceof UnavailableError)) throw error;
          else if (Date.now() > deadline) throw error;
          else await pause(LOOK_MS);
        }
      }
    } catch (error) {
      console.error("waiting for a turn:", error);
      const { question } = this.#asking!;
      this.#asking = null;
      this.#granted.reject(error);
      this.#granted.promise.catch(() => {});
      this.#granted = Promise.withResolvers();
      this.#owner.send({ type: "turn-failed", question, errno: EIO });
    } finally {
      this.#answering = false;
    }
  }

  /** One try. @returns whether the question is answered */
  async #attempt(): Promise<boolean> {
    const { write } = this.#asking!;
    const event = this.#event.promise;
    if (!write) {
      const seen = await this.#look();
      if (seen.workspace.lease === null) {
        const { question } = this.#asking!;
        // Asked for more meanwhile: that is the next try.
        if (this.#asking!.write) return false;
        const catching = await this.#catching(seen);
        this.#asking = null;
        this.#wishedMs = 0;
        this.#owner.send({ type: "seen", question, catching });
        return true;
      }
    } else {
      const courtesy = this.#yieldedMs + COURTESY_MS - Date.now();
      if (courtesy > 0) await pause(courtesy);
    }
    if (this.#others === 0 && await this.#take({ alone: true })) {
      await this.#grant(true);
      return true;
    }
    if (await this.#take({})) {
      await this.#grant(false);
      return true;
    }
    const { workspace: { lease } } = await this.#look();
    if (lease !== null && holderIsDead(lease) && await this.#take({ gone: lease.epoch })) {
      await this.#grant(false);
      return true;
    }
    if (lease !== null && Date.now() - this.#wishedMs > WISH_MS) {
      this.#wishedMs = Date.now();
      await this.#store.wantLease(this.#workspace, this.#mount);
    }
    if (lease !== null) await Promise.race([event, pause(LOOK_MS)]);
    return false;
  }

  /** The lease is ours: the request thread has its turn, on the state that others left. */
  async #grant(alone: boolean): Promise<void> {
    const seen = await this.#look();
    const catching = await this.#catching(seen);
    this.#asking = null;
    this.#wishedMs = 0;
    this.#shared = !alone;
    this.#owner.send({ type: "begin", catching, alone });
    this.#begun = true;
    this.#granted.resolve();
    this.#granted = Promise.withResolvers();
    if (!alone && Date.now() - this.#wantedMs < WISH_MS) this.#end();
  }

  #look(): Promise<Seen> {
    return this.#store.look(this.#workspace, this.#mount, this.#known);
  }

  /** What the request thread must take in to be at what was seen. */
  async #catching(seen: Seen): Promise<Catching> {
    const rebase = await this.#owner.headIs(seen.workspace);
    this.#known = { version: seen.version, lockVersion: seen.lockVersion };
    const { changed, counters, locks } = seen;
    this.#owner.changed(changed);
    return { rebase, changed, counters, locks };
  }

  /** This mount was taken away while it was stopped: it has nothing left but what it asks for. */
  async #rejoin(): Promise<void> {
    console.error("this mount was away for too long; its locks are lost");
    this.#mount = await this.#store.joinMount(this.#workspace, this.#holder);
    this.#known = NOTHING;
  }

  async #beat(): Promise<void> {
    try {
      if (this.#lease !== null) await this.#store.heartbeat(this.#workspace, this.#lease.epoch);
      const { others, wanted } = await this.#forgetDead();
      this.#others = others;
      if (wanted) this.#wanted();
      if (others === 0 && this.#shared) {
        if (this.#lease === null) await this.#goAlone();
        else this.#end();
      }
      this.#owner.beat(null);
    } catch (error) {
      if (error instanceof FencedError && this.#lease === null) {
        await this.#rejoin().catch((failed) => console.error("heartbeat:", failed));
      } else {
        if (error instanceof FencedError) this.#lost();
        this.#owner.beat(error as Error);
      }
    }
  }

  /** What was done in the turn and not committed is lost: this mount goes on no more. */
  #lost(): void {
    this.#lease = null;
    clearInterval(this.#beating);
  }

  /** Nobody else is there: the lease is kept from now on. */
  async #goAlone(): Promise<void> {
    if (this.#answering || this.#ending) return;
    this.#answering = true;
    try {
      if (await this.#take({ alone: true })) await this.#grant(true);
    } finally {
      this.#answering = false;
    }
  }

  #hear(wantedBy: number | null): void {
    this.#event.resolve();
    this.#event = Promise.withResolvers();
    if (wantedBy !== null && wantedBy !== this.#mount) this.#wanted();
    else if (this.#shared && this.#owner.keepsPages) void this.#glance();
  }

  /** Looks at what others changed before anybody asks: the kernel may have pages of it. */
  async #glance(): Promise<void> {
    try {
      this.#owner.changed((await this.#look()).changed);
    } catch (error) {
      if (!(error instanceof UnavailableError)) console.error("looking at changes:", error);
    }
  }

  /** Another mount wants the lease. */
  #wanted(): void {
    if (this.#lease === null) return;
    this.#wantedMs = Date.now();
    if (this.#shared) this.#end();
    else this.#owner.wantsShare();
  }

  #end(): void {
    if (!this.#shared || !this.#begun || this.#ending || this.#pins > 0) return;
    this.#ending = true;
    this.#owner.send({ type: "end" });
  }

  async #putLocks({ inodes, locks }: LockChanges): Promise<void> {
    if (inodes.length === 0) return;
    const rows = locks.map((lock) => ({ ...lock, mount: this.#mount }) as LockRow);
    await this.#store.putLocks(this.#workspace, this.#mount, inodes, rows);
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
