import type { Chain, Point } from "../rows.ts";
import type { Statement } from "./connection.ts";
import type { Parameter } from "./session.ts";

/** A lineage that shows at ordinal 1 what a point shows, and stands on a point further down. */
interface Shortcut {
  readonly summary: number;
  /** The lineage that the summary stands on; it is in the chain of the point. */
  readonly under: number;
}

/** The shortcuts that are known: those of every point of a chain that was read. They never change. */
export class Shortcuts {
  readonly #known = new Map<string, Shortcut>();

  learn({ lineage, ordinal }: Point, shortcut: Shortcut): void {
    this.#known.set(`${lineage}/${ordinal}`, shortcut);
  }

  /** A chain that shows the same through fewer lineages. */
  shorten(chain: Chain): Chain {
    if (this.#known.size === 0) return chain;
    const out: Point[] = [];
    for (let at = 0; at < chain.length;) {
      const point = chain[at]!;
      const shortcut = this.#known.get(`${point.lineage}/${point.ordinal}`);
      const next = shortcut === undefined
        ? -1
        : chain.findIndex(({ lineage }, i) => i > at && lineage === shortcut.under);
      if (next < 0) {
        out.push(point);
        at++;
      } else {
        out.push({ lineage: shortcut!.summary, ordinal: 1 });
        at = next;
      }
    }
    return out;
  }
}

/** Keys of each table, and its other columns. */
const TABLES = {
  inodes: [
    "inode",
    "mode, uid, gid, nlink, size, allocated, rdev, atime, mtime, ctime, btime, target, xattrs",
  ],
  dentries: ["parent, name", "child, cookie"],
  blocks: ["inode, index", "hash, length"],
} as const;

/** The statements that fill the lineage `summary` with what these points show, nearest first. */
export function summarizing(
  tenant: number,
  points: Chain,
  point: Point,
  summary: number,
): Statement[] {
  const parameters: Parameter[] = [
    tenant,
    points.map(({ lineage }) => lineage),
    points.map(({ ordinal }) => ordinal),
    summary,
  ];
  const copies = Object.entries(TABLES).map(([table, [keys, rest]]): Statement => {
    const qualified = (list: string) => list.split(", ").map((name) => `t.${name}`).join(", ");
    return [
      `insert into ${table} (tenant_id, lineage, born, died, deleted, ${keys}, ${rest})
       select distinct on (${qualified(keys)}) $1::int, $4::int, 1, 2147483647, t.deleted,
              ${qualified(keys)}, ${qualified(rest)}
         from unnest($2::int[], $3::int[]) with ordinality as c(lineage, ordinal, depth)
         join ${table} t on t.tenant_id = $1 and t.lineage = c.lineage
          and t.born <= c.ordinal and t.died > c.ordinal
        order by ${qualified(keys)}, c.depth`,
      parameters,
    ];
  });
  return [...copies, [
    `insert into shortcuts (tenant_id, lineage, ordinal, summary) values ($1, $2, $3, $4)
     on conflict do nothing`,
    [tenant, point.lineage, point.ordinal, summary],
  ]];
}
