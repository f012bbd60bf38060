import { processAlive, processStarted } from "../base/process.ts";
import type { Layout } from "./layout.ts";

const PHASES = ["starting", "serving", "stopped", "failed"] as const;

/** What a home's supervisor says of itself. Believed only while its process is the one that wrote it. */
export interface SupervisorState {
  readonly pid: number;
  /** When its process started: a later one of the same number is another. Null where unknown. */
  readonly started: string | null;
  readonly phase: (typeof PHASES)[number];
  /** Process id of the postmaster, once it was started. */
  readonly postmaster: number | null;
  /** Why it ended, in the phase `failed`. */
  readonly failure?: { readonly message: string; readonly hint?: string };
}

/** Tells the state of this process, the supervisor; at once or not at all. */
export async function writeState(
  layout: Layout,
  state: Pick<SupervisorState, "phase" | "postmaster" | "failure">,
): Promise<void> {
  const next = `${layout.state}.next`;
  const whole = { pid: Deno.pid, started: processStarted(Deno.pid), ...state };
  await Deno.writeTextFile(next, JSON.stringify(whole));
  await Deno.rename(next, layout.state);
}

/** What the last supervisor said, whether it lives or not; null when none ever did. */
export async function readState(layout: Layout): Promise<SupervisorState | null> {
  try {
    return JSON.parse(await Deno.readTextFile(layout.state));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return null;
    throw error;
  }
}

/**
 * The state of a supervisor that lives. Null: none does, or it says nothing that this version of the
 * program understands.
 */
export async function livingState(layout: Layout): Promise<SupervisorState | null> {
  const state = await readState(layout);
  if (state === null || !PHASES.includes(state.phase) || !processAlive(state.pid)) return null;
  return processStarted(state.pid) === state.started ? state : null;
}
