import { TarboxError } from "../../base/errors.ts";
import { garbageOf, type Roots } from "../needed.ts";
import type { Collected } from "../store.ts";
import { Connection, type Statement } from "./connection.ts";
import type { Row } from "./session.ts";
import type { DatabaseOptions } from "./options.ts";
import { named } from "./pool.ts";

/** Class of the advisory locks that keep commits and the removal of contents apart: "tbco". */
export const CONTENTS_LOCK = 0x7462636f;

/** Class of the advisory lock of the one collector of a tenant: "tbgc". */
const COLLECTOR_LOCK = 0x74626763;

/** Rows that one transaction removes at most. */
const ROWS_AT_ONCE = 20_000;

/** Contents that one transaction removes at most: commits wait for it. */
const CONTENTS_AT_ONCE = 200;

const TABLES = ["blocks", "dentries", "inodes"] as const;

/**
 * Removes what nothing needs (spec/garbage.md), over a connection of its own: in small transactions,
 * each of which leaves a sound store when it is the last.
 */
export async function collectGarbage(
  tenant: number,
  options: DatabaseOptions,
  graceSeconds: number,
): Promise<Collected> {
  const connection = new Connection(options);
  try {
    const [lock] = await connection.query(
      "select pg_try_advisory_lock($1::int, $2::int) as taken",
      [COLLECTOR_LOCK, tenant],
    );
    if (!lock!.taken) throw new TarboxError("gc: another collection of this tenant is running");
    return await new Collection(connection, tenant, graceSeconds).run();
  } finally {
    await connection.close();
  }
}

class Collection {
  readonly #connection: Connection;
  readonly #tenant: number;
  readonly #graceSeconds: number;

  constructor(connection: Connection, tenant: number, graceSeconds: number) {
    this.#connection = connection;
    this.#tenant = tenant;
    this.#graceSeconds = graceSeconds;
  }

