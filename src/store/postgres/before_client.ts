/**
 * To be imported before the client, which does two things when it is loaded. It takes the functions of
 * the console and then writes every error to them that it throws as well: what fails is told once, by
 * its thrower. And it looks for the name of the user of this process, which nobody needs here, and
 * fails where there is none (a container with a random user id), unless PGUSER names one.
 */
const { debug, info, log, warn, error } = console;
const silent = () => {};
Object.assign(console, { debug: silent, info: silent, log: silent, warn: silent, error: silent });

const user = Deno.env.get("PGUSER");
if (!user) Deno.env.set("PGUSER", "tarbox");

/** Gives the console its voice back, and the environment what it had: to be called once it is loaded. */
export function afterClient(): void {
  Object.assign(console, { debug, info, log, warn, error });
  if (user === undefined) Deno.env.delete("PGUSER");
  else if (user === "") Deno.env.set("PGUSER", user);
}
