import { join, resolve } from "node:path";

/**
 * TARBOX_HOME: where the embedded engine, logs and records of mounts live. Default: for root
 * `/var/lib/tarbox`, else `$XDG_DATA_HOME/tarbox` (spec: XDG base directories).
 */
export function resolveHome(): string {
  const named = Deno.env.get("TARBOX_HOME");
  if (named !== undefined && named !== "") return resolve(named);
  if (Deno.uid() === 0) return "/var/lib/tarbox";
  const data = Deno.env.get("XDG_DATA_HOME") ?? join(Deno.env.get("HOME") ?? "/", ".local/share");
  return join(data, "tarbox");
}
