import { simulate } from "./simulation.ts";

/** Seeds that failed once, with what they found. */
const PINNED: Readonly<Record<number, string>> = {};

Deno.test("after any crash the store has a state that was, none older than the last fsync", async () => {
  for (let seed = 1; seed <= 120; seed++) {
    await simulate(seed).catch((error) => {
      throw new Error(`seed ${seed}: ${error.message}`, { cause: error });
    });
  }
});

for (const [seed, found] of Object.entries(PINNED)) {
  Deno.test(`seed ${seed}: ${found}`, async () => {
    await simulate(Number(seed));
  });
}