  async run(): Promise<Collected> {
    const garbage = garbageOf(await this.#roots());
    let lineages = 0;
    for (const lineage of garbage.lineages) lineages += await this.#dropLineage(lineage);
    let rows = 0;
    for (const table of TABLES) {
      for (const lineage of await this.#strays(table)) {
        rows += await this.#remove(table, "true", [lineage]);
      }
    }
    const gaps = Map.groupBy(garbage.gaps, ({ lineage }) => lineage);
    for (const [lineage, list] of gaps) {
      const within = `exists (select 1 from unnest($4::int[], $5::int[]) g(a, b)
                              where t.born > g.a and t.died <= g.b)`;
      const bounds = [list.map(({ after }) => after), list.map(({ upto }) => upto)];
      for (const table of TABLES) rows += await this.#remove(table, within, [lineage, ...bounds]);
    }
    return { lineages, rows, ...await this.#contents() };
  }

  /** Everything that keeps states alive, as of one moment. */
  async #roots(): Promise<Roots> {
    const [[row]] = await this.#run("gc-roots", [[
      `select
         (select coalesce(jsonb_agg(jsonb_build_array(lineage, parent_lineage, parent_ordinal,
                   written_at > now() - make_interval(secs => $2::float8))), '[]')
            from lineages where tenant_id = $1) as lineages,
         (select coalesce(jsonb_agg(jsonb_build_array(lineage, ordinal)), '[]')
            from layers where tenant_id = $1) as layers,
         (select coalesce(jsonb_agg(jsonb_build_array(head_lineage, head_ordinal)), '[]')
            from workspaces where tenant_id = $1) as heads`,
      [this.#tenant, this.#graceSeconds],
    ]]) as [[Row]];
    const point = ([lineage, ordinal]: [number, number]) => ({ lineage, ordinal });
    type Facts = [number, number | null, number, boolean];
    return {
      lineages: row.lineages.map(([lineage, on, at, young]: Facts) => ({
        lineage,
        on: on === null ? null : { lineage: on, ordinal: at },
        young,
      })),
      layers: row.layers.map(point),
      heads: row.heads.map(point),
    };
  }

  /**
   * The row of a lineage goes first: a layer, workspace or fork that came to stand on it meanwhile
   * holds it by its foreign key. Its other rows belong to nobody then.
   */
  async #dropLineage(lineage: number): Promise<number> {
    try {
      const [rows] = await this.#run("gc-lineage", [[
        `delete from lineages where tenant_id = $1 and lineage = $2
            and written_at <= now() - make_interval(secs => $3::float8) returning lineage`,
        [this.#tenant, lineage, this.#graceSeconds],
      ]]);
      return rows!.length;
    } catch (error) {
      if ((error as { code?: string }).code === "23503") return 0;
      throw error;
    }
  }

  /** Lineages that have rows in a table and are no more; looked for by skipping along the index. */
  async #strays(table: string): Promise<number[]> {
    const [rows] = await this.#run("gc-strays", [[
      `with recursive own(lineage) as (
         (select lineage from ${table} where tenant_id = $1 order by lineage limit 1)
         union all
         select (select t.lineage from ${table} t where t.tenant_id = $1 and t.lineage > own.lineage
                  order by t.lineage limit 1)
           from own where own.lineage is not null)
       select lineage from own where lineage is not null and not exists
         (select 1 from lineages l where l.tenant_id = $1 and l.lineage = own.lineage)`,
      [this.#tenant],
    ]]);
    return rows!.map(({ lineage }) => lineage);
  }

  async #remove(
    table: string,
    condition: string,
    parameters: readonly (number | readonly number[])[],
  ): Promise<number> {
    let removed = 0;
    for (;;) {
      const [rows] = await this.#run("gc-rows", [[
        `with gone as (
           delete from ${table} where ctid = any(array(
             select t.ctid from ${table} t
              where t.tenant_id = $1 and t.lineage = $3 and ${condition} limit $2))
           returning 1)
         select count(*)::int as count from gone`,
        [this.#tenant, ROWS_AT_ONCE, ...parameters],
      ]]);
      const count: number = rows![0]!.count;
      removed += count;
      if (count < ROWS_AT_ONCE) return removed;
    }
  }

  /**
   * Contents without a block. From the moment that `collecting` is seen, commits note every content
   * that they count on; the search starts after it, and what was noted is spared. Removing waits for
   * the commits that run and holds up those that come, so none is between its note and its end.
   */
  async #contents(): Promise<{ contents: number; bytes: number }> {
    const exclusive: Statement = [
      "select pg_advisory_xact_lock($1::int, $2::int)",
      [CONTENTS_LOCK, this.#tenant],
    ];
    const key = [this.#tenant];
    await this.#run("gc-start", [
      exclusive,
      ["delete from content_uses where tenant_id = $1", key],
      ["update tenants set collecting = true where tenant_id = $1", key],
    ]);
    await this.#connection.query("drop table if exists pg_temp.garbage");
    await this.#connection.query(
      "create temporary table garbage (number bigint generated always as identity, hash bytea)",
    );
    await this.#run("gc-search", [[
      `insert into garbage (hash) select c.hash from contents c
        where c.tenant_id = $1 and not exists
          (select 1 from blocks b where b.tenant_id = $1 and b.hash = c.hash)`,
      key,
    ]]);
    let contents = 0;
    let bytes = 0;
    for (let after = 0;; after += CONTENTS_AT_ONCE) {
      const [, rows] = await this.#run("gc-contents", [exclusive, [
        `with part as (select hash from garbage where number > $2 and number <= $3),
              gone as (
                delete from contents c using part
                 where c.tenant_id = $1 and c.hash = part.hash and not exists
                   (select 1 from content_uses u where u.tenant_id = $1 and u.hash = c.hash)
                returning octet_length(c.data) as bytes)
         select (select count(*)::int from part) as seen, count(*)::int as count,
                coalesce(sum(bytes), 0)::float8 as bytes from gone`,
        [this.#tenant, after, after + CONTENTS_AT_ONCE],
      ]]);
      const { seen, count, bytes: size } = rows![0]!;
      contents += count;
      bytes += size;
      if (seen < CONTENTS_AT_ONCE) break;
    }
    await this.#run("gc-end", [
      exclusive,
      ["update tenants set collecting = false where tenant_id = $1", key],
      ["delete from content_uses where tenant_id = $1", key],
    ]);
    return { contents, bytes };
  }

  #run(name: string, statements: readonly Statement[]): Promise<Row[][]> {
    return named(this.#connection, statements, name);
  }
}
