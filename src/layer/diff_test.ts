import assert from "node:assert/strict";
import { applyPatch } from "diff";
import fc from "fast-check";
import { fromLatin1, latin1, text, utf8 } from "../base/bytes.ts";
import type { LayerRow } from "../store/rows.ts";
import { gather, TreeFixture } from "../../tests/layer/fixture.ts";
import { memoryStore } from "../store/memory/store.ts";
import { compare, nameStatusLine, unifiedDiff } from "./diff.ts";
import { countChanges, diffLines, hunkHeader, isText } from "./lines.ts";

async function fixture(): Promise<TreeFixture> {
  return await TreeFixture.make(memoryStore(), "main");
}

function pair(a: LayerRow, b: LayerRow) {
  return { from: { point: a.point, label: a.name }, to: { point: b.point, label: b.name } };
}

/** The diff of two layers, one character per byte. */
async function diff(tree: TreeFixture, a: LayerRow, b: LayerRow, paths: string[] = []) {
  const compared = await compare(tree.store, pair(a, b), paths.map(utf8));
  return latin1(await gather(unifiedDiff(tree.store, compared)));
}

/** Diff of one file between two contents. */
async function diffOf(before: string | Uint8Array, after: string | Uint8Array): Promise<string> {
  const tree = await fixture();
  await tree.write("/f", before);
  const a = await tree.seal("a");
  await tree.write("/f", after);
  return await diff(tree, a, await tree.seal("b"));
}

Deno.test("a diff has the labels and hunks of the design", async () => {
  const tree = await fixture();
  const lines = Array.from({ length: 60 }, (_, i) => `key${i + 1}: 1\n`);
  await tree.mkdir("/data");
  await tree.write("/data/config.yaml", lines.join(""));
  const a = await tree.seal("checkpoint-1");
  lines.splice(50, 1, "changed: 2\n", "new: 3\n");
  await tree.write("/data/config.yaml", lines.join(""));
  const b = await tree.seal("checkpoint-2");
  assert.equal(
    await diff(tree, a, b),
    `--- /data/config.yaml (checkpoint-1)
+++ /data/config.yaml (checkpoint-2)
@@ -48,7 +48,8 @@
 key48: 1
 key49: 1
 key50: 1
-key51: 1
+changed: 2
+new: 3
 key52: 1
 key53: 1
 key54: 1
`,
  );
  assert.equal(await diff(tree, a, b, ["/other"]), "");
  assert.notEqual(await diff(tree, a, b, ["/data"]), "");
});

Deno.test("a last line without its end is told", async () => {
  assert.equal(
    await diffOf("a", "a\n"),
    "--- /f (a)\n+++ /f (b)\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n",
  );
});

Deno.test("CRLF and Latin-1 come out byte for byte", async () => {
  assert.equal(
    await diffOf("a\r\nb\r\n", "a\r\nc\r\n"),
    "--- /f (a)\n+++ /f (b)\n@@ -1,2 +1,2 @@\n a\r\n-b\r\n+c\r\n",
  );
  assert.equal(
    await diffOf(fromLatin1("na\xefve\n"), fromLatin1("na\xefve caf\xe9\n")),
    "--- /f (a)\n+++ /f (b)\n@@ -1 +1 @@\n-na\xefve\n+na\xefve caf\xe9\n",
  );
});

Deno.test("text replaced by binary is named as different, and both versions stay", async () => {
  const tree = await fixture();
  const binary = new Uint8Array(300_000).map((_, i) => i % 251);
  await tree.write("/f", "text\n");
  const a = await tree.seal("a");
  await tree.write("/f", binary);
  const b = await tree.seal("b");
  await tree.write("/f", "text again\n");
  await tree.seal("c");
  assert.equal(await diff(tree, a, b), "Binary files /f (a) and /f (b) differ\n");
  assert.deepEqual(await tree.read(b, "/f"), binary);
  assert.equal(text(await tree.read(a, "/f")), "text\n");
});

Deno.test("a file that does not change is readable after ten checkpoints", async () => {
  const tree = await fixture();
  await tree.write("/kept", "kept\n");
  await tree.write("/busy", "0\n");
  let last = await tree.seal();
  const first = last;
  for (let i = 1; i <= 10; i++) {
    await tree.write("/busy", `${i}\n`);
    last = await tree.seal();
  }
  assert.equal(text(await tree.read(last, "/kept")), "kept\n");
  assert.equal(last.name, "ckpt-11");
  assert.match(await diff(tree, first, last), /-0\n\+10\n$/);
});

