import type { Command } from "commander";
import { InvariantError, TarboxError } from "../base/errors.ts";
import { HeldError } from "../store/errors.ts";
import type { Lease, WorkspaceRow } from "../store/rows.ts";
import type { Store } from "../store/store.ts";
import { openDatabase } from "../mount/database.ts";
import { deadEpoch, leaseHolds, selfHolder, STALE_SECONDS } from "../mount/lease.ts";

/** Seconds that a command waits for the mount that holds the workspace to answer. */
const HOLDER_TIMEOUT_SECONDS = 120;

/** Seconds that a command waits for another command on the same workspace to end. */
const COMMAND_TIMEOUT_SECONDS = 60;

/** What a command works with: the store of its tenant, and where to print. */
export interface Session {
  readonly store: Store;
  /** Name of the workspace asked for by `--workspace`. */
  readonly workspace: string;
  readonly json: boolean;
  readonly quiet: boolean;
  /** Writes to standard output, all of it. */
  out(output: string | Uint8Array): Promise<void>;
  /** The workspace's row. @throws {TarboxError} when there is none. */
  row(): Promise<WorkspaceRow>;
  /**
   * Has a change of the workspace done by whoever holds it: the mount that holds the lease, asked
   * through the database, or, when nobody does, `offline` in this process.
   */
  hold<T>(
    command: string,
    argument: unknown,
    offline: (epoch: number | null) => Promise<T>,
  ): Promise<T>;
}

/** Runs the body of a command and turns its outcome into an exit status. */
export type Run = (
  command: Command,
  body: (session: Session) => Promise<number | void>,
) => Promise<void>;

/** Options that every command takes, as commander gathers them. */
export interface GlobalOptions {
  readonly config?: string;
  readonly tenant: string;
  readonly workspace: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly debug?: boolean;
}

/** Writes all bytes to standard output. */
export async function print(output: string | Uint8Array): Promise<void> {
  const bytes = typeof output === "string" ? new TextEncoder().encode(output) : output;
  let at = 0;
  while (at < bytes.length) at += await Deno.stdout.write(bytes.subarray(at));
}

/** Whether output is coloured where nobody said so: on a terminal, unless NO_COLOR is set. */
export function colored(): boolean {
  return Deno.stdout.isTerminal() && !Deno.noColor;
}

/** Tells an error as the contract says: one line what and why, one line what to do. */
export function tell(error: unknown, debug: boolean): number {
  if (error instanceof TarboxError) {
    console.error(`tarbox: ${error.message}`);
    if (error.hint !== undefined) console.error(error.hint);
    if (debug) console.error(error.stack);
    return error.status;
  }
  if (error instanceof InvariantError) {
    console.error(`tarbox: stored data or Tarbox itself is wrong: ${error.message}`);
    console.error("run `tarbox fsck`, and report this with its output");
    if (debug) console.error(error.stack);
    return 1;
  }
  const message = error instanceof Error ? error.message : String(error);
  console.error(`tarbox: ${message.split("\n")[0]}`);
  if (debug && error instanceof Error) console.error(error.stack);
  else console.error("run it again with --debug for where it happened");
  return 1;
}

/**
 * Whether a lease is held by somebody who lives: its heartbeat is fresh and, when it is a process of
 * this machine, that process is there.
 */
export function held(workspace: WorkspaceRow): boolean {
  return leaseHolds(workspace.lease);
}

/** A session over an open store. */
export function makeSession(store: Store, options: GlobalOptions): Session {
  const session: Session = {
    store,
    workspace: options.workspace,
    json: options.json ?? false,
    quiet: options.quiet ?? false,
    out: print,
    async row() {
      const row = await store.workspace(options.workspace);
      if (row === null) {
        throw new TarboxError(
          `workspace ${options.workspace}: there is none of that name`,
          `\`tarbox --workspace ${options.workspace} init\` creates it`,
        );
      }
      return row;
    },
    async hold<T>(
      command: string,
      argument: unknown,
      offline: (epoch: number | null) => Promise<T>,
    ): Promise<T> {
      const deadline = performance.now() + COMMAND_TIMEOUT_SECONDS * 1000;
      for (;;) {
        const { id, lease } = await session.row();
        // A mount carries it out itself; another command is soon done.
        if (leaseHolds(lease) && lease!.holder.mountPoint !== null) {
          return await store.ask(id, command, argument, HOLDER_TIMEOUT_SECONDS) as T;
        }
        let taken: Lease;
        try {
          taken = await store.attach(id, selfHolder(null), STALE_SECONDS, deadEpoch(lease));
        } catch (error) {
          if (!(error instanceof HeldError) || performance.now() > deadline) throw error;
          await new Promise((resolve) => setTimeout(resolve, 50));
          continue;
        }
        try {
          return await offline(taken.epoch);
        } finally {
          await store.detach(id, taken.epoch);
        }
      }
    },
  };
  return session;
}

/** Runs command bodies against the database that the configuration names. */
export const run: Run = async (command, body) => {
  const options = command.optsWithGlobals<GlobalOptions>();
  let status = 1;
  try {
    const database = await openDatabase(options);
    try {
      status = await body(makeSession(database.store, options)) ?? 0;
    } finally {
      await database.close();
    }
  } catch (error) {
    status = tell(error, options.debug ?? false);
  }
  Deno.exitCode = status;
};

/** Runs a command that opens no store by itself. */
export async function alone(
  command: Command,
  body: (globals: GlobalOptions) => Promise<void>,
): Promise<void> {
  const globals = command.optsWithGlobals<GlobalOptions>();
  try {
    await body(globals);
  } catch (error) {
    Deno.exitCode = tell(error, globals.debug ?? false);
  }
}
