import type { Buffer } from "node:buffer";
import { compareBytes, latin1 } from "../../base/bytes.ts";
import { touchedKeys } from "../sharing.ts";
import type { Batch, ContentRow, InodeRow, Point } from "../rows.ts";
import { bytea, type Statement } from "./connection.ts";
import type { Parameter } from "./session.ts";
import { CONTENTS_LOCK } from "./garbage.ts";

/** Bytes of contents that one statement carries at most, but for a single larger one. */
const CONTENTS_BYTES = 4 * 1024 * 1024;

/**
 * A condition: the versions that are alive of the keys, found by key and named by their place.
 *
 * A table has no statistics in its first minute, and an import or an untar fills it in that time.
 * Without them every join is estimated at one row, and PostgreSQL reads the whole lineage by another
 * index instead of a few keys by theirs. What is in the array cannot be joined in another order, and
 * with `order by died limit 1` only the index of the key serves.
 */
function alive(table: string, keys: string, match: string, condition = ""): string {
  return `t.tenant_id = $1 and t.ctid = any(array(
    select v.ctid from ${keys} cross join lateral (
      select t.ctid, t.born from ${table} t
       where t.tenant_id = $1 and t.lineage = $2 and ${match} and t.died > $3
       order by t.died limit 1) v${condition}))`;
}

/** Ends the versions that are alive and older than the ordinal; what was born at it is rewritten. */
function age(table: string, keys: string, match: string): string {
  return `update ${table} t set died = $3 where ${alive(table, keys, match, " where v.born < $3")}`;
}

/** Where every lineage begins. */
const FIRST_ORDINAL = 1;

/** {@link age} with its parameters; nothing at the first ordinal, where nothing older can be. */
function ageing(
  at: readonly [tenant: number, lineage: number, ordinal: number],
  table: string,
  keys: string,
  match: string,
  values: readonly Parameter[],
): Statement[] {
  return at[2] === FIRST_ORDINAL ? [] : [[age(table, keys, match), [...at, ...values]]];
}

/** What a lineage stands on, through the shortcut where there is one. */
const BELOW = "coalesce(s.summary, l.parent_lineage), " +
  "case when s.summary is null then l.parent_ordinal else 1 end";
const SHORTCUT = "left join shortcuts s on s.tenant_id = $1 " +
  "and s.lineage = l.parent_lineage and s.ordinal = l.parent_ordinal";

/**
 * Removes keys: versions born at the ordinal vanish, older ones end, and where an ancestor of the
 * lineage still shows the key a tombstone hides it.
 */
function remove(
  table: string,
  keys: string,
  columns: readonly string[],
  tombstone: string,
): string[] {
  const match = columns.map((column) => `t.${column} = k.${column}`).join(" and ");
  const list = columns.join(", ");
  return [
    age(table, keys, match),
    `delete from ${table} t where ${alive(table, keys, match)}`,
    `with recursive chain(lineage, ordinal, depth) as (
       select ${BELOW}, 1 from lineages l ${SHORTCUT}
        where l.tenant_id = $1 and l.lineage = $2 and l.parent_lineage is not null
       union all
       select ${BELOW}, c.depth + 1
         from chain c join lineages l on l.tenant_id = $1 and l.lineage = c.lineage ${SHORTCUT}
        where l.parent_lineage is not null)
     insert into ${table} (tenant_id, lineage, ${list}, born, died, deleted, ${
      tombstone.split("|")[0]
    })
     select $1::int, $2::int, ${
      columns.map((column) => `k.${column}`).join(", ")
    }, $3::int, 2147483647, true, ${tombstone.split("|")[1]}
       from ${keys} cross join lateral (
         select v.deleted from chain c cross join lateral (
           select t.born, t.deleted from ${table} t
            where t.tenant_id = $1 and t.lineage = c.lineage and ${match} and t.died > c.ordinal
            order by t.died limit 1) v
          where v.born <= c.ordinal order by c.depth limit 1) shown
      where not shown.deleted`,
  ];
}

const INODE_TOMBSTONE =
  "mode, uid, gid, nlink, size, allocated, rdev, atime, mtime, ctime, btime|" +
  "0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0";

