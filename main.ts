import { main } from "./src/cli/program.ts";

if (import.meta.main) {
  await main(Deno.args);
  // A client that lost a connection may hold a timer; what was to be done is done.
  Deno.exit();
}
