import { TarboxError } from "../../base/errors.ts";
import type {
  Chain,
  ChangedKeys,
  ChangesetRow,
  DentryRow,
  Entry,
  Holder,
  InodeRow,
  Point,
} from "../rows.ts";
import type { BlockRow } from "../rows.ts";
import type { Limits, Usage } from "../quotas.ts";
import type { Known, LockRow, MountRow, Seen } from "../sharing.ts";
import type { Collected, Reply, Request, Store } from "../store.ts";
import { PostgresCatalog } from "./catalog.ts";
import { collectGarbage } from "./garbage.ts";
import { checkSchema } from "./init.ts";
import type { DatabaseOptions } from "./options.ts";
import { Pool } from "./pool.ts";
import { Reading } from "./reading.ts";
import { PostgresImages } from "./images.ts";
import { PostgresRequests } from "./requests.ts";
import { summarizing } from "./shortcuts.ts";
import { PostgresSharing } from "./sharing.ts";

/**
 * Opens a tenant's store in PostgreSQL. Waits up to 10 s for a server that is starting up.
 * @throws {TarboxError} when it cannot be reached, has no or another schema, or no such tenant
 */
export async function openStore(options: DatabaseOptions, tenant: string): Promise<Store> {
  const pool = new Pool(options);
  try {
    await checkSchema(pool.writer);
    const [row] = await pool.writer.query(
      "select tenant_id from tenants where name = $1",
      [tenant],
    );
    if (row === undefined) throw new TarboxError(`tenant ${tenant}: there is none of that name`);
    return new PostgresStore(tenant, row.tenant_id, pool, options);
  } catch (error) {
    await pool.close();
    throw error;
  }
}

class PostgresStore extends PostgresCatalog implements Store {
  readonly #id: number;
  readonly #options: DatabaseOptions;
  readonly #pool: Pool;
  readonly #reading: Reading;
  readonly #requests: PostgresRequests;
  readonly #images: PostgresImages;

  constructor(readonly tenant: string, id: number, pool: Pool, options: DatabaseOptions) {
    super(id, pool, new PostgresSharing(id, pool, options));
    this.#id = id;
    this.#options = options;
    this.#pool = pool;
    this.#reading = new Reading(id, (text, parameters) => pool.read(text, parameters));
    this.#images = new PostgresImages(id, pool);
    this.#requests = new PostgresRequests(id, pool, options);
  }

  chain(point: Point): Promise<Chain> {
    return this.#reading.chain(point);
  }

  async summarize(point: Point, depth: number): Promise<boolean> {
    const short = this.#reading.shorten(await this.#reading.chain(point));
    if (short.length <= depth) return false;
    const { lineage } = await this.openLineage(short.at(-1)!);
    const upper = short.slice(0, -1);
    await this.#pool.transaction(summarizing(this.#id, upper, point, lineage), "summarize");
    // Another process may have been faster: what is stored counts.
    await this.#reading.chain(point);
    return true;
  }

  inodes(chain: Chain, numbers: readonly number[]): Promise<InodeRow[]> {
    return this.#reading.inodes(chain, numbers);
  }

  lookup(
    chain: Chain,
    keys: readonly { readonly parent: number; readonly name: Uint8Array }[],
  ): Promise<Entry[]> {
    return this.#reading.lookup(chain, keys);
  }

  list(chain: Chain, parent: number, after: number, limit: number): Promise<Entry[]> {
    return this.#reading.list(chain, parent, after, limit);
  }

  blocks(chain: Chain, inodes: readonly number[]): Promise<BlockRow[]> {
    return this.#reading.blocks(chain, inodes);
  }

  contents(hashes: readonly Uint8Array[]): Promise<Uint8Array[]> {
    return this.#reading.contents(hashes);
  }

  names(chain: Chain, children: readonly number[]): Promise<DentryRow[]> {
    return this.#reading.names(chain, children);
  }

  changedKeys(lineage: number, after: number, upto: number): Promise<ChangedKeys> {
    return this.#reading.changedKeys(lineage, after, upto);
  }

  counters(lineage: number): Promise<{ nextInode: number; nextCookie: number }> {
    return this.#reading.counters(lineage);
  }

  ask(
    workspace: number,
    command: string,
    argument: unknown,
    timeoutSeconds: number,
  ): Promise<unknown> {
    return this.#requests.ask(workspace, command, argument, timeoutSeconds);
  }

  serve(
    workspace: number,
    epoch: number | null,
    handle: (request: Request) => Promise<Reply>,
  ): Promise<() => Promise<void>> {
    return this.#requests.serve(workspace, epoch, handle);
  }

  changesetsTo(points: readonly Point[]): Promise<ChangesetRow[]> {
    return this.#images.changesetsTo(points);
  }

  changesetsOf(diffIds: readonly string[]): Promise<ChangesetRow[]> {
    return this.#images.changesetsOf(diffIds);
  }

  noteChangesets(rows: readonly ChangesetRow[]): Promise<void> {
    return this.#images.noteChangesets(rows);
  }

  imageConfigs(points: readonly Point[]): Promise<{ point: Point; config: unknown }[]> {
    return this.#images.imageConfigs(points);
  }

  noteImageConfig(point: Point, config: unknown): Promise<void> {
    return this.#images.noteImageConfig(point, config);
  }

  async limits(workspace: number): Promise<Limits> {
    const [row] = await this.#pool.read(
      `select quota_bytes, quota_inodes from workspaces
        where tenant_id = $1 and workspace_id = $2`,
      [this.#id, workspace],
    );
    const bound = (value: bigint | null) => value === null ? null : Number(value);
    return { bytes: bound(row!.quota_bytes), inodes: bound(row!.quota_inodes) };
  }

  async setLimits(workspace: number, { bytes, inodes }: Limits): Promise<void> {
    await this.#pool.transaction([[
      `update workspaces set quota_bytes = $3::int8, quota_inodes = $4::int8
        where tenant_id = $1 and workspace_id = $2`,
      [this.#id, workspace, bytes, inodes],
    ]], "quota");
  }

  usage(chain: Chain): Promise<Usage> {
    return this.#reading.usage(chain);
  }

  joinMount(workspace: number, holder: Holder): Promise<number> {
    return this.sharing.joinMount(workspace, holder);
  }

  leaveMount(workspace: number, mount: number): Promise<void> {
    return this.sharing.leaveMount(workspace, mount);
  }

  beatMount(
    workspace: number,
    mount: number,
    staleSeconds: number,
  ): Promise<{ others: number; wanted: boolean }> {
    return this.sharing.beatMount(workspace, mount, staleSeconds);
  }

  mounts(workspace: number | null): Promise<MountRow[]> {
    return this.sharing.mounts(workspace);
  }

  wantLease(workspace: number, mount: number): Promise<void> {
    return this.sharing.wantLease(workspace, mount);
  }

  look(workspace: number, mount: number, known: Known): Promise<Seen> {
    return this.sharing.look(workspace, mount, known);
  }

  putLocks(
    workspace: number,
    mount: number,
    inodes: readonly number[],
    locks: readonly LockRow[],
  ): Promise<void> {
    return this.sharing.putLocks(workspace, mount, inodes, locks);
  }

  watch(
    workspace: number,
    onEvent: (wantedBy: number | null) => void,
  ): Promise<() => Promise<void>> {
    return this.sharing.watch(workspace, onEvent);
  }

  collectGarbage(graceSeconds: number): Promise<Collected> {
    return collectGarbage(this.#id, this.#options, graceSeconds);
  }

  close(): Promise<void> {
    return this.#pool.close();
  }
}
