import { createHash } from "node:crypto";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { concatBytes, equalBytes, utf8 } from "../../base/bytes.ts";
import { TarboxError } from "../../base/errors.ts";
import { failpoint } from "../../base/failpoints.ts";
import { bytea, bytes, Connection } from "./connection.ts";
import type { Parameter, Row } from "./session.ts";
import type { DatabaseOptions } from "./options.ts";
import { MIGRATIONS } from "./schema.ts";

/** First bytes of every backup. */
const MAGIC = utf8("TARBOX BACKUP 1\n");

/** Rows, and contents, that one frame or fetch holds. */
const ROWS_AT_ONCE = 2_000;
const CONTENTS_AT_ONCE = 32;

/** Largest frame that is read: a block with its hash, or rows. */
const FRAME_BYTES_MAX = 256 * 1024 * 1024;

/** Tables that say who works now, not what there is. */
const MOMENTARY = ["tenants", "contents", "content_uses", "requests", "mounts", "locks", "changes"];

/** Tables that others refer to, in the order in which they are filled. */
const FIRST = ["lineages", "workspaces", "layers"];

/** What a backup holds, in numbers. */
export interface BackupFacts {
  readonly rows: number;
  readonly contents: number;
}

/** The head of a backup. */
interface Head {
  readonly tenant: string;
  readonly schema: number;
}

/**
 * Writes a whole tenant, as of one moment, while others work (spec/backup.md).
 * @param write takes the next bytes
 */
export async function backupTenant(
  options: DatabaseOptions,
  tenant: string,
  write: (data: Uint8Array) => Promise<void>,
): Promise<BackupFacts> {
  const connection = new Connection(options);
  const digest = createHash("sha256");
  const put = async (data: Uint8Array) => {
    digest.update(data);
    await write(data);
  };
  try {
    await connection.query("begin isolation level repeatable read read only");
    const id = await tenantId(connection, tenant);
    if (id === null) throw new TarboxError(`tenant ${tenant}: there is none of that name`);
    await put(MAGIC);
    await put(frame("head", utf8(JSON.stringify({ tenant, schema: MIGRATIONS.length }))));
    let rows = 0;
    for (const table of await tablesOf(connection)) {
      const text = `select (to_jsonb(t) - 'tenant_id')::text as row from ${table} t
                     where tenant_id = ${id} order by ${await keyOf(connection, table)}`;
      for await (const part of cursor(connection, text, ROWS_AT_ONCE)) {
        rows += part.length;
        const json = `[${part.map(({ row }) => row).join(",")}]`;
        await put(frame("rows", zstdCompressSync(utf8(`${table}\n${json}`))));
      }
    }
    let contents = 0;
    const all = `select hash, data from contents where tenant_id = ${id} order by hash`;
    for await (const part of cursor(connection, all, CONTENTS_AT_ONCE)) {
      contents += part.length;
      for (const { hash, data } of part) {
        await put(frame("cont", concatBytes([bytes(hash), bytes(data)])));
      }
    }
    await write(frame("done", new Uint8Array(digest.digest())));
    return { rows, contents };
  } finally {
    await connection.close();
  }
}

/**
 * Makes a tenant of a backup, all of it or nothing. The tenant must be new, or empty.
 * @throws {TarboxError} when it is not, or the backup is damaged or of another schema
 */
export async function recoverTenant(
  options: DatabaseOptions,
  tenant: string | null,
  source: AsyncIterable<Uint8Array>,
): Promise<BackupFacts & { readonly tenant: string }> {
  const connection = new Connection(options);
  try {
    const frames = framesOf(source);
    const first = (await frames.next()).value;
    if (first === undefined || first.type !== "head") throw damaged("it has no head");
    const head: Head = JSON.parse(new TextDecoder().decode(first.data));
    if (head.schema !== MIGRATIONS.length) {
      throw new TarboxError(
        `recover: the backup is of schema ${head.schema}, this program has ${MIGRATIONS.length}`,
        "use the version of tarbox that made it, then `tarbox init` of this one",
      );
    }
    await failpoint("recover.begin");
    await connection.query("begin");
    const name = tenant ?? head.tenant;
    const recovery = new Recovery(connection, await emptyTenant(connection, name));
    for await (const { type, data } of frames) {
      if (type === "rows") await recovery.rows(data);
      else if (type === "cont") await recovery.content(data);
      else throw damaged(`a part of an unknown kind, ${type}`);
    }
    await recovery.finish();
    await failpoint("recover.commit");
    await connection.query("commit");
    await failpoint("recover.done");
    return { tenant: name, rows: recovery.rowCount, contents: recovery.contentCount };
  } finally {
    // What is not committed ends with its connection.
    await connection.close();
  }
}

