import { FencedError } from "../errors.ts";
import type { ChangedKeys, Holder, WorkspaceRow } from "../rows.ts";
import type { Known, LockRow, MountRow, Seen, TakeOptions } from "../sharing.ts";
import { WORKSPACE_COLUMNS, workspaceRow } from "./catalog.ts";
import { bytes, Connection, pause, type Statement } from "./connection.ts";
import type { Row } from "./session.ts";
import type { DatabaseOptions } from "./options.ts";
import type { Pool } from "./pool.ts";
import { channel } from "./requests.ts";

/** Change rows older than this are of no mount that lives: it would have looked. */
const CHANGES_KEPT = "interval '5 minutes'";

/** Milliseconds after which a lost connection of {@link PostgresSharing.watch} is made anew. */
const WATCH_RETRY_MS = 500;

/** Several mounts of one workspace, in PostgreSQL. */
export class PostgresSharing {
  readonly #tenant: number;
  readonly #pool: Pool;
  readonly #options: DatabaseOptions;

  constructor(tenant: number, pool: Pool, options: DatabaseOptions) {
    this.#tenant = tenant;
    this.#pool = pool;
    this.#options = options;
  }

  async joinMount(workspace: number, holder: Holder): Promise<number> {
    const [[row]] = await this.#pool.transaction([
      [
        `insert into mounts (tenant_id, workspace_id, holder) values ($1, $2, $3)
         returning mount_id`,
        [this.#tenant, workspace, holder],
      ],
      this.tell(workspace),
    ], "join") as [[Row]];
    return Number(row.mount_id);
  }

  async leaveMount(workspace: number, mount: number): Promise<void> {
    await this.#pool.transaction([
      [
        `update workspaces w set lock_version = lock_version + 1
          where w.tenant_id = $1 and w.workspace_id = $2 and exists
            (select 1 from locks l where l.tenant_id = $1 and l.mount_id = $3)`,
        [this.#tenant, workspace, mount],
      ],
      ["delete from mounts where tenant_id = $1 and mount_id = $2", [this.#tenant, mount]],
      this.tell(workspace),
    ], "leave");
  }

  async beatMount(
    workspace: number,
    mount: number,
    staleSeconds: number,
  ): Promise<{ others: number; wanted: boolean }> {
    const key = [this.#tenant, workspace, mount];
    const [alive, , , [others]] = await this.#pool.transaction([
      [
        `update mounts set heartbeat = now()
          where tenant_id = $1 and workspace_id = $2 and mount_id = $3 returning mount_id`,
        key,
      ],
      [
        `with gone as (
           delete from mounts where tenant_id = $1 and workspace_id = $2 and mount_id <> $3
              and heartbeat <= now() - make_interval(secs => $4::float8) returning mount_id)
         update workspaces set lock_version = lock_version + 1
          where tenant_id = $1 and workspace_id = $2 and exists (select 1 from gone)`,
        [...key, staleSeconds],
      ],
      [
        `delete from changes where tenant_id = $1 and workspace_id = $2
            and created_at < now() - ${CHANGES_KEPT}`,
        [this.#tenant, workspace],
      ],
      [
        `select count(*)::int as others,
                coalesce(max(wants) > now() - interval '2 seconds', false) as wanted
           from mounts where tenant_id = $1 and workspace_id = $2 and mount_id <> $3`,
        key,
      ],
    ], "beat") as [Row[], Row[], Row[], [Row]];
    if (alive.length === 0) throw await this.#fenced(workspace);
    return { others: others.others, wanted: others.wanted };
  }

  async mounts(workspace: number | null): Promise<MountRow[]> {
    const rows = await this.#pool.read(
      `select mount_id, workspace_id, holder,
              extract(epoch from now() - heartbeat)::float8 as age
         from mounts where tenant_id = $1 and ($2::int is null or workspace_id = $2)
        order by mount_id`,
      [this.#tenant, workspace],
    );
    return rows.map(({ mount_id, workspace_id, holder, age }) => ({
      id: Number(mount_id),
      workspace: workspace_id,
      holder,
      ageSeconds: age,
    }));
  }

  async tryAttach(
    workspace: number,
    holder: Holder,
    { staleSeconds, gone, alone = false }: TakeOptions,
  ): Promise<WorkspaceRow | null> {
    const mount = holder.mount ?? null;
    const [rows, registered] = await this.#pool.transaction([
      [
        `with old as (
           select holder as old_holder from workspaces
            where tenant_id = $1 and workspace_id = $2
              and (holder is null or epoch = $5::int8
                   or heartbeat <= now() - make_interval(secs => $4::float8))
              and ($6::int8 is null or exists
                   (select 1 from mounts m where m.tenant_id = $1 and m.mount_id = $6))
              and (not $7::boolean or not exists
                   (select 1 from mounts m where m.tenant_id = $1 and m.workspace_id = $2
                       and m.mount_id <> $6))
              for update),
         gone as (
           delete from mounts m using old
            where m.tenant_id = $1 and m.mount_id = (old_holder->>'mount')::int8
              and m.mount_id is distinct from $6
           returning m.mount_id)
         update workspaces w set epoch = w.epoch + 1, holder = $3::jsonb, heartbeat = now(),
                committed_sequence = 0,
                lock_version = w.lock_version + (select count(*) from gone)
           from old where w.tenant_id = $1 and w.workspace_id = $2
         returning ${WORKSPACE_COLUMNS}`,
        [this.#tenant, workspace, holder, staleSeconds, gone ?? null, mount, alone],
      ],
      [
        "select 1 as one from mounts where tenant_id = $1 and mount_id = $2",
        [this.#tenant, mount],
      ],
    ], "attach") as [Row[], Row[]];
    if (mount !== null && registered.length === 0) throw await this.#fenced(workspace);
    return rows.length === 0 ? null : workspaceRow(rows[0]!);
  }

  async wantLease(workspace: number, mount: number): Promise<void> {
    await this.#pool.transaction([
      [
        "update mounts set wants = now() where tenant_id = $1 and mount_id = $2",
        [this.#tenant, mount],
      ],
      this.tell(workspace, mount),
    ], "want");
  }

  async look(workspace: number, mount: number, known: Known): Promise<Seen> {
    const key = [this.#tenant, workspace];
    const rows = await this.#pool.read(
      `select ${WORKSPACE_COLUMNS}, w.version, lock_version,
              exists (select 1 from mounts m where m.tenant_id = $1 and m.mount_id = $3)
                as registered, next_inode, next_cookie, c.version as change,
              nullif(inodes, '{}') as inodes, nullif(parents, '{}') as parents,
              nullif(names, '{}') as names
         from workspaces w
         join (select tenant_id, lineage, next_inode, next_cookie from lineages) l
           on l.tenant_id = $1 and l.lineage = head_lineage
         left join (select tenant_id, workspace_id as of, version, inodes, parents, names
                      from changes) c
           on c.tenant_id = $1 and c.of = $2 and c.version > $4
        where w.tenant_id = $1 and workspace_id = $2 order by c.version`,
      [...key, mount, known.version],
    );
    const [row] = rows;
    if (row === undefined || !row.registered) throw await this.#fenced(workspace);
    const [version, lockVersion] = [Number(row.version), Number(row.lock_version)];
    return {
      workspace: workspaceRow(row),
      version,
      lockVersion,
      changed: together(rows.filter(({ change }) => change !== null), {
        expected: version - known.version,
      }),
      locks: lockVersion === known.lockVersion ? null : await this.#locks(workspace, mount),
      counters: { nextInode: Number(row.next_inode), nextCookie: Number(row.next_cookie) },
    };
  }

  async #locks(workspace: number, mount: number): Promise<LockRow[]> {
    const rows = await this.#pool.read(
      `select mount_id, inode, flock, owner, first_byte, last_byte, exclusive, pid from locks
        where tenant_id = $1 and workspace_id = $2 and mount_id <> $3`,
      [this.#tenant, workspace, mount],
    );
    return rows.map((row) => ({
      mount: Number(row.mount_id),
      inode: Number(row.inode),
      flock: row.flock,
      owner: BigInt(row.owner),
      start: row.first_byte,
      end: row.last_byte,
      type: row.exclusive ? "write" : "read",
      pid: row.pid,
    }));
  }

  async putLocks(
    workspace: number,
    mount: number,
    inodes: readonly number[],
    locks: readonly LockRow[],
  ): Promise<void> {
    await this.#pool.transaction([
      [
        "delete from locks where tenant_id = $1 and mount_id = $2 and inode = any($3::int8[])",
        [this.#tenant, mount, inodes],
      ],
      [
        `insert into locks (tenant_id, workspace_id, mount_id, inode, flock, owner, first_byte,
                last_byte, exclusive, pid)
         select $1::int, $2::int, m.mount_id, k.inode, k.flock <> 0, k.owner, k.first_byte,
                k.last_byte, k.exclusive <> 0, k.pid
           from mounts m cross join
                unnest($4::int8[], $5::int[], $6::text[], $7::int8[], $8::int8[], $9::int[],
                       $10::int[])
                k(inode, flock, owner, first_byte, last_byte, exclusive, pid)
          where m.tenant_id = $1 and m.mount_id = $3`,
        [
          this.#tenant,
          workspace,
          mount,
          locks.map(({ inode }) => inode),
          locks.map(({ flock }) => Number(flock)),
          locks.map(({ owner }) => String(owner)),
          locks.map(({ start }) => start),
          locks.map(({ end }) => end),
          locks.map(({ type }) => Number(type === "write")),
          locks.map(({ pid }) => pid),
        ],
      ],
      [
        `update workspaces set lock_version = lock_version + 1
          where tenant_id = $1 and workspace_id = $2`,
        [this.#tenant, workspace],
      ],
      this.tell(workspace),
    ], "locks");
  }

  async watch(
    workspace: number,
    onEvent: (wantedBy: number | null) => void,
  ): Promise<() => Promise<void>> {
    const connection = new Connection(this.#options);
    let stopped = false;
    connection.onConnect = (client) => {
      client.on("notification", ({ payload }) => onEvent(payload ? Number(payload) : null));
      client.on("end", () => void listen());
    };
    const listen = async () => {
      while (!stopped) {
        try {
          await connection.query(`listen "${this.#channel(workspace)}"`);
          return onEvent(null);
        } catch {
          await pause(WATCH_RETRY_MS);
        }
      }
    };
    await listen();
    return async () => {
      stopped = true;
      await connection.close();
    };
  }

  #channel(workspace: number): string {
    return `${channel(this.#tenant, workspace)}_turns`;
  }

  /** The statement that has those who {@link PostgresSharing.watch} look. */
  tell(workspace: number, wantedBy: number | null = null): Statement {
    return ["select pg_notify($1, $2)", [this.#channel(workspace), String(wantedBy ?? "")]];
  }

  async #fenced(workspace: number): Promise<FencedError> {
    const [row] = await this.#pool.read(
      "select name from workspaces where tenant_id = $1 and workspace_id = $2",
      [this.#tenant, workspace],
    );
    return new FencedError(row?.name ?? String(workspace));
  }
}

/** All changes in one, or null when one of those expected is not there. */
function together(rows: readonly Row[], { expected }: { expected: number }): ChangedKeys | null {
  if (rows.length !== expected) return null;
  return {
    // ts-postgres cannot read an empty array, so the statement makes it null.
    inodes: rows.flatMap(({ inodes }) => (inodes as bigint[] ?? []).map(Number)),
    dentries: rows.flatMap(({ parents, names }) =>
      (parents as bigint[] ?? []).map((parent, i) => ({
        parent: Number(parent),
        name: bytes((names as Uint8Array[])[i]!),
      }))
    ),
  };
}
