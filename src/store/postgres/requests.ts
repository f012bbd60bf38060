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
        `insert into requests (tenant_id, workspace_id, command, argument)
         values ($1, $2, $3, $4) returning request_id`,
        [this.#tenant, workspace, command, argument as object],
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

  async serve(
    workspace: number,
    handle: (request: Request) => Promise<Reply>,
  ): Promise<() => Promise<void>> {
    let stopped = false;
    let wake = () => {};
    const listener = new Connection(this.#options);
    listener.onConnect = (client) => client.on("notification", () => wake());
    const loop = async () => {
      while (!stopped) {
        const woken = new Promise<void>((resolve) => wake = resolve);
        try {
          await listener.query(`listen "${channel(this.#tenant, workspace)}"`);
          for (const request of await this.#open(workspace)) {
            const reply = await handle(request);
            await this.#pool.transaction([[
              "update requests set reply = $3 where tenant_id = $1 and request_id = $2",
              [this.#tenant, request.id, reply],
            ]], "reply");
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

  async #open(workspace: number): Promise<Request[]> {
    const rows = await this.#pool.read(
      `select request_id, command, argument from requests
        where tenant_id = $1 and workspace_id = $2 and reply is null order by request_id`,
      [this.#tenant, workspace],
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
