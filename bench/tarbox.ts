/** The program under measurement: its binary, homes of its own, mounts in them. */
import { join } from "node:path";

/** What a command gave back. */
export interface Ran {
  readonly output: string;
  /** Milliseconds from its start to its end. */
  readonly milliseconds: number;
}

/**
 * Runs a command to its end.
 * @throws {Error} with all that it printed, when its status is not 0
 */
export async function run(
  command: readonly string[],
  options: { cwd?: string; env?: Record<string, string>; status?: readonly number[] } = {},
): Promise<Ran> {
  const started = performance.now();
  const { code, stdout, stderr } = await new Deno.Command(command[0]!, {
    args: command.slice(1),
    cwd: options.cwd,
    env: options.env,
    stdin: "null",
  }).output();
  const milliseconds = performance.now() - started;
  const output = new TextDecoder().decode(stdout);
  if ((options.status ?? [0]).includes(code)) return { output, milliseconds };
  const said = `${output}${new TextDecoder().decode(stderr)}`.trim();
  throw new Error(`${command.slice(0, 4).join(" ")} ended with status ${code}: ${said}`);
}

/** The compiled program: `TARBOX_BINARY`, else compiled from this checkout. */
export async function tarboxBinary(): Promise<string> {
  const named = Deno.env.get("TARBOX_BINARY");
  if (named !== undefined && named !== "") return named;
  await run([Deno.execPath(), "task", "compile"]);
  return join(Deno.cwd(), "dist/tarbox");
}

/** A TARBOX_HOME with an embedded engine of its own, and one mount of its workspace at a time. */
export class Home {
  readonly home: string;
  readonly mountPoint: string;
  readonly #binary: string;

  /** @param base a directory of the caller, who removes it */
  constructor(binary: string, base: string, name: string) {
    this.#binary = binary;
    this.home = join(base, `${name}-home`);
    this.mountPoint = join(base, name);
  }

  /** The environment of its commands. */
  get env(): Record<string, string> {
    return { TARBOX_HOME: this.home };
  }

  /** The command line of `tarbox` with these arguments. */
  command(...args: string[]): string[] {
    return [this.#binary, ...args];
  }

  /** Runs `tarbox` with these arguments. */
  tarbox(...args: string[]): Promise<Ran> {
    return run(this.command(...args), { env: this.env });
  }

  /** Mounts; starts what it needs. */
  mount(): Promise<Ran> {
    return this.tarbox("mount", "--create", this.mountPoint);
  }

  /** Unmounts; returns when everything is committed. */
  unmount(): Promise<Ran> {
    return this.tarbox("umount", this.mountPoint);
  }

  /** Ends mount and engine, whatever state they are in. */
  async close(): Promise<void> {
    const { env } = this;
    const any = Array.from({ length: 256 }, (_, code) => code);
    const mounts = await Deno.readTextFile("/proc/self/mountinfo");
    if (mounts.includes(` ${this.mountPoint} `)) {
      await run([this.#binary, "umount", "--force", this.mountPoint], { env, status: any });
      await run(["umount", "-l", this.mountPoint], { status: any });
    }
    await run([this.#binary, "db", "stop"], { env, status: any });
  }
}
