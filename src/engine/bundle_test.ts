import { join } from "node:path";
import { packBundle, unpackBundle } from "./bundle.ts";
import { fetchEngine } from "../../tests/tools/engine_package.ts";

/** ELF's e_machine, at byte 18 of a program. */
const MACHINES = { "linux-x64": 0x3e, "linux-arm64": 0xb7 } as const;

Deno.test("a platform's bundle holds the programs of that platform, and what they need", async () => {
  const directory = await Deno.makeTempDir();
  try {
    for (const [platform, machine] of Object.entries(MACHINES)) {
      const folder = join(directory, platform);
      await unpackBundle(await packBundle(await fetchEngine(platform)), folder);
      for (const program of ["postgres", "initdb"]) {
        const path = join(folder, "bin", program);
        const found = (await Deno.readFile(path))[18];
        if (found !== machine) throw new Error(`${platform} ${program}: for machine ${found}`);
        if (((await Deno.stat(path)).mode! & 0o777) !== 0o755) throw new Error(`${path}: mode`);
      }
      await Deno.stat(join(folder, "share", "postgresql", "postgres.bki"));
    }
    if (Deno.build.os !== "linux" || Deno.build.arch !== "x86_64") return;
    const { stdout } = await new Deno.Command(join(directory, "linux-x64", "bin", "postgres"), {
      args: ["--version"],
      env: { LD_LIBRARY_PATH: join(directory, "linux-x64", "lib") },
    }).output();
    const version = new TextDecoder().decode(stdout);
    if (!version.startsWith("postgres (PostgreSQL) 18.")) throw new Error(version);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
