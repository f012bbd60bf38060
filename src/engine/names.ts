import { join } from "node:path";
import { TarboxError } from "../base/errors.ts";
import type { Layout } from "./layout.ts";

/** What PostgreSQL's programs say where getpwuid(3) knows no name (src/common/username.c). */
const NAMELESS = /could not look up effective user ID (\d+)/;

/** How one of PostgreSQL's programs ended. */
export interface Ended {
  readonly success: boolean;
  /** The end of what it said. */
  readonly said: string;
}

/**
 * Runs programs of PostgreSQL as the engine's user. `initdb` and a single-user server end at once when
 * their user id has no name, as in a container with a random one; the server itself asks for none. They
 * are then run in a user namespace in which the id is that of some other user, who has a name: what
 * they write belongs to the engine's user all the same (user_namespaces(7)).
 */
export class NamedPrograms {
  #prefix: readonly string[] = [];

  constructor(private readonly layout: Layout, private readonly programs: string) {}

  /**
   * @param input for its standard input
   * @throws {TarboxError} when no name can be had
   */
  async run(program: string, args: readonly string[], input: string): Promise<Ended> {
    const ended = await this.#start(program, args, input);
    const id = NAMELESS.exec(ended.said)?.[1];
    if (ended.success || id === undefined || this.#prefix.length > 0) return ended;
    const hint =
      `add a line for it to /etc/passwd, run as a user with a name, or use a PostgreSQL ` +
      "of your own (`[database]` in tarbox.toml)";
    const nameless = `${program}: user id ${id} has no name on this machine`;
    const other = await someUser();
    if (other === null) throw new TarboxError(nameless, hint);
    this.#prefix = ["unshare", "--user", `--map-user=${other}`, `--map-group=${other}`, "--"];
    try {
      const again = await this.#start(program, args, input);
      if (again.success || !again.said.startsWith("unshare:")) return again;
      throw new TarboxError(`${nameless}, and cannot borrow one: ${again.said}`, hint);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      throw new TarboxError(`${nameless}, and unshare(1) is not there to borrow one`, hint);
    }
  }

  async #start(program: string, args: readonly string[], input: string): Promise<Ended> {
    const [command, ...before] = [...this.#prefix, join(this.programs, "bin", program)];
    const child = new Deno.Command(command!, {
      args: [...before, ...args],
      env: { LD_LIBRARY_PATH: join(this.programs, "lib") },
      cwd: "/",
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      ...this.layout.owner,
    }).spawn();
    const writer = child.stdin.getWriter();
    // What ended without reading is told by its status.
    await writer.write(new TextEncoder().encode(input)).catch(() => {});
    await writer.close().catch(() => {});
    const { success, stdout, stderr } = await child.output();
    const lines = [stderr, stdout].map((bytes) => new TextDecoder().decode(bytes).trim());
    return { success, said: lines.filter((text) => text !== "").join("\n") };
  }
}

/** The id of a user other than root that has a name (passwd(5)); null: there is none. */
async function someUser(): Promise<number | null> {
  const users = await Deno.readTextFile("/etc/passwd").catch(() => "");
  for (const line of users.split("\n")) {
    const id = Number(line.split(":")[2] || NaN);
    if (Number.isInteger(id) && id > 0) return id;
  }
  return null;
}
