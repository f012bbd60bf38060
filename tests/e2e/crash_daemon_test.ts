import { assertDiedOnly, crashes, mountAgain } from "./crash_rounds.ts";
import { sendKill } from "./installation.ts";

Deno.test("kill -9 of the mount's daemon loses nothing that was fsynced and tears nothing", () =>
  crashes("daemon", async (tarbox, load) => {
    sendKill(await tarbox.daemon());
    const logs = await load.ended();
    assertDiedOnly(logs);
    await mountAgain(tarbox);
    return logs;
  }));
