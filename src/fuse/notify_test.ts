import assert from "node:assert/strict";
import { utf8 } from "../base/bytes.ts";
import { encodeDelete, encodeInvalidateEntry, encodeInvalidateInode } from "./notify.ts";
import { forgetAllEntries, invalidateEntry, invalidateInode } from "./notify.ts";
import { detachMount } from "./mount.ts";
import { shell, withMount } from "./testing_mount.ts";

Deno.test("notifications are encoded as linux/fuse.h says", () => {
  assert.equal(
    encodeInvalidateInode(5, -1, 0).toHex(),
    "28000000" + "02000000" + "0000000000000000" +
      "0500000000000000" + "ffffffffffffffff" + "0000000000000000",
  );
  assert.equal(
    encodeInvalidateEntry(1, utf8("ab")).toHex(),
    "23000000" + "03000000" + "0000000000000000" +
      "0100000000000000" + "02000000" + "01000000" + "616200",
  );
  assert.equal(
    encodeDelete(1, 5, utf8("ab")).toHex(),
    "2b000000" + "06000000" + "0000000000000000" +
      "0100000000000000" + "0500000000000000" + "02000000" + "00000000" + "616200",
  );
});

Deno.test("a mounted kernel takes notifications of what it caches", async () => {
  await withMount(async (directory, { device }) => {
    assert.equal((await shell(`cat ${directory}/hello`)).out, "hello");
    assert.equal(await invalidateInode(device, 2), true);
    assert.equal(await invalidateInode(device, 999), false);
    assert.equal(await invalidateEntry(device, 1, utf8("hello")), true);
    assert.equal((await shell(`cat ${directory}/hello`)).out, "hello");
  });
});

Deno.test("a name that is to be looked up again is not gone for whoever has it open", async () => {
  await withMount(async (directory, server) => {
    const script = `exec 3< ${directory}/hello; echo open; read _; exec readlink /proc/self/fd/3`;
    const reader = new Deno.Command("sh", {
      args: ["-c", script],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const lines = reader.stdout.pipeThrough(new TextDecoderStream()).getReader();
    assert.equal((await lines.read()).value, "open\n");
    assert.equal(await invalidateEntry(server.device, 1, utf8("hello")), true);
    const writer = reader.stdin.getWriter();
    await writer.write(utf8("\n"));
    await writer.close();
    assert.equal((await lines.read()).value, `${directory}/hello\n`);
    await lines.cancel();
    await reader.status;
    await Deno.stat(`${directory}/hello`);
    await detachMount(directory, false);
    const { lookups } = await server.ended();
    assert.equal(lookups.filter((name) => name === "hello").length, 2);
  });
});

Deno.test("what the kernel knows to be absent is asked again after forgetAllEntries", async () => {
  await withMount(async (directory, server) => {
    const twice = `cat ${directory}/absent; cat ${directory}/absent`;
    await shell(twice);
    // False only from a kernel before 7.44.
    const forgot = await forgetAllEntries(server.device);
    await shell(twice);
    await detachMount(directory, false);
    const { lookups, minor } = await server.ended();
    assert.equal(forgot, minor !== null && minor >= 44);
    const absent = lookups.filter((name) => name === "absent");
    assert.equal(absent.length, forgot ? 2 : 1);
  });
});