class Recovery {
  rowCount = 0;
  contentCount = 0;
  readonly #connection: Connection;
  readonly #tenant: number;
  #workspaces: string[] = [];
  #contents: { hash: Uint8Array; data: Uint8Array }[] = [];
  readonly #tables = new Map<string, { columns: string; identity: string | null }>();

  constructor(connection: Connection, tenant: number) {
    this.#connection = connection;
    this.#tenant = tenant;
  }

  async rows(packed: Uint8Array): Promise<void> {
    const text = new TextDecoder().decode(zstdDecompressSync(packed));
    const end = text.indexOf("\n");
    const [table, json] = [text.slice(0, end), text.slice(end + 1)];
    const { columns } = await this.#table(table);
    // Heads stand on layers, and layers belong to workspaces: that reference is set at the end.
    const source = table === "workspaces"
      ? '(select jsonb_agg(w || \'{"base_layer":null,"holder":null}\') ' +
        "from jsonb_array_elements($2::text::jsonb) w)"
      : "$2::text::jsonb";
    if (table === "workspaces") this.#workspaces.push(json);
    const [row] = await this.#query(
      `with put as (
         insert into ${table} (tenant_id, ${columns}) overriding system value
         select $1::int, ${columns} from jsonb_populate_recordset(null::${table}, ${source})
         returning 1)
       select count(*)::int as count from put`,
      [this.#tenant, json],
    );
    this.rowCount += row!.count;
  }

  async content(data: Uint8Array): Promise<void> {
    const hash = data.slice(0, 32);
    const content = data.slice(32);
    const digest = new Uint8Array(createHash("sha256").update(content).digest());
    if (!equalBytes(digest, hash)) throw damaged("a content has another digest");
    this.#contents.push({ hash, data: content });
    if (this.#contents.length >= CONTENTS_AT_ONCE) await this.#putContents();
  }

  async finish(): Promise<void> {
    await this.#putContents();
    for (const json of this.#workspaces) {
      await this.#query(
        `update workspaces w set base_layer = r.base_layer
           from jsonb_populate_recordset(null::workspaces, $2::text::jsonb) r
          where w.tenant_id = $1 and w.workspace_id = r.workspace_id`,
        [this.#tenant, json],
      );
    }
    for (const [table, { identity }] of this.#tables) {
      if (identity === null) continue;
      await this.#query(
        `select setval(pg_get_serial_sequence('${table}', '${identity}'),
           greatest((select max(${identity}) from ${table} where tenant_id = $1),
                    nextval(pg_get_serial_sequence('${table}', '${identity}'))))`,
        [this.#tenant],
      );
    }
  }

  async #putContents(): Promise<void> {
    const part = this.#contents;
    this.#contents = [];
    if (part.length === 0) return;
    this.contentCount += part.length;
    await this.#query(
      `insert into contents (tenant_id, hash, data)
       select $1::int, k.hash, k.data from unnest($2::bytea[], $3::bytea[]) k(hash, data)`,
      [this.#tenant, part.map(({ hash }) => bytea(hash)), part.map(({ data }) => bytea(data))],
    );
  }

  /** The columns of a table that a backup may name. */
  async #table(table: string): Promise<{ columns: string; identity: string | null }> {
    const known = this.#tables.get(table);
    if (known !== undefined) return known;
    if (!(await tablesOf(this.#connection)).includes(table)) {
      throw damaged(`a table ${JSON.stringify(table.slice(0, 40))} that there is not`);
    }
    const rows = await this.#connection.query(
      `select attname as name, attidentity <> '' as identity from pg_attribute
        where attrelid = $1::text::regclass and attnum > 0 and not attisdropped
          and attgenerated = '' and attname <> 'tenant_id' order by attnum`,
      [table],
    );
    const found = {
      columns: rows.map(({ name }) => `"${name}"`).join(", "),
      identity: rows.find(({ identity }) => identity)?.name ?? null,
    };
    this.#tables.set(table, found);
    return found;
  }

  #query(text: string, parameters: readonly Parameter[]): Promise<Row[]> {
    return this.#connection.query(text, parameters);
  }
}

