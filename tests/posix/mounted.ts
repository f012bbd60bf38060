/** The program under test on a real mount: `TARBOX_BINARY`, or else this checkout by `deno run`. */
import { join } from "node:path";

const ROOT = new URL("../..", import.meta.url).pathname;

/** How the program is started. */
export const TARBOX: readonly string[] = Deno.env.get("TARBOX_BINARY") === undefined
  ? [
    Deno.execPath(),
    "run",
    "-A",
    "--frozen",
    "--quiet",
    `--config=${ROOT}deno.json`,
    `${ROOT}main.ts`,
  ]
  : [Deno.env.get("TARBOX_BINARY")!];

/** What a command said. */
export interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A home of Tarbox with a workspace mounted. */
export interface Mounted {
  readonly directory: string;
  readonly home: string;
  /** Runs a command of this home; its output goes to files, since a daemon would hold pipes open. */
  tarbox(...args: string[]): Promise<Said>;
}

/** Runs a program with its output in files, so that what it leaves running holds nothing up. */
export async function run(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Said> {
  const base = await Deno.makeTempDir({ prefix: "tarbox-posix-" });
  try {
    const { code } = await new Deno.Command("/bin/sh", {
      args: ["-c", 'exec "$@" >"$0/out" 2>"$0/err" </dev/null', base, ...command],
      env: { ...env },
    }).output();
    const [out, err] = await Promise.all(
      ["out", "err"].map((name) => Deno.readTextFile(join(base, name))),
    );
    return { code, out: out!, err: err! };
  } finally {
    await Deno.remove(base, { recursive: true });
  }
}

/**
 * Mounts a new workspace, with these options of `tarbox mount`, for as long as `use` runs. Nothing is
 * left behind, also when it throws.
 */
export async function withMounted(
  options: readonly string[],
  use: (mounted: Mounted) => Promise<void>,
): Promise<void> {
  const base = await Deno.makeTempDir({ prefix: "tarbox-posix-" });
  await Deno.chmod(base, 0o755);
  const home = join(base, "home");
  const directory = join(base, "mnt");
  const tarbox = (...args: string[]) => run([...TARBOX, ...args], { TARBOX_HOME: home });
  try {
    const mounted = await tarbox("mount", "--create", ...options, directory);
    if (mounted.code !== 0) throw new Error(mounted.err);
    await use({ directory, home, tarbox });
    const unmounted = await tarbox("umount", directory);
    if (unmounted.code !== 0) throw new Error(unmounted.err);
  } finally {
    await new Deno.Command("umount", { args: ["-l", directory], stderr: "null" }).output();
    await tarbox("db", "stop");
    await Deno.remove(base, { recursive: true });
  }
}
