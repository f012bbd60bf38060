import { TarboxError } from "../../base/errors.ts";
import type { Reply, Request } from "../store.ts";
import { Connection, pause } from "./connection.ts";
import type { DatabaseOptions } from "./options.ts";
import type { Pool } from "./pool.ts";

/** Milliseconds after which is looked again, should a notification not arrive. */
const POLL_MS = 1_000;

/** Milliseconds between looks for a reply. */
const REPLY_POLL_MS = 3;

/** Requests to whoever holds a workspace, as rows; LISTEN and NOTIFY make it quick. */
export class PostgresRequests {
  readonly #tenant: number;
  readonly #pool: Pool;
  readonly #options: DatabaseOptions;

  constructor(tenant: number, pool: Pool, options: DatabaseOptions) {
    this.#tenant = tenant;
    this.#pool = pool;
    this.#options = options;
  }

  async ask(
    workspace: number,
    command: string,
    argument: unknown,
    timeoutSeconds: number,
  ): Promise<unknown> {
    const [[row]] = await this.#pool.transaction([
      [
        `insert into requests (tenant_id, workspace_id, command, argument, expires_at)
         values ($1, $2, $3, $4, now() + make_interval(secs => $5::float8)) returning request_id`,
        [this.#tenant, workspace, command, (argument ?? null) as object, timeoutSeconds],
      ],
      ["select pg_notify($1, $2)", [channel(this.#tenant, workspace), command]],
    ], "request") as [[{ request_id: bigint }]];
    const key = [this.#tenant, row.request_id];
    const deadline = Date.now() + timeoutSeconds * 1000;
    for (let wait = REPLY_POLL_MS; Date.now() < deadline; wait = Math.min(wait * 1.2, 100)) {
      const [found] = await this.#pool.read(
        "select reply from requests where tenant_id = $1 and request_id = $2",
        key,
      );
      const reply = found?.reply as Reply | null | undefined;
      if (reply) {
        await this.#forget(key);
        if ("error" in reply) throw new TarboxError(reply.error, reply.hint);
        return reply.result;
      }
      await pause(wait);
    }
    await this.#forget(key);
    throw new TarboxError(
      `${command}: the mount that holds the workspace did not answer within ${timeoutSeconds} s`,
      "`tarbox status` shows it; `tarbox umount --force` ends one that hangs",
    );
  }

  async #forget(key: readonly (number | bigint)[]): Promise<void> {
    await this.#pool.transaction([
      ["delete from requests where tenant_id = $1 and request_id = $2", key],
    ], "request-forget");
  }

  /** Requests are answered one after the other, each once, for as long as the epoch is current. */
  async serve(
    workspace: number,
    epoch: number | null,
    handle: (request: Request) => Promise<Reply>,
  ): Promise<() => Promise<void>> {
    let stopped = false;
    let wake = () => {};
    const listener = new Connection(this.#options);
    listener.onConnect = (client) => client.on("notification", () => wake());
    /** Replies that could not be written yet: what was done is not done again. */
    const unwritten = new Map<number, Reply>();
    const answer = async (request: Request) => {
      const reply = unwritten.get(request.id) ?? await handle(request).catch((error): Reply => ({
        error: error instanceof Error ? error.message : String(error),
      }));
      unwritten.set(request.id, reply);
      await this.#pool.transaction([[
        "update requests set reply = $3 where tenant_id = $1 and request_id = $2",
        [this.#tenant, request.id, reply],
      ]], "reply");
      unwritten.delete(request.id);
    };
    const loop = async () => {
      while (!stopped) {
        const woken = new Promise<void>((resolve) => wake = resolve);
        try {
          await listener.query(`listen "${channel(this.#tenant, workspace)}"`);
          for (const request of await this.#open(workspace, epoch)) {
            const mine = epoch !== null || unwritten.has(request.id) ||
              await this.#claim(request.id);
            if (!stopped && mine) await answer(request);
          }
        } catch {
          // The database is away; what is asked stays in its table until it is back.
        }
        let timer: ReturnType<typeof setTimeout> | undefined;
        const elapsed = new Promise((resolve) => timer = setTimeout(resolve, POLL_MS));
        await Promise.race([woken, elapsed]);
        clearTimeout(timer);
      }
    };
    const running = loop();
    return async () => {
      stopped = true;
      wake();
      await running;
      await listener.close();
    };
  }

  /** Of several mounts that serve a workspace, one carries a request out. */
  async #claim(request: number): Promise<boolean> {
    const [rows] = await this.#pool.transaction([[
      `update requests set claimed_at = now()
        where tenant_id = $1 and request_id = $2 and reply is null and claimed_at is null
       returning request_id`,
      [this.#tenant, request],
    ]], "claim");
    return rows!.length > 0;
  }

  /** What waits for the holder of this epoch, or for any mount, and is still waited for. */
  async #open(workspace: number, epoch: number | null): Promise<Request[]> {
    const rows = await this.#pool.read(
      `select r.request_id, r.command, r.argument
         from requests r join workspaces w using (tenant_id, workspace_id)
        where r.tenant_id = $1 and r.workspace_id = $2 and r.reply is null
          and r.expires_at > now()
          and ($3::int8 is null or (w.epoch = $3 and w.holder is not null))
        order by r.request_id`,
      [this.#tenant, workspace, epoch],
    );
    return rows.map(({ request_id, command, argument }) => ({
      id: Number(request_id),
      workspace,
      command,
      argument,
    }));
  }
}

/** The channel on which the holder of a workspace hears of requests. */
export function channel(tenant: number, workspace: number): string {
  return `tarbox_${tenant}_${workspace}`;
}
