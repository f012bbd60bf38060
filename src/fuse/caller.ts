/** What `/proc` tells about the thread that made a request. */

const SIGKILL_BIT = 1n << 8n;

function status(pid: number): string | null {
  if (pid === 0) return null;
  try {
    return Deno.readTextFileSync(`/proc/${pid}/status`);
  } catch {
    // Gone, or hidden from us (hidepid): unknown either way.
    return null;
  }
}

/** Supplementary groups in the text of `/proc/PID/status`. */
export function parseGroups(text: string): number[] {
  const line = /^Groups:(.*)$/m.exec(text)?.[1] ?? "";
  return line.split(/\s+/).filter((word) => word !== "").map(Number);
}

/**
 * Whether the text of `/proc/PID/status` shows SIGKILL pending. The kernel makes every signal that
 * ends a process by default (SIGINT, SIGTERM, ...) into a SIGKILL pending for each of its threads.
 */
export function parseDying(text: string): boolean {
  for (const match of text.matchAll(/^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)$/gm)) {
    if ((BigInt(`0x${match[1]}`) & SIGKILL_BIT) !== 0n) return true;
  }
  return false;
}

/** Effective capabilities in the text of `/proc/PID/status`, one bit for each. */
export function parseCapabilities(text: string): bigint {
  const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(text)?.[1];
  return mask === undefined ? 0n : BigInt(`0x${mask}`);
}

function userNamespace(pid: number | "self"): string | null {
  try {
    return Deno.readLinkSync(`/proc/${pid}/ns/user`);
  } catch {
    return null;
  }
}

/**
 * Whether the thread has a capability. That of another user namespace counts for nothing here. What
 * cannot be read is what root has and others have not.
 */
export function callerCapable(pid: number, uid: number, capability: number): boolean {
  const text = status(pid);
  if (text === null) return uid === 0;
  if ((parseCapabilities(text) >> BigInt(capability) & 1n) === 0n) return false;
  if (uid === 0) return true;
  const own = userNamespace("self");
  return own !== null && userNamespace(pid) === own;
}

/** Supplementary groups of the thread; none when they cannot be read. */
export function callerGroups(pid: number): readonly number[] {
  const text = status(pid);
  return text === null ? [] : parseGroups(text);
}

/** Whether the thread is being killed; false when that cannot be read. */
export function callerDying(pid: number): boolean {
  const text = status(pid);
  return text !== null && parseDying(text);
}
