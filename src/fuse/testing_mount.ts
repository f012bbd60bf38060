/** Real mounts for the tests of this folder. Run as a program: mounts, reads a file, unmounts. */
import { libc } from "./libc.ts";
import { Eventfd } from "./eventfd.ts";
import { detachMount, isMountPoint, mountFuse } from "./mount.ts";

/** Bound on one child process, in milliseconds. */
const CHILD_MS_MAX = 20_000;

/** What the worker says at the end. */
interface Ended {
  readonly broken: readonly string[];
  readonly parked: number;
  /** Names looked up, in their order. */
  readonly lookups: readonly string[];
  readonly minor: number | null;
}

/** The worker that serves one descriptor. */
export class Server {
  readonly #worker: Worker;
  readonly #ended: Promise<Ended>;
  readonly #wake = new Eventfd();
  readonly #waiting: Promise<void>;

  constructor(readonly device: number) {
    this.#worker = new Worker(new URL("./testing_worker.ts", import.meta.url), { type: "module" });
    const ended = Promise.withResolvers<Ended>();
    const waiting = Promise.withResolvers<void>();
    this.#worker.onmessage = ({ data }) =>
      data === "waiting" ? waiting.resolve() : ended.resolve(data);
    this.#ended = ended.promise;
    this.#waiting = waiting.promise;
    this.#worker.postMessage({ device, wake: this.#wake.descriptor });
  }

  /** Resolves once a request waits. */
  waiting(): Promise<void> {
    return bounded(this.#waiting, "no request began to wait");
  }

  /** What the worker says after the unmount. */
  ended() {
    return bounded(this.#ended, "the worker did not see the unmount");
  }

  close(): void {
    this.#wake.signal();
    this.#worker.terminate();
    libc().close(this.device);
    this.#wake.close();
  }
}

async function bounded<T>(promise: Promise<T>, failure: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(failure)), CHILD_MS_MAX);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Runs a shell script on the mount; never longer than the bound. */
export async function shell(script: string): Promise<{ code: number; out: string; err: string }> {
  const command = new Deno.Command("timeout", {
    args: ["-s", "KILL", String(CHILD_MS_MAX / 1000), "sh", "-c", script],
    stdin: "null",
  });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr) };
}

/** Mounts a TestingFileSystem on a new directory, runs `body`, unmounts whatever happened. */
export async function withMount(
  body: (directory: string, server: Server) => Promise<void>,
) {
  const directory = await Deno.makeTempDir({ prefix: "tarbox-fuse-" });
  let server: Server | null = null;
  try {
    const options = { readOnly: false, allowOther: Deno.uid() === 0 };
    server = new Server(await mountFuse(directory, options));
    await body(directory, server);
  } finally {
    if (await isMountPoint(directory)) await detachMount(directory, true);
    server?.close();
    await Deno.remove(directory);
  }
}

if (import.meta.main) {
  await withMount(async (directory, server) => {
    const read = await shell(`cat ${directory}/hello && stat -c %U ${directory}`);
    await detachMount(directory, false);
    const { broken } = await server.ended();
    console.log(JSON.stringify({ uid: Deno.uid(), read: read.out + read.err, broken }));
  });
}
