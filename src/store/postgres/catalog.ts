import { DatabaseError } from "./client.ts";
import { TarboxError } from "../../base/errors.ts";
import { FencedError, RewoundError } from "../errors.ts";
import { checkName, leaseHeld, nameTaken, publishRefusal, workspaceGone } from "../names.ts";
import { emptyRoot } from "../root.ts";
import type { Batch, Holder, LayerRow, Lease, Point, WorkspaceRow } from "../rows.ts";
import type { TakeOptions } from "../sharing.ts";
import type { Store } from "../store.ts";
import { applyStatements, killInodes, publishStatement } from "./applying.ts";
import type { Statement } from "./connection.ts";
import type { Row } from "./session.ts";
import { LAYER_COLUMNS, LayerReads, layerRow } from "./layers.ts";
import type { Pool } from "./pool.ts";
import type { PostgresSharing } from "./sharing.ts";

/** Columns of which {@link workspaceRow} makes a row. */
export const WORKSPACE_COLUMNS = "workspace_id, name, head_lineage, head_ordinal, base_layer, " +
  "created_at, epoch, holder, heartbeat, extract(epoch from now() - heartbeat)::float8 as age";

/** Workspaces, layers and leases in PostgreSQL. */
export class PostgresCatalog {
  readonly #tenant: number;
  readonly #pool: Pool;
  readonly #layers: LayerReads;

  constructor(tenant: number, pool: Pool, protected readonly sharing: PostgresSharing) {
    this.#tenant = tenant;
    this.#pool = pool;
    this.#layers = new LayerReads(tenant, (text, parameters) => pool.read(text, parameters));
  }

  async workspaces(): Promise<WorkspaceRow[]> {
    const rows = await this.#pool.read(
      `select ${WORKSPACE_COLUMNS} from workspaces where tenant_id = $1 order by workspace_id`,
      [this.#tenant],
    );
    return rows.map(workspaceRow);
  }

  async workspace(name: string): Promise<WorkspaceRow | null> {
    const rows = await this.#pool.read(
      `select ${WORKSPACE_COLUMNS} from workspaces where tenant_id = $1 and name = $2`,
      [this.#tenant, name],
    );
    return rows.length === 0 ? null : workspaceRow(rows[0]!);
  }

  async createWorkspace(
    name: string,
    from: LayerRow | null,
    root: { uid: number; gid: number; time: bigint },
  ): Promise<WorkspaceRow> {
    checkName("workspace", name);
    if (await this.workspace(name) !== null) throw nameTaken("workspace", name);
    const head = await this.openLineage(from?.point ?? null);
    if (from === null) {
      await this.write(head, { ...EMPTY_BATCH, inodes: [emptyRoot(root)] });
    }
    try {
      const [row] = await this.#statement(
        "workspace",
        `insert into workspaces (tenant_id, name, head_lineage, head_ordinal, base_layer)
         values ($1, $2, $3, $4, $5) returning ${WORKSPACE_COLUMNS}`,
        [this.#tenant, name, head.lineage, head.ordinal, from?.id ?? null],
      );
      return workspaceRow(row!);
    } catch (error) {
      if (isCode(error, "23505")) throw nameTaken("workspace", name);
      throw error;
    }
  }

