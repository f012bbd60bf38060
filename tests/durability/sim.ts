/** `deno task sim [FIRST] [COUNT]`: many worlds, one after the other; exit status 1 when one fails. */
import { simulate } from "./simulation.ts";

const first = Number(Deno.args[0] ?? 1);
const count = Number(Deno.args[1] ?? 5000);
const totals: Record<string, number> = {};
const failed: number[] = [];
for (let seed = first; seed < first + count; seed++) {
  try {
    for (const [what, times] of Object.entries(await simulate(seed))) {
      totals[what] = (totals[what] ?? 0) + times;
    }
  } catch (error) {
    failed.push(seed);
    console.log(`seed ${seed}: ${error instanceof Error ? error.stack : error}`);
  }
}
console.log(JSON.stringify(totals));
console.log(`${count} worlds, ${failed.length} failed${failed.length > 0 ? `: ${failed}` : ""}`);
Deno.exit(failed.length === 0 ? 0 : 1);