/** The statements that apply a batch at a point, in order; to be run in one transaction. */
export function applyStatements(tenant: number, point: Point, batch: Batch): Statement[] {
  const at = [tenant, point.lineage, point.ordinal] as const;
  const out: Statement[] = [
    ...contentUses(tenant, batch),
    ...contentStatements(tenant, batch.contents),
  ];
  if (batch.inodes.length > 0) out.push(...putInodes(at, batch.inodes));
  if (batch.dentries.length > 0) {
    const { dentries } = batch;
    const parents = dentries.map(({ parent }) => parent);
    const names = dentries.map(({ name }) => bytea(name));
    out.push(
      ...ageing(
        at,
        "dentries",
        "unnest($4::int8[], $5::bytea[]) k(parent, name)",
        "t.parent = k.parent and t.name = k.name",
        [parents, names],
      ),
    );
    out.push([
      `insert into dentries
         (tenant_id, lineage, parent, name, born, died, deleted, child, cookie)
       select $1::int, $2::int, k.parent, k.name, $3::int, 2147483647, false, k.child, k.cookie
         from unnest($4::int8[], $5::bytea[], $6::int8[], $7::int8[])
              k(parent, name, child, cookie)
       on conflict (tenant_id, lineage, parent, name, died)
       do update set deleted = false, child = excluded.child, cookie = excluded.cookie`,
      [...at, parents, names, dentries.map(({ child }) => child), dentries.map((d) => d.cookie)],
    ]);
  }
  if (batch.blocks.length > 0) {
    const { blocks } = batch;
    const inodes = blocks.map(({ inode }) => inode);
    const indexes = blocks.map(({ index }) => index);
    out.push(
      ...ageing(
        at,
        "blocks",
        "unnest($4::int8[], $5::int8[]) k(inode, index)",
        "t.inode = k.inode and t.index = k.index",
        [inodes, indexes],
      ),
    );
    out.push([
      `insert into blocks (tenant_id, lineage, inode, index, born, died, deleted, hash, length)
       select $1::int, $2::int, k.inode, k.index, $3::int, 2147483647, false, k.hash, k.length
         from unnest($4::int8[], $5::int8[], $6::bytea[], $7::int[])
              k(inode, index, hash, length)
       on conflict (tenant_id, lineage, inode, index, died)
       do update set deleted = false, hash = excluded.hash, length = excluded.length`,
      [
        ...at,
        inodes,
        indexes,
        blocks.map(({ hash }) => bytea(hash)),
        blocks.map(({ length }) => length),
      ],
    ]);
  }
  if (batch.deadDentries.length > 0) {
    const parameters = [
      ...at,
      batch.deadDentries.map(({ parent }) => parent),
      batch.deadDentries.map(({ name }) => bytea(name)),
    ];
    const keys = "unnest($4::int8[], $5::bytea[]) k(parent, name)";
    for (const text of remove("dentries", keys, ["parent", "name"], "child, cookie|0, 0")) {
      out.push([text, parameters]);
    }
  }
  if (batch.deadBlocks.length > 0) {
    const parameters = [
      ...at,
      batch.deadBlocks.map(({ inode }) => inode),
      batch.deadBlocks.map(({ index }) => index),
    ];
    const keys = "unnest($4::int8[], $5::int8[]) k(inode, index)";
    for (const text of remove("blocks", keys, ["inode", "index"], "hash, length|'', 0")) {
      out.push([text, parameters]);
    }
  }
  if (batch.deadInodes.length > 0) out.push(...killInodes(at, batch.deadInodes));
  out.push([
    `update lineages set next_inode = greatest(next_inode, $3::int8),
            next_cookie = greatest(next_cookie, $4::int8), written_at = now()
      where tenant_id = $1 and lineage = $2`,
    [tenant, point.lineage, batch.nextInode, batch.nextCookie],
  ]);
  return out.map(usedParameters);
}

/** Inodes that are no more; blocks they got at this ordinal go with them. */
export function killInodes(
  at: readonly [tenant: number, lineage: number, ordinal: number],
  inodes: readonly number[],
): Statement[] {
  const keys = "unnest($4::int8[]) k(inode)";
  return [
    ...remove("inodes", keys, ["inode"], INODE_TOMBSTONE).map((text): Statement => [
      text,
      [...at, inodes],
    ]),
    [
      `delete from blocks t where t.tenant_id = $1 and t.ctid = any(array(
         select v.ctid from ${keys} cross join lateral (
           select t.ctid from blocks t
            where t.tenant_id = $1 and t.lineage = $2 and t.inode = k.inode
              and t.died = 2147483647 and t.born = $3 offset 0) v))`,
      [...at, inodes],
    ] as Statement,
  ].map(usedParameters);
}

