/** Child processes of the test tools: bounded, and never able to hold the tool up. */

/** How a child ended. */
export interface Ended {
  readonly code: number;
  readonly output: string;
  readonly timedOut: boolean;
}

/**
 * Runs a command in a session of its own, its output into a file: a daemon that it leaves behind
 * cannot hold a pipe open. At the limit its whole session is killed.
 */
export async function runBounded(
  command: string,
  args: readonly string[],
  options: { limitSeconds: number; env?: Record<string, string>; cwd?: string },
): Promise<Ended> {
  const output = await Deno.makeTempFile({ prefix: "tarbox-output-" });
  const child = new Deno.Command("/bin/sh", {
    args: ["-c", 'exec setsid "$@" >"$0" 2>&1 </dev/null', output, command, ...args],
    env: options.env,
    cwd: options.cwd,
    stdin: "null",
  }).spawn();
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    killSession(child.pid);
  }, options.limitSeconds * 1000);
  const { code } = await child.status;
  clearTimeout(timer);
  const text = await Deno.readTextFile(output);
  await Deno.remove(output);
  return { code, output: text, timedOut };
}

/** `exec setsid` keeps the process id, which is the id of the session and its first group. */
function killSession(session: number): void {
  new Deno.Command("pkill", { args: ["-KILL", "-s", String(session)] }).outputSync();
  try {
    Deno.kill(session, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Unmounts, lazily, every mount beneath a directory. */
export async function unmountBeneath(directory: string): Promise<void> {
  const mounts = await Deno.readTextFile("/proc/self/mountinfo");
  const points = mounts.split("\n").map((line) => line.split(" ")[4] ?? "")
    .filter((point) => point.startsWith(`${directory}/`));
  for (const point of points.reverse()) {
    await new Deno.Command("umount", { args: ["-l", point] }).output();
  }
}
