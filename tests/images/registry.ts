/** Debian's docker-registry on a free port of this machine, for tests. */
import { join } from "node:path";

/** `robot`, password `s3cret:word`, as `htpasswd -B` writes it. */
const ROBOT = "robot:$2y$04$j5Wy91O3pNw3S8m1MrfJBO/w/Kdb4aR5B1z2E6/mjGMuKLI.fM5CK";

/** Milliseconds that a registry may take to answer for the first time. */
const START_MS = 30_000;

/** A running registry. */
export interface Registry extends AsyncDisposable {
  /** `localhost:PORT`. */
  readonly host: string;
  /** Where it keeps its blobs. */
  readonly storage: string;
}

/** Starts a registry below a directory; with `login` only `robot` is let in. */
export async function startRegistry(
  directory: string,
  { login = false }: { readonly login?: boolean } = {},
): Promise<Registry> {
  const port = freePort();
  const storage = join(directory, "storage");
  const passwords = join(directory, "htpasswd");
  await Deno.mkdir(storage, { recursive: true });
  await Deno.writeTextFile(passwords, `${ROBOT}\n`);
  const auth = login ? { auth: { htpasswd: { realm: "test", path: passwords } } } : {};
  const file = join(directory, "config.json");
  // The registry reads YAML, of which JSON is a part.
  await Deno.writeTextFile(
    file,
    JSON.stringify({
      version: 0.1,
      log: { level: "error" },
      storage: { filesystem: { rootdirectory: storage }, delete: { enabled: true } },
      http: { addr: `127.0.0.1:${port}` },
      ...auth,
    }),
  );
  const child = new Deno.Command("docker-registry", {
    args: ["serve", file],
    stdout: "null",
    stderr: "null",
  }).spawn();
  const host = `localhost:${port}`;
  try {
    await answering(`http://${host}/v2/`);
  } catch (error) {
    child.kill("SIGKILL");
    await child.status;
    throw error;
  }
  return {
    host,
    storage,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.status;
    },
  };
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

async function answering(url: string): Promise<void> {
  const end = performance.now() + START_MS;
  while (true) {
    try {
      const response = await fetch(url);
      await response.body?.cancel();
      return;
    } catch (error) {
      if (performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
