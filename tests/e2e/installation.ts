import { join } from "node:path";
import { runBounded, unmountBeneath } from "../tools/process.ts";

/** Longest time that one command may take. */
const LIMIT_SECONDS = 120;

/** How a command ended. */
export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Another user than the one of the tests. */
export interface User {
  readonly uid: number;
  readonly gid: number;
}

/** The compiled binary: what `deno task test` compiled, else compiled here and now. */
export async function compiledBinary(): Promise<string> {
  const named = Deno.env.get("TARBOX_BINARY");
  if (named !== undefined) return named;
  const { code, output } = await runBounded(
    Deno.execPath(),
    ["run", "-A", "--frozen", "tests/tools/compile.ts"],
    { limitSeconds: 240 },
  );
  if (code !== 0) throw new Error(`compiling failed: ${output}`);
  return `${Deno.cwd()}/dist/tarbox`;
}

/**
 * A machine's Tarbox as a stranger has it: the compiled binary, a home, and a directory for mounts.
 * Everything that it starts is gone after {@link Installation.remove}.
 */
export class Installation {
  readonly home: string;
  /** Where the workspace is mounted; made by `mount --create`. */
  readonly mountPoint: string;

  private constructor(
    readonly binary: string,
    /** Holds home and mounts, and whatever a test wants to have beside them. */
    readonly directory: string,
    readonly user: User | undefined,
  ) {
    this.home = join(directory, "home");
    this.mountPoint = join(directory, "mnt");
  }

  /** @param user whom every command runs as; the binary is copied to where that user can run it */
  static async create(user?: User): Promise<Installation> {
    let binary = await compiledBinary();
    const directory = await Deno.makeTempDir({ prefix: "tarbox-e2e-" });
    await Deno.chmod(directory, 0o755);
    if (user !== undefined) {
      const copy = join(directory, "tarbox");
      await Deno.copyFile(binary, copy);
      await Deno.chmod(copy, 0o755);
      await Deno.chown(directory, user.uid, user.gid);
      binary = copy;
    }
    return new Installation(binary, directory, user);
  }

  /** Starts `tarbox` without waiting for its end. */
  start(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
    return this.command(this.binary, args, { env });
  }

  /** Runs any program as the user of this installation. Output goes by files: daemons hold no pipe. */
  async command(
    program: string,
    args: readonly string[],
    options: { env?: Record<string, string>; cwd?: string; limitSeconds?: number } = {},
  ): Promise<Outcome> {
    const out = await Deno.makeTempDir({ prefix: "output-" });
    try {
      const { code } = await new Deno.Command("/bin/sh", {
        args: [
          "-c",
          'out=$0; exec timeout -k 5 "$@" >"$out/stdout" 2>"$out/stderr" </dev/null',
          out,
          String(options.limitSeconds ?? LIMIT_SECONDS),
          ...this.#asUser(),
          program,
          ...args,
        ],
        env: { ...this.environment, ...options.env },
        cwd: options.cwd ?? this.directory,
        stdin: "null",
      }).spawn().status;
      return {
        status: code,
        stdout: await Deno.readTextFile(join(out, "stdout")),
        stderr: await Deno.readTextFile(join(out, "stderr")),
      };
    } finally {
      await Deno.remove(out, { recursive: true });
    }
  }

  /** Environment of every command. */
  get environment(): Record<string, string> {
    const base = { TARBOX_HOME: this.home };
    return this.user === undefined ? base : { ...base, HOME: this.directory };
  }

  #asUser(): string[] {
    if (this.user === undefined) return [];
    const { uid, gid } = this.user;
    return ["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups", "--"];
  }

  /** Runs `tarbox`; returns its standard output. @throws {Error} when it fails */
  async tarbox(...args: string[]): Promise<string> {
    return expectDone(`tarbox ${args.join(" ")}`, await this.start(args));
  }

  /** Runs any program. @throws {Error} when it fails */
  async run(cwd: string, program: string, ...args: string[]): Promise<string> {
    return expectDone([program, ...args].join(" "), await this.command(program, args, { cwd }));
  }

  /** Facts of a command that prints JSON. */
  // deno-lint-ignore no-explicit-any -- its fields are what tests look at
  async facts(...args: string[]): Promise<any> {
    return JSON.parse(await this.tarbox("--json", ...args));
  }

  /** Process id of the daemon that serves the mount. */
  async daemon(mountPoint = this.mountPoint): Promise<number> {
    const { mounts } = await this.facts("status");
    const found = mounts.find((mount: { directory: string }) => mount.directory === mountPoint);
    if (found === undefined) throw new Error(`no mount of ${mountPoint} in the status`);
    return found.pid;
  }

  /** Processes of this installation: their command line, or directory, is in its directory. */
  processes(): { pid: number; command: string }[] {
    const found: { pid: number; command: string }[] = [];
    for (const { name } of Deno.readDirSync("/proc")) {
      const pid = Number(name);
      if (!Number.isInteger(pid) || pid === Deno.pid) continue;
      try {
        const command = Deno.readTextFileSync(`/proc/${pid}/cmdline`).replaceAll("\0", " ");
        const inside = (path: string) => path.startsWith(`${this.directory}/`);
        const mine = command.includes(`${this.directory}/`) ||
          inside(Deno.readLinkSync(`/proc/${pid}/cwd`)) ||
          inside(Deno.readLinkSync(`/proc/${pid}/exe`));
        if (mine) found.push({ pid, command: command.trim() });
      } catch {
        // It ended meanwhile.
      }
    }
    return found;
  }

  /** PostgreSQL's processes of this home: the postmaster first. */
  postgres(): number[] {
    const data = join(this.home, "data");
    const found = this.processes().filter(({ pid, command }) =>
      command.includes("postgres") && linkOf(`/proc/${pid}/cwd`) === data
    );
    const postmasters = found.filter(({ command }) => command.includes(` -D ${data}`));
    const others = found.filter((process) => !postmasters.includes(process));
    return [...postmasters, ...others].map(({ pid }) => pid);
  }

  /** Unmounts, stops the engine, kills what is left, and removes everything. */
  async remove(): Promise<void> {
    if (this.postgres().length > 0) {
      for (
        const { directory } of (await this.facts("status").catch(() => ({ mounts: [] }))).mounts
      ) {
        await this.start(["umount", "--force", directory]);
      }
    }
    await this.start(["db", "stop"]);
    await unmountBeneath(this.directory);
    for (const { pid } of this.processes()) sendKill(pid);
    await Deno.remove(this.directory, { recursive: true });
  }
}

function linkOf(path: string): string {
  try {
    return Deno.readLinkSync(path);
  } catch {
    return "";
  }
}

/** kill -9; one that is gone already is well. */
export function sendKill(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound) && !(error instanceof TypeError)) throw error;
  }
}

/** Standard output of a command that must have ended well. */
export function expectDone(shown: string, { status, stdout, stderr }: Outcome): string {
  if (status === 0) return stdout;
  throw new Error(`${shown} ended with status ${status}:\n${stdout}${stderr}`);
}

/** Waits until something is so. @throws {Error} naming it, after a time that no machine needs */
export async function until(what: string, test: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 180_000;
  while (!await test()) {
    if (Date.now() > deadline) throw new Error(`in vain waited for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
