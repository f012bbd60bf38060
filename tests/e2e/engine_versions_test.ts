/** Homes whose engine was started by another version of the program. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Installation, until } from "./installation.ts";

async function withInstallation(body: (tarbox: Installation) => Promise<void>): Promise<void> {
  const tarbox = await Installation.create();
  try {
    await body(tarbox);
  } finally {
    await tarbox.remove();
  }
}

Deno.test("an engine of another version's supervisor is used, told and stopped", () =>
  withInstallation(async (tarbox) => {
    await tarbox.tarbox("db", "start");
    const before = await tarbox.facts("db", "status");
    // What it wrote there this version does not know.
    await Deno.remove(join(tarbox.home, "run", "supervisor.json"));
    await tarbox.tarbox("layers");
    const now = await tarbox.facts("db", "status");
    assert.deepEqual(now, before);
    await tarbox.tarbox("db", "stop");
    await until("nothing runs any more", () => tarbox.processes().length === 0);
    await tarbox.tarbox("layers");
  }));

Deno.test("a supervisor that says nothing and does not serve is named, not waited for", () =>
  withInstallation(async (tarbox) => {
    await tarbox.tarbox("layers");
    await until("the engine stops by itself", () => tarbox.processes().length === 0);
    const lock = await Deno.open(join(tarbox.home, "run", "supervisor.lock"), { write: true });
    await lock.lock(true);
    try {
      const { status, stderr } = await tarbox.start(["layers"]);
      assert.equal(status, 1, stderr);
      assert(stderr.includes(`process ${Deno.pid} that does not serve`), stderr);
      assert(stderr.includes(`kill ${Deno.pid}`), stderr);
    } finally {
      lock.close();
    }
    await tarbox.tarbox("layers");
  }));
