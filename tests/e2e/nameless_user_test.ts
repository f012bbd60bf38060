/** A user id without an entry in /etc/passwd, as containers with random ids have it. */
import assert from "node:assert/strict";
import { Installation } from "./installation.ts";

const NAMELESS = { uid: 1234, gid: 1234 };

Deno.test("a user without a name: the engine works, and a mount says what it needs", async (t) => {
  const tarbox = await Installation.create(NAMELESS);
  try {
    const { status } = await tarbox.command("getent", ["passwd", String(NAMELESS.uid)]);
    assert.notEqual(status, 0, `user id ${NAMELESS.uid} has a name here`);
    await t.step("where no other name can be borrowed, it is said what to do", async () => {
      // Without `unshare` in the path there is no namespace with another id.
      const alone = ["PATH=/nowhere", `TARBOX_HOME=${tarbox.directory}/other`, tarbox.binary];
      const { status, stderr } = await tarbox.command("/usr/bin/env", [...alone, "init"]);
      assert.equal(status, 1, stderr);
      assert.match(stderr, /^tarbox: .*user id 1234 has no name.*\n.*\/etc\/passwd.*\n$/);
    });
    await t.step("an engine, and work without a mount", async () => {
      assert.match(await tarbox.tarbox("init"), /main/);
      assert.equal(await tarbox.tarbox("checkpoint", "one"), "one\n");
      assert.equal((await tarbox.facts("stat", "one:/")).uid, NAMELESS.uid);
      await tarbox.tarbox("db", "stop");
      assert.equal(await tarbox.tarbox("ls"), "");
      assert.equal((await tarbox.facts("layers"))[0].name, "one");
    });
    await t.step(
      "fusermount3 mounts for nobody without a name: it is said what to do",
      async () => {
        const refused = await tarbox.start(["mount", "--create", tarbox.mountPoint]);
        assert.equal(refused.status, 1);
        assert.match(refused.stderr, /^tarbox: .*determine username\n.*\/etc\/passwd.*\n$/);
      },
    );
  } finally {
    await tarbox.remove();
  }
});
