import { join } from "node:path";
import type { DatabaseOptions } from "./options.ts";

/**
 * The password that a pgpass file has for a database, by the rules of PostgreSQL's documentation
 * ("The Password File"): `PGPASSFILE`, else `~/.pgpass`; the first line that matches
 * `host:port:database:user:password` wins, `*` matches all, `\` escapes `:` and itself, and a unix
 * socket is `localhost`. A file that others may read is not used.
 */
export async function passwordFromPassfile(
  options: DatabaseOptions,
): Promise<string | undefined> {
  const home = Deno.env.get("HOME");
  const path = Deno.env.get("PGPASSFILE") ?? (home === undefined ? null : join(home, ".pgpass"));
  if (path === null) return undefined;
  let text: string;
  try {
    if (((await Deno.stat(path)).mode ?? 0) & 0o077) return undefined;
    text = await Deno.readTextFile(path);
  } catch {
    return undefined;
  }
  return passwordOf(text, options);
}

/** The password of the first line of a pgpass file that matches. */
export function passwordOf(
  passfile: string,
  { host, port, database, user }: DatabaseOptions,
): string | undefined {
  const wanted = [host.startsWith("/") ? "localhost" : host, String(port), database, user];
  for (const line of passfile.split("\n")) {
    if (line.startsWith("#")) continue;
    const fields = [""];
    for (const [part] of line.replace(/\r$/, "").matchAll(/\\[\s\S]|[\s\S]/g)) {
      if (part === ":" && fields.length < 5) fields.push("");
      else fields.push(fields.pop() + part.slice(-1));
    }
    if (fields.length < 5) continue;
    if (wanted.every((value, i) => fields[i] === "*" || fields[i] === value)) return fields[4];
  }
  return undefined;
}
