/**
 * Random programs on a real mount, with remounts, checkpoints and switches, and on a native directory:
 * the control, which shows that the model says what Linux does. Needs root.
 */
import { Installation } from "../e2e/installation.ts";
import { directoryTarget, NOTHING_AROUND } from "../random/directory_target.ts";
import { mountSurroundings } from "../random/mount_surroundings.ts";
import { runProgram } from "../random/program.ts";

const SEEDS = [2001, 2002];

Deno.test("random programs are the same on a native directory as on their model", async () => {
  for (const seed of SEEDS) {
    const directory = await Deno.makeTempDir({ prefix: "tarbox-native-" });
    try {
      await runProgram(directoryTarget(directory, NOTHING_AROUND), seed, {
        operations: 1500,
        compareEvery: 500,
        remountEvery: 300,
      });
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  }
});

Deno.test("a random program is the same on a mount as on its model", async () => {
  const tarbox = await Installation.create();
  try {
    await tarbox.tarbox("mount", "--create", tarbox.mountPoint);
    const around = mountSurroundings(tarbox, "main");
    await runProgram(directoryTarget(tarbox.mountPoint, around), SEEDS[0]!, {
      operations: 1000,
      compareEvery: 300,
      remountEvery: 150,
    });
  } finally {
    await tarbox.remove();
  }
});
