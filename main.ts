import { main } from "./src/cli/program.ts";

if (import.meta.main) await main(Deno.args);
