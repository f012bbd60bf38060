import { TarboxError } from "../../base/errors.ts";
import { Connection } from "./connection.ts";
import type { DatabaseOptions } from "./options.ts";
import type { Row } from "./session.ts";

/** Tables that hold trees. */
const KINDS = ["inodes", "dentries", "blocks", "contents"] as const;

/** What one kind of row takes. Sizes are bytes. */
export interface KindFigures {
  readonly kind: typeof KINDS[number];
  /** Rows of the tenant, of all versions. */
  readonly rows: number;
  /** Their data as it is stored, without the overhead of pages and indexes (pg_column_size). */
  readonly bytes: number;
  /** The table on the disk, of all tenants, without its indexes. */
  readonly tableBytes: number;
  /** Its indexes on the disk, of all tenants. */
  readonly indexBytes: number;
}

/** What one layer, or the unsealed head of a workspace, added. Sizes are bytes as stored. */
export interface LayerFigures {
  /** Null for what no layer has sealed. */
  readonly layer: { readonly id: string; readonly name: string } | null;
  /** Whose layer or head it is; null: a lineage that no workspace names. */
  readonly workspace: string | null;
  /** Rows of inodes, names and blocks that were born in it, and their bytes. */
  readonly rows: number;
  readonly bytes: number;
  /** Contents that nothing older has, and their bytes. */
  readonly contents: number;
  readonly contentBytes: number;
}

/** What a tenant takes in the database. Sizes are bytes. */
export interface StorageFigures {
  /** The database on the disk, with all tenants. */
  readonly databaseBytes: number;
  readonly kinds: readonly KindFigures[];
  /** Oldest layer first, then what is not sealed. */
  readonly layers: readonly LayerFigures[];
  /** Blocks of all versions: what they would take if each kept its own content, and what they take. */
  readonly deduplication: {
    readonly referencedBytes: number;
    readonly storedBytes: number;
    readonly savedBytes: number;
  };
  /** Contents that no block names: `tarbox gc` removes them. */
  readonly unneeded: { readonly contents: number; readonly bytes: number };
}

/** The versions of all trees: where each was born, and its bytes. */
const VERSIONS = ["inodes", "dentries", "blocks"].map((table) =>
  `select lineage, born, pg_column_size(t.*) as bytes from ${table} t where tenant_id = $1`
).join(" union all ");

/** Ordinals of a lineage that a layer sealed: after the layer below it there. */
const RUNS = `select layer_id, lineage, ordinal as upto,
    lag(ordinal, 1, -1) over (partition by lineage order by ordinal, layer_id) as after
  from layers where tenant_id = $1`;

const BY_LAYER = `
  with runs as (${RUNS}),
  born as (
    select lineage, born, count(*) as rows, sum(bytes) as bytes from (${VERSIONS}) v group by 1, 2),
  first as (
    select distinct on (hash) hash, lineage, born from blocks
     where tenant_id = $1 and not deleted order by hash, lineage, born),
  brought as (
    select f.lineage, f.born, count(*) as contents, sum(pg_column_size(c.data)) as bytes
      from first f join contents c on c.tenant_id = $1 and c.hash = f.hash group by 1, 2),
  sums as (
    select r.layer_id, b.lineage, sum(b.rows) as rows, sum(b.bytes) as bytes,
           sum(g.contents) as contents, sum(g.bytes) as content_bytes
      from born b
      left join runs r on r.lineage = b.lineage and b.born > r.after and b.born <= r.upto
      left join brought g on g.lineage = b.lineage and g.born = b.born
     group by 1, 2)
  select l.layer_id, l.uid, l.name, w.name as workspace, coalesce(s.rows, 0)::float8 as rows,
         coalesce(s.bytes, 0)::float8 as bytes, coalesce(s.contents, 0)::float8 as contents,
         coalesce(s.content_bytes, 0)::float8 as content_bytes
    from sums s
    full join (select * from layers where tenant_id = $1) l on l.layer_id = s.layer_id
    left join workspaces w on w.tenant_id = $1 and case when l.layer_id is null
         then w.head_lineage = s.lineage else w.workspace_id = l.workspace_id end
   order by l.layer_id nulls last, w.name`;

const DEDUPLICATION = `
  with used as (
    select hash, count(*) as uses from blocks where tenant_id = $1 and not deleted group by hash)
  select coalesce(sum(pg_column_size(c.data) * u.uses), 0)::float8 as referenced,
         coalesce(sum(pg_column_size(c.data)) filter (where u.uses is not null), 0)::float8 as stored,
         count(*) filter (where u.uses is null)::float8 as unneeded,
         coalesce(sum(pg_column_size(c.data)) filter (where u.uses is null), 0)::float8
           as unneeded_bytes
    from contents c left join used u on u.hash = c.hash where c.tenant_id = $1`;

/**
 * Measures what a tenant takes, over a connection of its own and as of one moment. Reads every row but no
 * content.
 * @throws {TarboxError} when there is no such tenant
 */
export async function storageFigures(
  options: DatabaseOptions,
  tenant: string,
): Promise<StorageFigures> {
  const connection = new Connection(options);
  try {
    const [row] = await connection.query("select tenant_id from tenants where name = $1", [tenant]);
    if (row === undefined) throw new TarboxError(`tenant ${tenant}: there is none of that name`);
    const of = [row.tenant_id];
    const [, database, kinds, layers, shared] = await connection.transaction([
      ["set transaction isolation level repeatable read, read only", []],
      ["select pg_database_size(current_database())::float8 as bytes", []],
      [KINDS.map(kindQuery).join(" union all "), of],
      [BY_LAYER, of],
      [DEDUPLICATION, of],
    ]) as [Row[], [Row], Row[], Row[], [Row]];
    const { referenced, stored, unneeded, unneeded_bytes } = shared[0];
    return {
      databaseBytes: database[0].bytes,
      kinds: kinds.map(({ kind, rows, bytes, table_bytes, index_bytes }) => ({
        kind,
        rows,
        bytes,
        tableBytes: table_bytes,
        indexBytes: index_bytes,
      })),
      layers: layers.map(layerFigures),
      deduplication: {
        referencedBytes: referenced,
        storedBytes: stored,
        savedBytes: referenced - stored,
      },
      unneeded: { contents: unneeded, bytes: unneeded_bytes },
    };
  } finally {
    await connection.close();
  }
}

/** The size of a row that holds a large value is that of the value as stored, not of its pointer. */
function kindQuery(kind: typeof KINDS[number]): string {
  const size = kind === "contents"
    ? "pg_column_size(t.tenant_id) + pg_column_size(t.hash) + pg_column_size(t.data)"
    : "pg_column_size(t.*)";
  return `select '${kind}' as kind, count(*)::float8 as rows,
      coalesce(sum(${size}), 0)::float8 as bytes,
      pg_table_size('${kind}')::float8 as table_bytes,
      pg_indexes_size('${kind}')::float8 as index_bytes
    from ${kind} t where t.tenant_id = $1`;
}

function layerFigures(row: Row): LayerFigures {
  return {
    layer: row.uid === null ? null : { id: row.uid, name: row.name },
    workspace: row.workspace,
    rows: row.rows,
    bytes: row.bytes,
    contents: row.contents,
    contentBytes: row.content_bytes,
  };
}