/** The id of a tenant of this name: a new one, or one that has nothing yet, emptied. */
async function emptyTenant(connection: Connection, name: string): Promise<number> {
  const found = await tenantId(connection, name);
  if (found === null) {
    const [row] = await connection.query(
      "insert into tenants (name) values ($1) returning tenant_id",
      [name],
    );
    return row!.tenant_id;
  }
  const [row] = await connection.query(
    `select exists (select 1 from dentries where tenant_id = $1)
         or exists (select 1 from layers where tenant_id = $1)
         or exists (select 1 from workspaces where tenant_id = $1 and holder is not null) as used`,
    [found],
  );
  if (row!.used) {
    throw new TarboxError(
      `recover: tenant ${name} is not empty`,
      "give another one with --tenant; it is made",
    );
  }
  for (const table of ["workspaces", "inodes", "lineages"]) {
    await connection.query(`delete from ${table} where tenant_id = $1`, [found]);
  }
  return found;
}

async function tenantId(connection: Connection, name: string): Promise<number | null> {
  const [row] = await connection.query("select tenant_id from tenants where name = $1", [name]);
  return row?.tenant_id ?? null;
}

/** Every table with rows of tenants that a backup holds, those that others refer to first. */
async function tablesOf(connection: Connection): Promise<string[]> {
  const rows = await connection.query(
    `select c.relname as name from pg_class c
       join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id'
      where c.relkind in ('r', 'p') and not c.relispartition
        and c.relnamespace = (select relnamespace from pg_class where oid = 'lineages'::regclass)
      order by c.relname`,
  );
  const names = rows.map(({ name }) => name as string).filter((name) => !MOMENTARY.includes(name));
  return [...FIRST, ...names.filter((name) => !FIRST.includes(name))];
}

/** Columns of a table's primary key, for one order of rows. */
async function keyOf(connection: Connection, table: string): Promise<string> {
  const rows = await connection.query(
    `select a.attname as name from pg_index i
       join lateral unnest(i.indkey) with ordinality k(attnum, place) on true
       join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
      where i.indrelid = $1::text::regclass and i.indisprimary order by k.place`,
    [table],
  );
  return rows.map(({ name }) => `t."${name}"`).join(", ");
}

async function* cursor(
  connection: Connection,
  text: string,
  count: number,
): AsyncGenerator<Row[]> {
  await connection.query(`declare part no scroll cursor for ${text}`);
  for (;;) {
    const rows = await connection.query(`fetch ${count} from part`);
    if (rows.length > 0) yield rows;
    if (rows.length < count) break;
  }
  await connection.query("close part");
}

/** Four letters, the length in four bytes, the data. */
function frame(type: string, data: Uint8Array): Uint8Array {
  const out = new Uint8Array(8 + data.length);
  out.set(utf8(type));
  new DataView(out.buffer).setUint32(4, data.length);
  out.set(data, 8);
  return out;
}

/** The frames of a backup but the last, once that one proved the digest of all before. */
async function* framesOf(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<{ readonly type: string; readonly data: Uint8Array }> {
  const reader = new ExactReader(source);
  const digest = createHash("sha256");
  const magic = await reader.read(MAGIC.length);
  if (!equalBytes(magic, MAGIC)) throw damaged("it is no backup of tarbox");
  digest.update(magic);
  for (;;) {
    const header = await reader.read(8);
    const type = new TextDecoder().decode(header.subarray(0, 4));
    const length = new DataView(header.buffer, header.byteOffset).getUint32(4);
    if (length > FRAME_BYTES_MAX) throw damaged("a part is too long");
    const data = await reader.read(length);
    if (type === "done") {
      if (!equalBytes(data, new Uint8Array(digest.digest()))) throw damaged("its digest is wrong");
      if (!await reader.ended()) throw damaged("something follows its end");
      return;
    }
    digest.update(header);
    digest.update(data);
    yield { type, data };
  }
}

/** Reads counts of bytes from parts of any size. */
class ExactReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #parts: Uint8Array[] = [];
  #bytes = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async read(count: number): Promise<Uint8Array> {
    while (this.#bytes < count) {
      const { value, done } = await this.#source.next();
      if (done) throw damaged("it ends too early");
      this.#parts.push(value);
      this.#bytes += value.length;
    }
    const all = this.#parts.length === 1 ? this.#parts[0]! : concatBytes(this.#parts);
    this.#parts = [all.subarray(count)];
    this.#bytes = all.length - count;
    return all.slice(0, count);
  }

  async ended(): Promise<boolean> {
    return this.#bytes === 0 && (await this.#source.next()).done === true;
  }
}

function damaged(why: string): TarboxError {
  return new TarboxError(`recover: the backup is damaged: ${why}`, "nothing was changed");
}
