import { invariant } from "../../base/errors.ts";
import type { BlockRow, Chain, ChangedKeys, DentryRow, Entry, InodeRow, Point } from "../rows.ts";
import { Shortcuts } from "./shortcuts.ts";
import type { Usage } from "../quotas.ts";
import { bytea, bytes } from "./connection.ts";
import type { Parameter, Row } from "./session.ts";

/** Runs a read; retried by its owner on a fresh connection. */
export type Query = (text: string, parameters: readonly Parameter[]) => Promise<Row[]>;

/** Most hashes whose contents are asked for in one statement: 16 MiB of blocks. */
const CONTENTS_BATCH = 128;

const INODE_COLUMNS = [
  "inode",
  "mode",
  "uid",
  "gid",
  "nlink",
  "size",
  "allocated",
  "rdev",
  "atime",
  "mtime",
  "ctime",
  "btime",
  "target",
  "xattrs",
] as const;

/** Parameters $1 tenant, $2 lineages, $3 ordinals: the chain with its depth. */
const CHAIN = "unnest($2::int[], $3::int[]) with ordinality as c(lineage, ordinal, depth)";

/** The version of a table's key that the chain shows, as a lateral subquery; may be a tombstone. */
function probe(table: string, columns: string, key: string): string {
  return `(select v.* from ${CHAIN} cross join lateral (
      select ${columns}, t.born, t.deleted from ${table} t
       where t.tenant_id = $1 and t.lineage = c.lineage and ${key} and t.died > c.ordinal
       order by t.died limit 1) v
    where v.born <= c.ordinal order by c.depth limit 1)`;
}

const INODE_PROBE = (inode: string) =>
  probe("inodes", INODE_COLUMNS.map((c) => `t.${c}`).join(", "), `t.inode = ${inode}`);

const INODE_FIELDS = INODE_COLUMNS.map((c) => `i.${c}`).join(", ");

/** Hides what a nearer lineage has a version of; nothing to hide when the chain is one lineage. */
function notHidden(chain: Chain, table: string, key: string): string {
  if (chain.length === 1) return "";
  return `and not exists (
    select 1 from unnest($2::int[], $3::int[]) with ordinality as n(lineage, ordinal, depth)
     cross join lateral (
       select h.born from ${table} h
        where h.tenant_id = $1 and h.lineage = n.lineage and ${key} and h.died > n.ordinal
        order by h.died limit 1) v
     where n.depth < c.depth and v.born <= n.ordinal)`;
}

const VISIBLE = (alias: string) =>
  `${alias}.tenant_id = $1 and ${alias}.lineage = c.lineage ` +
  `and ${alias}.born <= c.ordinal and ${alias}.died > c.ordinal`;

/**
 * What was alive at an ordinal is alive still, or died later: the first lies in an index of the living,
 * and of the second there is nothing at a head. So no read of a head sees what has died.
 */
const SINCE = ["t.died = 2147483647", "t.died > c.ordinal and t.died < 2147483647"] as const;

/** The reads of a store: SQL and rows. Each method is one statement. */
export class Reading {
  readonly #tenant: number;
  readonly #query: Query;
  readonly #shortcuts = new Shortcuts();

  constructor(tenant: number, query: Query) {
    this.#tenant = tenant;
    this.#query = query;
  }

  async chain(point: Point): Promise<Chain> {
    const rows = await this.#query(
      `with recursive chain(lineage, ordinal, depth) as (
         select $2::int, $3::int, 0
         union all
         select l.parent_lineage, l.parent_ordinal, c.depth + 1
           from chain c join lineages l on l.tenant_id = $1 and l.lineage = c.lineage
          where l.parent_lineage is not null)
       select c.lineage, c.ordinal, s.summary, l.parent_lineage as under from chain c
         left join shortcuts s
           on s.tenant_id = $1 and s.lineage = c.lineage and s.ordinal = c.ordinal
         left join lineages l on l.tenant_id = $1 and l.lineage = s.summary
        order by c.depth`,
      [this.#tenant, point.lineage, point.ordinal],
    );
    for (const { lineage, ordinal, summary, under } of rows) {
      if (summary !== null) this.#shortcuts.learn({ lineage, ordinal }, { summary, under });
    }
    return rows.map(({ lineage, ordinal }) => ({ lineage, ordinal }));
  }

