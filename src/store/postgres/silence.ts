/**
 * To be imported before the client, which takes the functions of the console when it is loaded and
 * then writes every error to them that it throws as well: what fails is told once, by its thrower.
 */
const { debug, info, log, warn, error } = console;
const silent = () => {};
Object.assign(console, { debug: silent, info: silent, log: silent, warn: silent, error: silent });

/** Gives the console its voice back. */
export function speak(): void {
  Object.assign(console, { debug, info, log, warn, error });
}