function putInodes(
  at: readonly [number, number, number],
  inodes: readonly InodeRow[],
): Statement[] {
  const numbers = inodes.map(({ inode }) => inode);
  const bytesOrNull = (value: Uint8Array | null): Buffer | null =>
    value === null ? null : bytea(value);
  const keys = "unnest($4::int8[]) k(inode)";
  return [...ageing(at, "inodes", keys, "t.inode = k.inode", [numbers]), [
    `insert into inodes (tenant_id, lineage, inode, born, died, deleted, mode, uid, gid, nlink,
            size, allocated, rdev, atime, mtime, ctime, btime, target, xattrs)
     select $1::int, $2::int, k.inode, $3::int, 2147483647, false, k.mode, k.uid, k.gid, k.nlink,
            k.size, k.allocated, k.rdev, k.atime, k.mtime, k.ctime, k.btime, k.target, k.xattrs
       from unnest($4::int8[], $5::int[], $6::int8[], $7::int8[], $8::int[], $9::int8[],
                   $10::int8[], $11::int8[], $12::int8[], $13::int8[], $14::int8[], $15::int8[],
                   $16::bytea[], $17::bytea[])
            k(inode, mode, uid, gid, nlink, size, allocated, rdev, atime, mtime, ctime, btime,
              target, xattrs)
     on conflict (tenant_id, lineage, inode, died)
     do update set deleted = false, mode = excluded.mode, uid = excluded.uid,
       gid = excluded.gid, nlink = excluded.nlink, size = excluded.size,
       allocated = excluded.allocated, rdev = excluded.rdev, atime = excluded.atime,
       mtime = excluded.mtime, ctime = excluded.ctime, btime = excluded.btime,
       target = excluded.target, xattrs = excluded.xattrs`,
    [
      ...at,
      numbers,
      inodes.map(({ mode }) => mode),
      inodes.map(({ uid }) => uid),
      inodes.map(({ gid }) => gid),
      inodes.map(({ nlink }) => nlink),
      inodes.map(({ size }) => size),
      inodes.map(({ allocated }) => allocated),
      inodes.map(({ rdev }) => rdev),
      inodes.map(({ atime }) => atime),
      inodes.map(({ mtime }) => mtime),
      inodes.map(({ ctime }) => ctime),
      inodes.map(({ btime }) => btime),
      inodes.map(({ target }) => bytesOrNull(target)),
      inodes.map(({ xattrs }) => bytesOrNull(xattrs)),
    ],
  ]];
}

/** The statement that tells other mounts which keys a batch touched; after the version grew. */
export function publishStatement(tenant: number, workspace: number, batch: Batch): Statement {
  const { inodes, dentries } = touchedKeys(batch);
  return [
    `insert into changes (tenant_id, workspace_id, version, inodes, parents, names)
     select tenant_id, workspace_id, version, $3::int8[], $4::int8[], $5::bytea[]
       from workspaces where tenant_id = $1 and workspace_id = $2`,
    [
      tenant,
      workspace,
      inodes,
      dentries.map(({ parent }) => parent),
      dentries.map(({ name }) => bytea(name)),
    ],
  ];
}

/**
 * Keeps the collector of garbage away from every content that a batch counts on: it waits for this
 * transaction, and while it collects it is told (spec/garbage.md).
 */
function* contentUses(tenant: number, { blocks, contents }: Batch): Generator<Statement> {
  if (blocks.length === 0 && contents.length === 0) return;
  yield ["select pg_advisory_xact_lock_shared($1::int, $2::int)", [CONTENTS_LOCK, tenant]];
  const hashes = new Map([...blocks, ...contents].map(({ hash }) => [latin1(hash), hash]));
  yield [
    `insert into content_uses (tenant_id, hash)
     select $1::int, k.hash from unnest($2::bytea[]) k(hash)
      where (select collecting from tenants where tenant_id = $1)
     on conflict do nothing`,
    [tenant, [...hashes.values()].sort(compareBytes).map(bytea)],
  ];
}

/** Sorted by hash, so that two writers lock the rows they share in one order. */
function* contentStatements(
  tenant: number,
  contents: readonly ContentRow[],
): Generator<Statement> {
  const sorted = contents.toSorted((a, b) => compareBytes(a.hash, b.hash));
  for (let at = 0; at < sorted.length;) {
    const start = at;
    let size = 0;
    while (at < sorted.length && (at === start || size < CONTENTS_BYTES)) {
      size += sorted[at++]!.data.length;
    }
    const part = sorted.slice(start, at);
    yield [
      `insert into contents (tenant_id, hash, data)
       select $1::int, k.hash, k.data from unnest($2::bytea[], $3::bytea[]) k(hash, data)
       on conflict do nothing`,
      [tenant, part.map(({ hash }) => bytea(hash)), part.map(({ data }) => bytea(data))],
    ];
  }
}

/** PostgreSQL refuses a parameter whose type nothing tells: numbers only those that are used. */
function usedParameters([text, parameters]: Statement): Statement {
  const missing = parameters.findIndex((_, i) => !new RegExp(`\\$${i + 1}(?!\\d)`).test(text));
  if (missing < 0) return [text, parameters];
  const renumbered = text.replace(/\$(\d+)/g, (_, n) => `$${Number(n) > missing ? n - 1 : n}`);
  return usedParameters([renumbered, parameters.filter((_, i) => i !== missing)]);
}
