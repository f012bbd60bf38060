/**
 * The cost of one FUSE request that does nothing: stat(2) of a file whose attributes may not be
 * cached, served by `src/fuse` on a file system of one file, and by `null_server.c`.
 *
 * Run as a program with a directory and `serve`, it is the first of the two servers.
 */
import { join } from "node:path";
import { mountFuse } from "../src/fuse/mount.ts";
import type { Fixtures } from "./fixtures.ts";
import type { Row } from "./measure.ts";
import { run } from "./tarbox.ts";

const STATS = { small: 2000, full: 20_000 } as const;

/** A server that is there when its directory is a mount. */
interface Server {
  readonly name: string;
  readonly directory: string;
  readonly child: Deno.ChildProcess;
}

async function start(name: string, directory: string, command: string[]): Promise<Server> {
  await Deno.mkdir(directory);
  const child = new Deno.Command(command[0]!, {
    args: [...command.slice(1), directory],
    stdin: "null",
    stdout: "null",
  }).spawn();
  for (let tries = 0; tries < 500; tries++) {
    const mounts = await Deno.readTextFile("/proc/self/mountinfo");
    if (mounts.includes(` ${directory} `)) return { name, directory, child };
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`${name} did not mount ${directory}`);
}

/** One row: milliseconds for all stat calls of a run. */
export async function nullRow(base: string, fixtures: Fixtures, runs: number): Promise<Row> {
  const count = STATS[fixtures.size];
  const milliseconds: Record<string, number[]> = {};
  const self = [Deno.execPath(), "run", "-A", "--frozen", import.meta.filename!];
  const servers: Server[] = [];
  try {
    servers.push(await start("null_server.c", join(base, "null-c"), [fixtures.nullServer]));
    servers.push(await start("tarbox", join(base, "null-tarbox"), self));
    for (let i = 0; i < runs; i++) {
      for (const { name, directory } of servers) {
        const command = [fixtures.filesProgram, "stat", join(directory, "file"), String(count)];
        (milliseconds[name] ??= []).push((await run(command)).milliseconds);
      }
    }
  } finally {
    for (const { directory, child } of servers) {
      await run(["umount", "-l", directory]);
      await child.status;
    }
  }
  return { name: `stat that asks the server, ${count} times`, milliseconds, work: null };
}

if (import.meta.main) {
  const device = await mountFuse(Deno.args[0]!, {
    allowOther: true,
    readOnly: false,
    source: "null",
  });
  const worker = new Worker(new URL("./null_worker.ts", import.meta.url), { type: "module" });
  worker.onmessage = () => Deno.exit();
  worker.postMessage(device);
}
