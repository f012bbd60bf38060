import type { ChangesetRow, Point } from "../rows.ts";
import type { Row } from "./session.ts";
import type { Pool } from "./pool.ts";

const COLUMNS = "s.lineage, s.ordinal, s.below_lineage, s.below_ordinal, s.diff_id, s.packing, " +
  "s.digest, s.size, array_to_string(s.repositories, ',') as repositories";

/** The lineage of a `below` that is the empty tree; real ones begin at 1. */
const NOTHING: Point = { lineage: 0, ordinal: 0 };

/** Changesets and image configurations in PostgreSQL. */
export class PostgresImages {
  readonly #tenant: number;
  readonly #pool: Pool;

  constructor(tenant: number, pool: Pool) {
    this.#tenant = tenant;
    this.#pool = pool;
  }

  async changesetsTo(points: readonly Point[]): Promise<ChangesetRow[]> {
    const rows = await this.#pool.read(
      `select ${COLUMNS} from unnest($2::int[], $3::int[]) k(lineage, ordinal)
         join changesets s on s.tenant_id = $1 and s.lineage = k.lineage and s.ordinal = k.ordinal`,
      this.#of(points),
    );
    return rows.map(changesetRow);
  }

  async changesetsOf(diffIds: readonly string[]): Promise<ChangesetRow[]> {
    const rows = await this.#pool.read(
      `select ${COLUMNS} from changesets s where s.tenant_id = $1 and s.diff_id = any($2::text[])`,
      [this.#tenant, diffIds],
    );
    return rows.map(changesetRow);
  }

  async noteChangesets(rows: readonly ChangesetRow[]): Promise<void> {
    await this.#pool.transaction(rows.map(({ below, point, ...row }) => {
      const { lineage, ordinal } = below ?? NOTHING;
      return [
        `insert into changesets as s (tenant_id, lineage, ordinal, below_lineage, below_ordinal,
                diff_id, packing, digest, size, repositories)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text[])
         on conflict (tenant_id, lineage, ordinal, below_lineage, below_ordinal, digest, packing)
         do update set repositories = array(
           select unnest(s.repositories || excluded.repositories) name group by name order by name)`,
        [
          this.#tenant,
          point.lineage,
          point.ordinal,
          lineage,
          ordinal,
          row.diffId,
          row.packing,
          row.digest,
          row.size,
          row.repositories,
        ],
      ];
    }));
  }

  async imageConfigs(points: readonly Point[]): Promise<{ point: Point; config: unknown }[]> {
    const rows = await this.#pool.read(
      `select s.lineage, s.ordinal, s.config from unnest($2::int[], $3::int[]) k(lineage, ordinal)
         join image_configs s
           on s.tenant_id = $1 and s.lineage = k.lineage and s.ordinal = k.ordinal`,
      this.#of(points),
    );
    return rows.map(({ lineage, ordinal, config }) => ({
      point: { lineage, ordinal },
      config: JSON.parse(config),
    }));
  }

  async noteImageConfig(point: Point, config: unknown): Promise<void> {
    await this.#pool.transaction([[
      `insert into image_configs (tenant_id, lineage, ordinal, config) values ($1, $2, $3, $4)
       on conflict (tenant_id, lineage, ordinal) do update set config = excluded.config`,
      [this.#tenant, point.lineage, point.ordinal, JSON.stringify(config)],
    ]]);
  }

  #of(points: readonly Point[]): [number, number[], number[]] {
    return [
      this.#tenant,
      points.map(({ lineage }) => lineage),
      points.map(({ ordinal }) => ordinal),
    ];
  }
}

function changesetRow(row: Row): ChangesetRow {
  const below = { lineage: row.below_lineage, ordinal: row.below_ordinal };
  return {
    below: below.lineage === NOTHING.lineage ? null : below,
    point: { lineage: row.lineage, ordinal: row.ordinal },
    diffId: row.diff_id,
    packing: row.packing,
    digest: row.digest,
    size: Number(row.size),
    // ts-postgres reads neither an empty array nor an empty text.
    repositories: (row.repositories ?? "").split(",").filter((name: string) => name !== ""),
  };
}
