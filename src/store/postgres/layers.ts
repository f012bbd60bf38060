import type { LayerRow } from "../rows.ts";
import type { Row } from "./session.ts";
import type { Query } from "./reading.ts";

/** Columns of which {@link layerRow} makes a row. */
export const LAYER_COLUMNS = [
  "layer_id",
  "uid",
  "workspace_id",
  "name",
  "lineage",
  "ordinal",
  "parent",
  "message",
  "created_at",
].join(", ");

const COLUMNS = LAYER_COLUMNS.split(", ").map((column) => `l.${column}`).join(", ");

/** The chain of the head of workspace $2: parameters $1 tenant, $2 workspace. */
const HEAD_CHAIN = `chain(lineage, ordinal, depth) as (
  select w.head_lineage, w.head_ordinal, 0 from workspaces w
   where w.tenant_id = $1 and w.workspace_id = $2
  union all
  select p.parent_lineage, p.parent_ordinal, c.depth + 1
    from chain c cross join lateral (
      select * from lineages l where l.tenant_id = $1 and l.lineage = c.lineage limit 1) p
   where p.parent_lineage is not null)`;

/**
 * Reads of layers in PostgreSQL; each but the first by index, one row or a few. A chain is followed
 * through `lateral … limit 1`, which is a look-up for each step whatever the planner thinks of them.
 */
export class LayerReads {
  readonly #tenant: number;
  readonly #query: Query;

  constructor(tenant: number, query: Query) {
    this.#tenant = tenant;
    this.#query = query;
  }

  async layers(): Promise<LayerRow[]> {
    return await this.#rows(
      `select ${COLUMNS} from layers l where l.tenant_id = $1 order by l.layer_id`,
    );
  }

  async layer(id: number): Promise<LayerRow | null> {
    return await this.#row(
      `select ${COLUMNS} from layers l where l.tenant_id = $1 and l.layer_id = $2`,
      id,
    );
  }

  async layerOfUid(uid: string): Promise<LayerRow | null> {
    return await this.#row(
      `select ${COLUMNS} from layers l where l.tenant_id = $1 and l.uid = $2`,
      uid,
    );
  }

  async layerNamed(workspace: number, name: string): Promise<LayerRow | null> {
    return await this.#row(
      `with recursive own as (
         select * from layers where tenant_id = $1 and workspace_id = $2 and name = $3),
       ${HEAD_CHAIN}
       select ${COLUMNS} from own l
       union all
       (select ${COLUMNS} from layers l join chain c on l.lineage = c.lineage
         where not exists (select 1 from own)
           and l.tenant_id = $1 and l.name = $3 and l.ordinal <= c.ordinal
         order by c.depth, l.ordinal desc, l.layer_id limit 1)`,
      workspace,
      name,
    );
  }

  async layersOfPrefix(workspace: number, prefix: string, limit: number): Promise<LayerRow[]> {
    // `g` comes after every hexadecimal digit.
    const fits = `l.tenant_id = $1 and l.uid collate "C" >= $3::text
       and l.uid collate "C" < $3::text || 'g'`;
    return await this.#rows(
      `with own as (
         select ${COLUMNS} from layers l where ${fits} and l.workspace_id = $2
          order by l.uid collate "C" limit $4)
       select * from own
       union all
       (select ${COLUMNS} from layers l where not exists (select 1 from own) and ${fits}
         order by l.uid collate "C" limit $4)`,
      workspace,
      prefix,
      limit,
    );
  }

  async layerAt(workspace: number, time: Date): Promise<LayerRow | null> {
    // Times are kept to the microsecond and given to the millisecond.
    const before = "l.created_at < $3::timestamptz + interval '1 millisecond'";
    return await this.#row(
      `with recursive ${HEAD_CHAIN}
       select * from (
         (select ${COLUMNS} from layers l
           where l.tenant_id = $1 and l.workspace_id = $2 and ${before}
             and l.created_at > '-infinity'
           order by l.created_at desc, l.layer_id desc limit 1)
         union all
         select v.* from chain c
          cross join lateral (
            select n.created_at from layers n
             where n.tenant_id = $1 and n.lineage = c.lineage and n.ordinal <= c.ordinal
             order by n.ordinal desc, n.layer_id desc limit 1) newest
          cross join lateral (
            select ${COLUMNS} from layers l
             where l.tenant_id = $1 and l.lineage = c.lineage and l.ordinal <= c.ordinal
               and l.created_at <= newest.created_at and ${before}
             order by l.created_at desc, l.layer_id desc limit 1) v) l
        order by l.created_at desc, l.layer_id desc limit 1`,
      workspace,
      time,
    );
  }

  async layerBelow(id: number, steps: number): Promise<LayerRow | null> {
    return await this.#row(
      `with recursive below(layer_id, steps) as (
         select $2::int, 0
         union all
         select l.parent, b.steps + 1 from below b cross join lateral (
           select * from layers a where a.tenant_id = $1 and a.layer_id = b.layer_id limit 1) l
          where b.steps < $3::int and l.parent is not null)
       select ${COLUMNS} from layers l
        where l.tenant_id = $1
          and l.layer_id = (select b.layer_id from below b where b.steps = $3::int)`,
      id,
      Math.min(steps, 2 ** 31 - 1),
    );
  }

  async highestNumber(workspace: number, stem: string): Promise<number> {
    const number = "substring(name from '-([0-9]{1,15})$')::bigint";
    const rows = await this.#query(
      `select ${number} as number from layers
        where tenant_id = $1 and workspace_id = $2
          and substring(name from '^(.*)-[0-9]{1,15}$') = $3::text
        order by ${number} desc limit 1`,
      [this.#tenant, workspace, stem],
    );
    return Number(rows[0]?.number ?? 0);
  }

  async #rows(text: string, ...parameters: (number | string | Date)[]): Promise<LayerRow[]> {
    return (await this.#query(text, [this.#tenant, ...parameters])).map(layerRow);
  }

  async #row(text: string, ...parameters: (number | string | Date)[]): Promise<LayerRow | null> {
    return (await this.#rows(text, ...parameters))[0] ?? null;
  }
}

/** A layer of {@link LAYER_COLUMNS}. */
export function layerRow(row: Row): LayerRow {
  return {
    id: row.layer_id,
    uid: row.uid,
    workspace: row.workspace_id,
    name: row.name,
    point: { lineage: row.lineage, ordinal: row.ordinal },
    parent: row.parent,
    // ts-postgres reads an empty text as null.
    message: row.message ?? "",
    createdAt: row.created_at,
  };
}