  async deleteWorkspace(id: number): Promise<void> {
    const workspace = await this.#byId(id);
    const which = [this.#tenant, id];
    const unheld = "tenant_id = $1 and workspace_id = $2 and holder is null";
    try {
      const results = await this.#pool.transaction([
        ["select 1 from workspaces where tenant_id = $1 and workspace_id = $2 for update", which],
        [`update workspaces set base_layer = null where ${unheld}`, which],
        [
          `delete from layers where tenant_id = $1 and workspace_id = $2
              and exists (select 1 from workspaces where ${unheld})`,
          which,
        ],
        [`delete from workspaces where ${unheld} returning name`, which],
      ], "delete-workspace");
      if (results.at(-1)!.length > 0) return;
      const { name, lease } = await this.#byId(id);
      if (lease !== null) throw leaseHeld(name, lease.holder);
    } catch (error) {
      if (!isCode(error, "23503")) throw error;
      throw new TarboxError(
        `workspace ${workspace.name}: another workspace stands on its layers`,
        "`tarbox layers --tree` shows which; delete that first",
      );
    }
  }

  layers(): Promise<LayerRow[]> {
    return this.#layers.layers();
  }

  layer(id: number): Promise<LayerRow | null> {
    return this.#layers.layer(id);
  }

  layerOfUid(uid: string): Promise<LayerRow | null> {
    return this.#layers.layerOfUid(uid);
  }

  layerNamed(workspace: number, name: string): Promise<LayerRow | null> {
    return this.#layers.layerNamed(workspace, name);
  }

  layersOfPrefix(workspace: number, prefix: string, limit: number): Promise<LayerRow[]> {
    return this.#layers.layersOfPrefix(workspace, prefix, limit);
  }

  layerAt(workspace: number, time: Date): Promise<LayerRow | null> {
    return this.#layers.layerAt(workspace, time);
  }

  layerBelow(id: number, steps: number): Promise<LayerRow | null> {
    return this.#layers.layerBelow(id, steps);
  }

  highestNumber(workspace: number, stem: string): Promise<number> {
    return this.#layers.highestNumber(workspace, stem);
  }

  async attach(
    id: number,
    holder: Holder,
    staleSeconds: number,
    gone?: number,
  ): Promise<Lease> {
    const workspace = await this.tryAttach(id, holder, { staleSeconds, gone, fresh: true });
    if (workspace !== null) return workspace.lease!;
    const { name, lease } = await this.#byId(id);
    throw leaseHeld(name, lease?.holder ?? holder);
  }

  async tryAttach(
    id: number,
    holder: Holder,
    options: TakeOptions,
  ): Promise<WorkspaceRow | null> {
    const workspace = await this.sharing.tryAttach(id, holder, options);
    if (workspace !== null && options.fresh) {
      await this.#reclaimOrphans(workspace, holder.mount ?? null);
    }
    return workspace;
  }

  /**
   * What was unlinked and open when its holder died has no name and nobody who holds it, unless
   * another mount does.
   */
  async #reclaimOrphans(
    { id, lease, head: { lineage, ordinal } }: WorkspaceRow,
    mount: number | null,
  ): Promise<void> {
    const rows = await this.#pool.read(
      `select inode from inodes
        where tenant_id = $1 and lineage = $2 and nlink = 0 and died = 2147483647
          and not deleted and not exists
              (select 1 from mounts m where m.tenant_id = $1 and m.workspace_id = $3
                  and m.mount_id is distinct from $4::int8)`,
      [this.#tenant, lineage, id, mount],
    );
    if (rows.length === 0) return;
    const inodes = rows.map(({ inode }) => Number(inode));
    await this.#pool.transaction(
      [
        ["select tarbox_check_lease($1, $2, $3)", [this.#tenant, id, lease!.epoch]],
        ...killInodes([this.#tenant, lineage, ordinal], inodes),
      ],
      "reclaim",
    );
  }

  async heartbeat(id: number, epoch: number): Promise<void> {
    const rows = await this.#statement(
      "heartbeat",
      `update workspaces set heartbeat = now()
        where tenant_id = $1 and workspace_id = $2 and epoch = $3 and holder is not null
       returning name`,
      [this.#tenant, id, epoch],
    );
    if (rows.length === 0) throw new FencedError((await this.#byId(id)).name);
  }

  async detach(id: number, epoch: number): Promise<void> {
    await this.#pool.transaction([
      [
        `update workspaces set holder = null
          where tenant_id = $1 and workspace_id = $2 and epoch = $3`,
        [this.#tenant, id, epoch],
      ],
      this.sharing.tell(id),
    ], "detach");
  }

  async commit(
    id: number,
    epoch: number,
    head: Point,
    sequence: number,
    batch: Batch,
    publish = false,
  ): Promise<void> {
    try {
      await this.#pool.transaction([
        [
          "select tarbox_begin_commit($1, $2, $3, $4, $5, $6)",
          [this.#tenant, id, epoch, head.lineage, head.ordinal, sequence],
        ],
        ...(publish ? [publishStatement(this.#tenant, id, batch)] : []),
        ...applyStatements(this.#tenant, head, batch),
      ], "commit");
    } catch (error) {
      if (isCode(error, "TB002")) return;
      if (isCode(error, "TB003")) throw new RewoundError((await this.#byId(id)).name);
      if (isCode(error, "TB001")) throw new FencedError((await this.#byId(id)).name);
      throw error;
    }
  }

  async seal(
    id: number,
    epoch: number | null,
    { uid, name, message }: { uid: string; name: string; message: string },
  ): Promise<{ layer: LayerRow; head: Point }> {
    checkName("layer", name);
    try {
      const [, rows] = await this.#pool.transaction([
        [
          "select 1 from workspaces where tenant_id = $1 and workspace_id = $2 for update",
          [this.#tenant, id],
        ],
        [
          `insert into layers
             (tenant_id, uid, workspace_id, name, lineage, ordinal, parent, message)
           select $1::int, $4::text, $2::int, $5::text, w.head_lineage, w.head_ordinal,
                  w.base_layer, $6::text
             from workspaces w
            where w.tenant_id = $1 and w.workspace_id = $2 and ${heldBy("w", "$3")}
              and not exists (select 1 from layers l where l.tenant_id = $1 and l.uid = $4)
           returning ${LAYER_COLUMNS}`,
          [this.#tenant, id, epoch, uid, name, message],
        ],
        [
          `update workspaces w set head_ordinal = l.ordinal + 1, base_layer = l.layer_id
             from layers l
            where w.tenant_id = $1 and w.workspace_id = $2 and l.tenant_id = $1 and l.uid = $3
              and w.head_lineage = l.lineage and w.head_ordinal = l.ordinal`,
          [this.#tenant, id, uid],
        ],
      ], "seal");
      if (rows!.length === 0) return await this.#sealedBefore(id, epoch, uid);
      const layer = layerRow(rows![0]!);
      const { lineage, ordinal } = layer.point;
      return { layer, head: { lineage, ordinal: ordinal + 1 } };
    } catch (error) {
      if (isCode(error, "23505")) throw nameTaken("layer", name);
      throw error;
    }
  }

  async #sealedBefore(
    id: number,
    epoch: number | null,
    uid: string,
  ): Promise<{ layer: LayerRow; head: Point }> {
    const workspace = await this.#checkHeld(id, epoch);
    const layer = await this.layerOfUid(uid);
    if (layer === null) throw new FencedError(workspace.name);
    return { layer, head: workspace.head };
  }

  async setHead(id: number, epoch: number | null, onto: LayerRow): Promise<Point> {
    const head = await this.openLineage(onto.point);
    const rows = await this.#statement(
      "switch",
      `update workspaces w set head_lineage = $4, head_ordinal = $5, base_layer = $6
        where w.tenant_id = $1 and w.workspace_id = $2 and ${heldBy("w", "$3")}
       returning name`,
      [this.#tenant, id, epoch, head.lineage, head.ordinal, onto.id],
    );
    if (rows.length === 0) {
      const { name } = await this.#checkHeld(id, epoch);
      throw new FencedError(name);
    }
    return head;
  }

  async amend(id: number, epoch: number | null, head: Point, batch: Batch): Promise<Point> {
    const next = { lineage: head.lineage, ordinal: head.ordinal + 1 };
    try {
      await this.#pool.transaction([
        [
          "select tarbox_begin_amend($1, $2, $3, $4, $5)",
          [this.#tenant, id, epoch, head.lineage, head.ordinal],
        ],
        ...applyStatements(this.#tenant, next, batch),
      ]);
      return next;
    } catch (error) {
      if (!isCode(error, "TB001")) throw error;
      throw new FencedError((await this.#checkHeld(id, epoch)).name);
    }
  }

  async headChanged(id: number): Promise<boolean> {
    const { head: { lineage, ordinal } } = await this.#byId(id);
    const touched = "tenant_id = $1 and lineage = $2 and (born = $3 or died = $3)";
    const [row] = await this.#pool.read(
      `select exists (select 1 from inodes where ${touched})
           or exists (select 1 from dentries where ${touched}) as changed`,
      [this.#tenant, lineage, ordinal],
    );
    return row!.changed;
  }

  async renameLayer(id: number, name: string): Promise<void> {
    checkName("layer", name);
    try {
      await this.#statement(
        "rename",
        "update layers set name = $3 where tenant_id = $1 and layer_id = $2",
        [this.#tenant, id, name],
      );
    } catch (error) {
      if (isCode(error, "23505")) throw nameTaken("layer", name);
      throw error;
    }
  }

  async dropLayers(ids: readonly number[]): Promise<void> {
    const parent = "(select d.parent from layers d where d.tenant_id = $1 and d.layer_id = $2)";
    await this.#pool.transaction(
      ids.flatMap((id): Statement[] => [
        [
          `update layers set parent = ${parent} where tenant_id = $1 and parent = $2`,
          [this.#tenant, id],
        ],
        [
          `update workspaces set base_layer = ${parent} where tenant_id = $1 and base_layer = $2`,
          [this.#tenant, id],
        ],
        ["delete from layers where tenant_id = $1 and layer_id = $2", [this.#tenant, id]],
      ]),
      "drop",
    );
  }

  async openLineage(on: Point | null): Promise<Point> {
    const [row] = on === null
      ? await this.#statement(
        "lineage",
        `insert into lineages (tenant_id, next_inode, next_cookie) values ($1, 2, 1)
         returning lineage`,
        [this.#tenant],
      )
      : await this.#statement(
        "lineage",
        `insert into lineages
           (tenant_id, parent_lineage, parent_ordinal, next_inode, next_cookie)
         select $1::int, $2::int, $3::int, next_inode, next_cookie
           from lineages where tenant_id = $1 and lineage = $2
         returning lineage`,
        [this.#tenant, on.lineage, on.ordinal],
      );
    return { lineage: row!.lineage, ordinal: 1 };
  }

  async write(point: Point, batch: Batch): Promise<void> {
    // Nobody sees it before `publish`, whose commit makes all that went before durable with itself.
    const later: Statement = ["set local synchronous_commit to off", []];
    const statements = applyStatements(this.#tenant, point, batch);
    await this.#pool.transaction([later, ...statements], "write");
  }

  async publish(workspace: number, layers: Parameters<Store["publish"]>[1]): Promise<LayerRow[]> {
    for (const { name } of layers) checkName("layer", name);
    try {
      const results = await this.#pool.transaction(
        layers.map(({ uid, name, message, createdAt, point, parent }): Statement => [
          `insert into layers (tenant_id, uid, workspace_id, name, lineage, ordinal, parent,
                  message, created_at)
           values ($1, $2, $3, $4, $5, $6, case when $7::text is null then null else
                     coalesce((select layer_id from layers where tenant_id = $1 and uid = $7), -1)
                   end, $8, $9)
           returning ${LAYER_COLUMNS}`,
          [
            this.#tenant,
            uid,
            workspace,
            name,
            point.lineage,
            point.ordinal,
            parent,
            message,
            createdAt,
          ],
        ]),
        "publish",
      );
      return results.map((rows) => layerRow(rows[0]!));
    } catch (error) {
      if (!isCode(error, "23505") && !isCode(error, "23503")) throw error;
      throw publishRefusal(await this.layers(), workspace, layers) ?? error;
    }
  }

  async discardLineages(lineages: readonly number[]): Promise<void> {
    const of = "where tenant_id = $1 and lineage = any($2::int[])";
    const parameters = [this.#tenant, lineages];
    await this.#pool.transaction([
      [`delete from blocks ${of}`, parameters],
      [`delete from dentries ${of}`, parameters],
      [`delete from inodes ${of}`, parameters],
      [`delete from lineages ${of}`, parameters],
    ], "discard");
  }

  /** The workspace, held by `epoch`, or (null) by nobody. @throws as the Store says */
  async #checkHeld(id: number, epoch: number | null): Promise<WorkspaceRow> {
    const workspace = await this.#byId(id);
    const { lease, name } = workspace;
    if (epoch === null && lease !== null) throw leaseHeld(name, lease.holder);
    if (epoch !== null && lease?.epoch !== epoch) throw new FencedError(name);
    return workspace;
  }

  async #byId(id: number): Promise<WorkspaceRow> {
    const [row] = await this.#pool.read(
      `select ${WORKSPACE_COLUMNS} from workspaces where tenant_id = $1 and workspace_id = $2`,
      [this.#tenant, id],
    );
    if (row === undefined) throw workspaceGone();
    return workspaceRow(row);
  }

  /** One statement as a transaction with failpoints of this name. */
  async #statement(name: string, ...statement: Statement): Promise<Row[]> {
    const [rows] = await this.#pool.transaction([statement], name);
    return rows!;
  }
}

/** SQL: the workspace is held under the epoch of a parameter, or by nobody where that is null. */
function heldBy(alias: string, epoch: string): string {
  return `(case when ${epoch}::bigint is null then ${alias}.holder is null
           else ${alias}.holder is not null and ${alias}.epoch = ${epoch}::bigint end)`;
}

const EMPTY_BATCH: Batch = {
  nextInode: 2,
  nextCookie: 1,
  inodes: [],
  deadInodes: [],
  dentries: [],
  deadDentries: [],
  blocks: [],
  deadBlocks: [],
  contents: [],
};

function isCode(error: unknown, code: string): boolean {
  return error instanceof DatabaseError && error.code === code;
}

/** A workspace of {@link WORKSPACE_COLUMNS}. */
export function workspaceRow(row: Row): WorkspaceRow {
  const lease = row.holder === null ? null : {
    epoch: Number(row.epoch),
    holder: row.holder as Holder,
    heartbeat: row.heartbeat as Date,
    ageSeconds: row.age as number,
  };
  return {
    id: row.workspace_id,
    name: row.name,
    head: { lineage: row.head_lineage, ordinal: row.head_ordinal },
    base: row.base_layer,
    createdAt: row.created_at,
    lease,
  };
}
