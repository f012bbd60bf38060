/** PostgreSQL processes of a home that are nobody's child any more. */
import { basename } from "node:path";

/** Sends a signal; a process that is gone already is well. */
export function kill(pid: number, signal: Deno.Signal): void {
  try {
    Deno.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound) && !(error instanceof TypeError)) throw error;
  }
}

/**
 * Process ids of PostgreSQL programs that serve the cluster `data` (an absolute path without links):
 * PostgreSQL has that as its working directory. Where there is no /proc, ps(1) shows the postmaster,
 * whose children end with it.
 */
export async function postgresOf(data: string): Promise<number[]> {
  if (Deno.build.os !== "linux") return await postmastersByPs(data);
  const found: number[] = [];
  for await (const { name } of Deno.readDir("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    try {
      // A shell may stand in that directory, too.
      const program = basename(Deno.readLinkSync(`/proc/${pid}/exe`)).replace(/ \(deleted\)$/, "");
      if (program === "postgres" && Deno.readLinkSync(`/proc/${pid}/cwd`) === data) found.push(pid);
    } catch {
      // It ended, is a zombie, or another user's.
    }
  }
  return found;
}

async function postmastersByPs(data: string): Promise<number[]> {
  const { stdout } = await new Deno.Command("ps", { args: ["-axo", "pid=,command="] }).output();
  return new TextDecoder().decode(stdout).split("\n")
    .filter((line) => line.includes("/postgres -D ") && line.includes(` -D ${data} `))
    .map((line) => Number(line.trim().split(" ")[0]));
}
