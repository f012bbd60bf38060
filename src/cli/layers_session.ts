import { runLayerCommand } from "../layer/commands.ts";
import { keepShallow } from "../layer/shallow.ts";
import { resolve, type Resolved } from "../layer/references.ts";
import { held, type Session } from "./session.ts";

/** Seconds that a mount has to write what it holds before a head is read. */
const FLUSH_TIMEOUT_SECONDS = 120;

/** Has the holder of the session's workspace, or this process, run one of the layer commands. */
export async function onWorkspace(
  session: Session,
  command: string,
  argument: { readonly ref?: string; readonly from?: string } & Readonly<Record<string, unknown>>,
): Promise<unknown> {
  // What a command takes from is read by whoever carries it out, as it is in the store.
  const source = argument.ref ?? argument.from;
  if (source?.includes("/")) await resolveFlushed(session, source);
  return await session.hold(
    command,
    argument,
    async (epoch) => {
      const { store } = session;
      const result = await runLayerCommand(store, await session.row(), epoch, command, argument);
      // A mount does this in the background; without one it is now or never.
      if (command === "switch" || command === "undo") {
        await keepShallow(store, await store.chain((await session.row()).head));
      }
      return result;
    },
  );
}

/** Prints facts as JSON, one value, indented. */
export async function printJson(session: Session, facts: unknown): Promise<void> {
  await session.out(JSON.stringify(facts, null, 2) + "\n");
}

/**
 * What a reference names; when it is a head that somebody holds, after he wrote what he had.
 * @throws {TarboxError} as `resolve` does, or when the holder does not answer.
 */
export async function resolveFlushed(session: Session, ref: string): Promise<Resolved> {
  const resolved = await resolve(session.store, session.workspace, ref);
  if (resolved.layer !== null || !held(resolved.workspace)) return resolved;
  await session.store.ask(resolved.workspace.id, "flush", {}, FLUSH_TIMEOUT_SECONDS);
  return await resolve(session.store, session.workspace, ref);
}
