import { TarboxError } from "./errors.ts";

/**
 * Named places where a test makes this process fail. Off unless the environment variable
 * `TARBOX_FAILPOINT` arms some: `name[:count]=action`, more of them separated by `;`. With a count,
 * the point acts at that passing only (1 is the first), else at each.
 *
 * | action | does |
 * | --- | --- |
 * | `exit` | kills this process, as `kill -9` does |
 * | `stop` | stops this process, as `kill -STOP` does, until somebody continues it |
 * | `error` | throws a {@link FailpointError} |
 * | `delay` or `delayMS` | waits 1,000 or that many milliseconds |
 *
 * The names are in spec/failpoints.md.
 */
interface Armed {
  /** Passings that are left before it acts; null: it acts at each. */
  left: number | null;
  readonly action: "exit" | "stop" | "error" | "delay";
  readonly delayMs: number;
}

/** What the action `error` throws. */
export class FailpointError extends TarboxError {
  override readonly name = "FailpointError";

  constructor(readonly failpoint: string) {
    super(`failpoint ${failpoint}`);
  }
}

let armed: Map<string, Armed> | null = armFromEnvironment();

/**
 * Arms failpoints of this process by a text as `TARBOX_FAILPOINT` holds it; null disarms all.
 * @throws {TarboxError} when it cannot be read
 */
export function arm(text: string | null): void {
  armed = text === null ? null : parse(text);
}

/** Whether a point is armed: for callers that go another way then, such as not to pipeline. */
export function isArmed(name: string): boolean {
  return armed !== null && armed.has(name);
}

/**
 * Passes a failpoint. Nothing is armed in a running system: then this returns undefined, at the cost
 * of one comparison.
 * @returns what to wait for, or undefined
 * @throws {FailpointError}
 */
export function failpoint(name: string): Promise<void> | undefined {
  if (armed === null) return undefined;
  const point = armed.get(name);
  if (point === undefined) return undefined;
  if (point.left !== null && --point.left !== 0) return undefined;
  switch (point.action) {
    case "exit":
      Deno.kill(Deno.pid, "SIGKILL");
      // The signal takes a moment to arrive; nothing may be done until then.
      for (;;);
    case "stop":
      Deno.kill(Deno.pid, "SIGSTOP");
      return undefined;
    case "error":
      throw new FailpointError(name);
    case "delay":
      return new Promise((resolve) => setTimeout(resolve, point.delayMs));
  }
}

function armFromEnvironment(): Map<string, Armed> | null {
  const text = Deno.env.get("TARBOX_FAILPOINT");
  return text === undefined || text === "" ? null : parse(text);
}

function parse(text: string): Map<string, Armed> {
  const points = new Map<string, Armed>();
  for (const part of text.split(";")) {
    const match = /^\s*([a-z][a-z.-]*)(?::(\d+))?=(exit|stop|error|delay)(\d*)\s*$/.exec(part);
    if (match === null) {
      throw new TarboxError(
        `TARBOX_FAILPOINT: ${part} cannot be read`,
        "write name[:count]=exit, stop, error or delay",
        2,
      );
    }
    const [, name, count, action, ms] = match;
    points.set(name!, {
      left: count === undefined ? null : Number(count),
      action: action as Armed["action"],
      delayMs: ms === "" ? 1000 : Number(ms),
    });
  }
  return points;
}
