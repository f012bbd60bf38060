import assert from "node:assert/strict";
import { SilenceWatch } from "./silence_watch.ts";

/** A watch whose looks the test makes itself, on a server that is `there` or not. */
function watched(there: () => boolean) {
  const debtor = { owed: 1, received: 0 };
  const gone: number[] = [];
  let asked = 0;
  const watch = new SilenceWatch(debtor, 2 ** 30, async () => {
    asked++;
    return there();
  }, (seconds) => gone.push(seconds));
  const look = async (times: number) => {
    for (let i = 0; i < times; i++) await watch.look();
  };
  return { debtor, gone, look, end: () => watch.end(), asked: () => asked };
}

Deno.test("a server that is silent and answers nobody is gone", async () => {
  const { gone, look, asked, end } = watched(() => false);
  await look(19);
  assert.equal(asked(), 0);
  await look(1);
  end();
  assert.equal(asked(), 1);
  assert.equal(gone.length, 1);
});

Deno.test("a server that is slow but there is waited for, though not for ever", async () => {
  const { gone, look, end } = watched(() => true);
  await look(5 * 20);
  assert.deepEqual(gone, []);
  await look(20);
  end();
  assert.equal(gone.length, 1);
});

Deno.test("every byte ends the silence, and so does an answer", async () => {
  const { debtor, gone, look, asked, end } = watched(() => false);
  for (let i = 0; i < 10; i++) {
    await look(19);
    debtor.received++;
  }
  debtor.owed = 0;
  await look(100);
  debtor.owed = 1;
  await look(19);
  end();
  assert.equal(asked(), 0);
  assert.deepEqual(gone, []);
});