Deno.test("added, removed, renamed, linked and property changes have git's lines", async () => {
  const tree = await fixture();
  await tree.write("/gone", "1\n");
  await tree.write("/old", "same\n");
  await tree.write("/run", "#!\n");
  await tree.symlink("one", "/link");
  const a = await tree.seal("a");
  await tree.remove("/gone");
  await tree.write("/made", "2\n");
  await tree.write("/empty", "");
  await tree.rename("/old", "/renamed");
  await tree.chmod("/run", 0o755);
  await tree.remove("/link");
  await tree.symlink("two", "/link");
  const b = await tree.seal("b");
  assert.equal(
    await diff(tree, a, b),
    [
      "diff /empty /empty",
      "new file mode 100644",
      "--- /gone (a)",
      "+++ /dev/null",
      "@@ -1 +0,0 @@",
      "-1",
      "--- /link (a)",
      "+++ /link (b)",
      "@@ -1 +1 @@",
      "-one",
      "\\ No newline at end of file",
      "+two",
      "\\ No newline at end of file",
      "--- /dev/null",
      "+++ /made (b)",
      "@@ -0,0 +1 @@",
      "+2",
      "diff /old /renamed",
      "rename from /old",
      "rename to /renamed",
      "diff /run /run",
      "old mode 100644",
      "new mode 100755",
      "",
    ].join("\n"),
  );
  const { changes } = await compare(tree.store, pair(a, b));
  assert.equal(
    changes.map((change) => text(nameStatusLine(change))).join(""),
    "A\t/empty\nD\t/gone\nM\t/link\nA\t/made\nR\t/old\t/renamed\nM\t/run\n",
  );
});

Deno.test("file replaced by a directory is told as removed and added", async () => {
  const tree = await fixture();
  await tree.write("/x", "1\n");
  const a = await tree.seal("a");
  await tree.remove("/x");
  await tree.mkdir("/x");
  const b = await tree.seal("b");
  assert.equal(
    await diff(tree, a, b),
    "--- /x (a)\n+++ /dev/null\n@@ -1 +0,0 @@\n-1\ndiff /x /x\nnew file mode 040755\n",
  );
});

Deno.test("a directory whose time alone changed is not told", async () => {
  const tree = await fixture();
  await tree.mkdir("/d");
  const a = await tree.seal("a");
  await tree.mkdir("/d/sub");
  const b = await tree.seal("b");
  const { changes } = await compare(tree.store, pair(a, b));
  assert.deepEqual(changes.map(({ path }) => text(path)), ["/d/sub"]);
});

Deno.test("a removed and an added line of a run are one modified line", () => {
  const before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
  const hunks = diffLines(before, "1\ntwo\nnew\n3\n4\n5\n6\n8\n9\n")!;
  assert.deepEqual(countChanges(hunks), { added: 1, removed: 1, modified: 1 });
});

Deno.test("text is told from binary by content", () => {
  assert.equal(isText(utf8("grüße\n")), true);
  assert.equal(isText(fromLatin1("gr\xfc\xdfe\n")), true);
  assert.equal(isText(new Uint8Array([97, 0, 98])), false);
  assert.equal(isText(new Uint8Array(100).map((_, i) => 1 + i * 2)), false);
  assert.equal(isText(new Uint8Array()), true);
});

Deno.test("applying a diff to the old text gives the new one, whatever the bytes", () => {
  const line = fc.constantFrom("a", "b", "", "c\r", "\xe9", "-x", "+y", "@@ -1 +1 @@", "\\ z", " ");
  const content = fc.tuple(fc.array(line, { maxLength: 30 }), fc.boolean()).map(
    ([lines, ended]) => lines.join("\n") + (ended && lines.length > 0 ? "\n" : ""),
  );
  fc.assert(
    fc.property(content, content, (before, after) => {
      const hunks = diffLines(before, after)!;
      const body = hunks.flatMap((hunk) => [hunkHeader(hunk), ...hunk.lines]);
      const patch = ["--- a", "+++ b", ...body, ""].join("\n");
      assert.equal(applyPatch(before, patch, { autoConvertLineEndings: false }), after);
    }),
    { numRuns: 300 },
  );
});
