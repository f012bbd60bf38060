import { memoryStore } from "../../src/store/memory/store.ts";
import { agrees, conforms } from "./suite/suite.ts";

Deno.test("the memory store keeps every promise", async (t) => {
  await conforms(t, async () => memoryStore());
});

Deno.test("two memory stores agree: the random programs run", async (t) => {
  await agrees(t, async () => memoryStore(), Array.from({ length: 30 }, (_, i) => i), 120);
});
