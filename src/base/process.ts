import process from "node:process";
import { fileURLToPath } from "node:url";

/** Whether a process of this machine lives; a zombie does not. */
export function processAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    return !/^.*\) [ZX]/s.test(stat);
  } catch {
    return Deno.build.os !== "linux";
  }
}

/**
 * The running system and process namespace in which the numbers of this process count: two
 * containers may share a host name, but not this. Empty where there is no /proc.
 */
export function machineId(): string {
  try {
    const boot = Deno.readTextFileSync("/proc/sys/kernel/random/boot_id").trim();
    return `${boot}/${Deno.readLinkSync("/proc/self/ns/pid")}`;
  } catch {
    return "";
  }
}

/** When a process started (ticks since the system did, proc(5) field 22); null: there is none. */
export function processStarted(pid: number): string | null {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch {
    return null;
  }
}

/** The command that runs this very program with other arguments. */
export function selfCommand(
  args: readonly string[],
): { readonly command: string; readonly args: readonly string[] } {
  if (Deno.build.standalone) return { command: Deno.execPath(), args };
  const main = fileURLToPath(new URL("../../main.ts", import.meta.url));
  const configuration = fileURLToPath(new URL("../../deno.json", import.meta.url));
  return {
    command: Deno.execPath(),
    args: ["run", "-A", "--config", configuration, main, ...args],
  };
}

/**
 * Starts a process in a session of its own that outlives this one and holds none of its
 * descriptors: standard input is empty, both outputs are appended to the file `log`.
 * @returns its process id
 */
export function spawnDetached(command: string, args: readonly string[], log: string): number {
  const child = new Deno.Command("/bin/sh", {
    args: [
      "-c",
      // Without a session of its own it must outlive the terminal's signals.
      "if command -v setsid >/dev/null; then set -- setsid \"$@\"; else trap '' HUP INT; fi; " +
      'exec "$@" >>"$0" 2>&1 </dev/null',
      log,
      command,
      ...args,
    ],
    stdin: "null",
    stdout: "null",
    stderr: "null",
    cwd: "/",
  }).spawn();
  child.unref();
  return child.pid;
}