  /** A chain that shows the same through as few lineages as is known. */
  shorten(chain: Chain): Chain {
    return this.#shortcuts.shorten(chain);
  }

  async inodes(chain: Chain, numbers: readonly number[]): Promise<InodeRow[]> {
    const rows = await this.#query(
      `select ${INODE_FIELDS} from unnest($4::int8[]) k(inode)
        cross join lateral ${INODE_PROBE("k.inode")} i where not i.deleted`,
      [...this.#of(chain), numbers],
    );
    return rows.map(inodeRow);
  }

  async lookup(
    chain: Chain,
    keys: readonly { readonly parent: number; readonly name: Uint8Array }[],
  ): Promise<Entry[]> {
    const dentry = probe(
      "dentries",
      "t.parent, t.name, t.child, t.cookie",
      "t.parent = k.parent and t.name = k.name",
    );
    const rows = await this.#query(
      `select d.parent as d_parent, d.name as d_name, d.child as d_child, d.cookie as d_cookie,
              ${INODE_FIELDS}
         from unnest($4::int8[], $5::bytea[]) k(parent, name)
        cross join lateral ${dentry} d
         left join lateral ${INODE_PROBE("d.child")} i on not i.deleted
        where not d.deleted`,
      [
        ...this.#of(chain),
        keys.map(({ parent }) => parent),
        keys.map(({ name }) => bytea(name)),
      ],
    );
    return rows.map(entry);
  }

  async list(chain: Chain, parent: number, after: number, limit: number): Promise<Entry[]> {
    const hidden = notHidden(this.shorten(chain), "dentries", "h.parent = $4 and h.name = t.name");
    const page = (died: string) =>
      `(select t.* from ${CHAIN} cross join lateral (
          select t.parent as d_parent, t.name as d_name, t.child as d_child, t.cookie as d_cookie
            from dentries t
           where t.tenant_id = $1 and t.lineage = c.lineage and t.parent = $4 and ${died}
             and t.born <= c.ordinal and t.cookie > $5 and not t.deleted ${hidden}
           order by t.cookie limit $6) t
         order by d_cookie limit $6)`;
    const rows = await this.#query(
      `select d.*, ${INODE_FIELDS} from (
         select * from (
           ${SINCE.map(page).join(" union all ")}) pages
          order by d_cookie limit $6) d
         left join lateral ${INODE_PROBE("d.d_child")} i on not i.deleted
        order by d.d_cookie`,
      [...this.#of(chain), parent, after, limit],
    );
    return rows.map(entry);
  }

  async blocks(chain: Chain, inodes: readonly number[]): Promise<BlockRow[]> {
    const hidden = notHidden(
      this.shorten(chain),
      "blocks",
      "h.inode = t.inode and h.index = t.index",
    );
    const part = (died: string) =>
      `select t.inode, t.index, t.hash, t.length
         from ${CHAIN} cross join unnest($4::int8[]) k(inode) cross join lateral (
           select t.* from blocks t
            where t.tenant_id = $1 and t.lineage = c.lineage and t.inode = k.inode and ${died}
            offset 0) t
        where t.born <= c.ordinal and not t.deleted ${hidden}`;
    const rows = await this.#query(
      `select * from (${SINCE.map(part).join(" union all ")}) b order by inode, index`,
      [...this.#of(chain), [...new Set(inodes)]],
    );
    return rows.map(({ inode, index, hash, length }) => ({
      inode: Number(inode),
      index: Number(index),
      hash: bytes(hash),
      length,
    }));
  }

  async contents(hashes: readonly Uint8Array[]): Promise<Uint8Array[]> {
    const parts: Promise<Uint8Array[]>[] = [];
    for (let at = 0; at < hashes.length; at += CONTENTS_BATCH) {
      parts.push(this.#contents(hashes.slice(at, at + CONTENTS_BATCH)));
    }
    return (await Promise.all(parts)).flat();
  }

  async #contents(hashes: readonly Uint8Array[]): Promise<Uint8Array[]> {
    const rows = await this.#query(
      `select c.data from unnest($2::bytea[]) with ordinality k(hash, place)
         left join contents c on c.tenant_id = $1 and c.hash = k.hash order by k.place`,
      [this.#tenant, hashes.map(bytea)],
    );
    return rows.map(({ data }, i) => {
      invariant(data !== null, `content ${hashes[i]!.toHex()} is missing`);
      return bytes(data);
    });
  }

  async names(chain: Chain, children: readonly number[]): Promise<DentryRow[]> {
    const hidden = notHidden(
      this.shorten(chain),
      "dentries",
      "h.parent = t.parent and h.name = t.name",
    );
    const rows = await this.#query(
      `select t.parent as d_parent, t.name as d_name, t.child as d_child, t.cookie as d_cookie
         from ${CHAIN} join dentries t on ${VISIBLE("t")}
        where t.child = any($4::int8[]) and not t.deleted ${hidden}`,
      [...this.#of(chain), children],
    );
    return rows.map(dentryRow);
  }

  async changedKeys(lineage: number, after: number, upto: number): Promise<ChangedKeys> {
    const within = "tenant_id = $1 and lineage = $2 " +
      "and ((born > $3 and born <= $4) or (died > $3 and died <= $4 and died < 2147483647))";
    const parameters = [this.#tenant, lineage, after, upto];
    const [inodes, dentries] = await Promise.all([
      this.#query(`select distinct inode from inodes where ${within}`, parameters),
      this.#query(`select distinct parent, name from dentries where ${within}`, parameters),
    ]);
    return {
      inodes: inodes.map(({ inode }) => Number(inode)),
      dentries: dentries.map(({ parent, name }) => ({ parent: Number(parent), name: bytes(name) })),
    };
  }

  async usage(chain: Chain): Promise<Usage> {
    const hidden = notHidden(this.shorten(chain), "inodes", "h.inode = t.inode");
    const [row] = await this.#query(
      `select count(*) as inodes, coalesce(sum(t.allocated), 0)::int8 as bytes
         from ${CHAIN} join inodes t on ${VISIBLE("t")} where not t.deleted ${hidden}`,
      this.#of(chain),
    );
    return { inodes: Number(row!.inodes), bytes: Number(row!.bytes) };
  }

  async counters(lineage: number): Promise<{ nextInode: number; nextCookie: number }> {
    const [row] = await this.#query(
      "select next_inode, next_cookie from lineages where tenant_id = $1 and lineage = $2",
      [this.#tenant, lineage],
    );
    return { nextInode: Number(row!.next_inode), nextCookie: Number(row!.next_cookie) };
  }

  #of(full: Chain): [number, number[], number[]] {
    const chain = this.shorten(full);
    return [
      this.#tenant,
      chain.map(({ lineage }) => lineage),
      chain.map(({ ordinal }) => ordinal),
    ];
  }
}

function inodeRow(row: Row): InodeRow {
  return {
    inode: Number(row.inode),
    mode: row.mode,
    uid: Number(row.uid),
    gid: Number(row.gid),
    nlink: row.nlink,
    size: Number(row.size),
    allocated: Number(row.allocated),
    rdev: Number(row.rdev),
    atime: row.atime,
    mtime: row.mtime,
    ctime: row.ctime,
    btime: row.btime,
    target: row.target === null ? null : bytes(row.target),
    xattrs: row.xattrs === null ? null : bytes(row.xattrs),
  };
}

function dentryRow(row: Row): DentryRow {
  return {
    parent: Number(row.d_parent),
    name: bytes(row.d_name),
    child: Number(row.d_child),
    cookie: Number(row.d_cookie),
  };
}

function entry(row: Row): Entry {
  invariant(row.inode !== null, `inode ${row.d_child} has a name and does not exist`);
  return { dentry: dentryRow(row), inode: inodeRow(row) };
}
