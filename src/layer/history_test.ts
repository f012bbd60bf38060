import assert from "node:assert/strict";
import { text, utf8 } from "../base/bytes.ts";
import { TreeFixture } from "../../tests/layer/fixture.ts";
import { memoryStore } from "../store/memory/store.ts";
import { ancestry } from "./chains.ts";
import { formatSize, formatTime } from "./format.ts";
import { history, type HistoryEntry, historyLines } from "./history.ts";

async function historyOf(tree: TreeFixture, path: string): Promise<HistoryEntry[]> {
  const chain = ancestry(await tree.store.layers(), (await tree.row()).base);
  return await Array.fromAsync(history(tree.store, chain, utf8(path)));
}

Deno.test("each layer in which a file changed, in the form of the design", async () => {
  const tree = await TreeFixture.make(memoryStore(), "main");
  const lines = Array.from({ length: 100 }, (_, i) => `line ${i + 1} 5678\n`);
  await tree.write("/f", lines.join(""));
  await tree.seal("checkpoint-1");
  await tree.write("/other", "1");
  await tree.seal("checkpoint-2");
  const next = lines.with(10, "x\n").with(50, "y\n").with(90, "z\n").toSpliced(20, 2);
  next.push("1\n", "2\n", "3\n", "4\n", "5\n");
  await tree.write("/f", next.join(""));
  const third = await tree.seal("checkpoint-3");
  const entries = await historyOf(tree, "/f");
  assert.deepEqual(entries.map(({ layer }) => layer.name), ["checkpoint-3", "checkpoint-1"]);
  const size = formatSize(next.join("").length);
  assert.equal(
    historyLines(entries[0]!),
    `Layer: checkpoint-3 (${
      formatTime(third.createdAt)
    })\n  Size: ${size}, Lines: 103 (+5 -2 ~3)\n`,
  );
});

Deno.test("history follows renames, also of a directory, and replaced files", async () => {
  const tree = await TreeFixture.make(memoryStore(), "main");
  await tree.mkdir("/d");
  await tree.write("/d/a", "1\n");
  await tree.seal("made");
  await tree.write("/d/a", "2\n");
  await tree.seal("edited");
  await tree.rename("/d/a", "/d/b");
  await tree.seal("renamed");
  await tree.rename("/d", "/e");
  await tree.seal("moved");
  await tree.write("/e/tmp", "3\n");
  await tree.rename("/e/tmp", "/e/b");
  await tree.seal("replaced");
  await tree.remove("/e/b");
  await tree.seal("removed");
  const entries = await historyOf(tree, "/e/b");
  assert.deepEqual(
    entries.map(({ layer, file: { change } }) =>
      `${layer.name} ${change.kind} ${change.oldPath === null ? "" : text(change.oldPath)}`.trim()
    ),
    [
      "removed removed",
      "replaced modified",
      "moved renamed /d/b",
      "renamed renamed /d/a",
      "edited modified",
      "made added",
    ],
  );
  assert.match(historyLines(entries[2]!), /\n {2}Renamed from \/d\/b\n$/);
  assert.match(historyLines(entries[0]!), /\n {2}Removed\n$/);
});

Deno.test("a chain longer than one look is followed to its end", async () => {
  const tree = await TreeFixture.make(memoryStore(), "main");
  await tree.write("/f", "0\n");
  await tree.seal();
  for (let i = 0; i < 70; i++) {
    if (i % 20 === 0) await tree.write("/f", `${i + 1}\n`);
    await tree.seal();
  }
  const entries = await historyOf(tree, "/f");
  assert.deepEqual(entries.map(({ layer }) => layer.name), [
    "ckpt-62",
    "ckpt-42",
    "ckpt-22",
    "ckpt-2",
    "ckpt-1",
  ]);
});

Deno.test("sizes are told as people read them", () => {
  assert.equal(formatSize(512), "512B");
  assert.equal(formatSize(1280), "1.25KB");
  assert.equal(formatSize(5 * 1024 ** 3), "5.00GB");
});
