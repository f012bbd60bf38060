/** The tour in README.md, line by line: it prints what README says that it prints. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Installation } from "./installation.ts";

/** Where README works; the test has a directory of its own instead. */
const TOUR = "/tmp/tour";

/** Stands between the outputs of two blocks. */
const MARK = "\u0001";

/** What differs from run to run: ids and times. */
function normal(text: string): string {
  return text
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, "TIME")
    .replaceAll(/\bauto-\d{8}-\d{6}(-\d+)?/g, "auto-TIME")
    .replaceAll(/\btry-[0-9a-f]{8}\b/g, "try-ID")
    .replaceAll(/\b[0-9a-f]{12}\b/g, "ID");
}

Deno.test("README's tour prints what README shows", async () => {
  const readme = await Deno.readTextFile("README.md");
  const blocks = [...readme.matchAll(/^```sh\n([^]*?)^```\n(?:^```text\n([^]*?)^```\n)?/gm)]
    .map(([, commands, output]) => ({ commands: commands!, output: output ?? "" }));
  assert.ok(blocks.length > 5, "README has no tour");
  const tarbox = await Installation.create();
  try {
    const programs = join(tarbox.directory, "bin");
    await Deno.mkdir(programs);
    await Deno.symlink(tarbox.binary, join(programs, "tarbox"));
    const script = blocks.map(({ commands }) => `${commands}printf '${MARK}'\n`).join("")
      .replaceAll(TOUR, tarbox.directory);
    const { stdout } = await tarbox.command("bash", ["-c", `exec 2>&1\n${script}`], {
      env: { PATH: `${programs}:${Deno.env.get("PATH")}` },
      limitSeconds: 200,
    });
    const printed = stdout.replaceAll(tarbox.directory, TOUR).split(MARK);
    for (const [i, { commands, output }] of blocks.entries()) {
      assert.equal(normal(printed[i] ?? "nothing"), normal(output), commands);
    }
  } finally {
    // The other cluster of the tour.
    const elsewhere = { TARBOX_HOME: join(tarbox.directory, "elsewhere") };
    await tarbox.start(["umount", "--force", join(tarbox.directory, "copy")], elsewhere);
    await tarbox.start(["db", "stop"], elsewhere);
    await tarbox.remove();
  }
});
