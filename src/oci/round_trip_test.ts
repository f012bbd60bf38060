import { memoryStore } from "../store/memory/store.ts";
import { checkRoundTrips } from "./round_trip_fixture.ts";

Deno.test("random layered trees survive export and import, and give the same archive again", async () => {
  await checkRoundTrips(async () => memoryStore(), 150);
});
