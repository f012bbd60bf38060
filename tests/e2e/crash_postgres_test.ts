import { assertAllThere, assertDiedOnly, crashes, mountAgain, pause } from "./crash_rounds.ts";
import { sendKill, until } from "./installation.ts";

Deno.test("kill -9 of PostgreSQL is survived by the mount, and with it", () =>
  crashes("postgres", async (tarbox, load, next, round) => {
    const daemon = await tarbox.daemon();
    const [postmaster, ...others] = tarbox.postgres();
    const victims = [[postmaster!], [others[next() % others.length]!], [postmaster!, ...others]];
    victims[round % victims.length]!.forEach(sendKill);
    const logs = load.logs();
    if (round % 2 === 1) {
      // The machine dies a moment later: nothing of Tarbox is left.
      await pause(next() % 1000);
      for (const { pid, command } of tarbox.processes()) {
        if (command.includes("crash_writer")) continue;
        sendKill(pid);
      }
      await until(
        "the daemon is dead",
        () => !tarbox.processes().some(({ pid }) => pid === daemon),
      );
      const ended = await load.ended();
      assertDiedOnly(ended);
      await mountAgain(tarbox);
      return ended;
    }
    await load.goesOn(logs);
    const ended = await load.stop();
    assertAllThere(ended, load.found());
    await tarbox.tarbox("umount", tarbox.mountPoint);
    await tarbox.tarbox("fsck");
    await tarbox.tarbox("mount", tarbox.mountPoint);
    assertAllThere(ended, load.found());
    return ended;
  }));
