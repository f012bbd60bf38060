import { join } from "node:path";
import { copied } from "../base/copied.ts";
import { OPERATIONS } from "../fuse/table.ts";
import { type Traffic, traffic } from "../store/postgres/traffic.ts";

/** Opcodes that are counted: all that Linux has, and room. */
const OPCODES = 64;

/** Where the request thread's copied bytes stand, after the counts of the opcodes. */
const COPIED = OPCODES;

/** What a mount did since it began; none of it depends on how busy the machine is. */
export interface MountCounts {
  /** Requests of the kernel by operation; those that never came are left out. */
  readonly requests: Readonly<Record<string, number>>;
  readonly sql: Traffic;
  readonly copiedBytes: number;
  /** Resident memory of the daemon, now and at its highest. */
  readonly memory: { readonly residentBytes: number; readonly peakBytes: number };
}

/** Memory that both threads see: the request thread counts, the main thread reads. */
export function newCounts(): SharedArrayBuffer {
  return new SharedArrayBuffer((OPCODES + 1) * Float64Array.BYTES_PER_ELEMENT);
}

/** The request thread's side. */
export class RequestCounts {
  /** Requests by opcode. */
  readonly requests: Float64Array;
  readonly #all: Float64Array;

  constructor(shared: SharedArrayBuffer) {
    this.#all = new Float64Array(shared);
    this.requests = this.#all.subarray(0, OPCODES);
  }

  /** Shows the other thread what was copied by now. */
  publish(): void {
    this.#all[COPIED] = copied.bytes;
  }
}

/** The main thread's view of everything. */
export function readCounts(shared: SharedArrayBuffer): MountCounts {
  const all = new Float64Array(shared);
  const requests: Record<string, number> = {};
  for (const [code, { name }] of OPERATIONS) {
    const count = all[code] ?? 0;
    if (code < OPCODES && count > 0) requests[name] = (requests[name] ?? 0) + count;
  }
  const status = Deno.readTextFileSync("/proc/self/status");
  const bytes = (field: string) => 1024 * Number(status.match(`${field}:\\s+(\\d+) kB`)?.[1] ?? 0);
  return {
    requests,
    sql: traffic(),
    copiedBytes: all[COPIED]! + copied.bytes,
    memory: { residentBytes: bytes("VmRSS"), peakBytes: bytes("VmHWM") },
  };
}

/** Milliseconds for which a mount that does not answer is waited for. */
const ANSWER_LIMIT_MS = 2000;

/**
 * What `/.tarbox/stats/mount` of a mount says; null when it does not answer or has no such file. Read
 * by a process of its own: Deno opens files on the main thread, which a mount that is stopped would
 * hold for ever.
 */
export async function askCounts(mountPoint: string): Promise<unknown> {
  try {
    const { success, stdout } = await new Deno.Command("cat", {
      args: [join(mountPoint, ".tarbox/stats/mount")],
      stderr: "null",
      signal: AbortSignal.timeout(ANSWER_LIMIT_MS),
    }).output();
    return success ? JSON.parse(new TextDecoder().decode(stdout)) : null;
  } catch {
    return null;
  }
}
