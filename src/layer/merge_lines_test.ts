import assert from "node:assert/strict";
import fc from "fast-check";
import { mergeLines, splitLines } from "./merge_lines.ts";

const LABELS = { ours: "head", theirs: "other" };
const merge = (base: string, ours: string, theirs: string) =>
  mergeLines(base, ours, theirs, LABELS);

const line = fc.constantFrom("a\n", "b\n", "c\r\n", "\n", "d\n", "e\n");
const anyText = fc.tuple(
  fc.array(line, { maxLength: 20 }),
  fc.constantFrom("", "end", "\r", "\xff"),
).map(([lines, last]) => lines.join("") + last);

Deno.test("one side unchanged gives the other, equal changes do not conflict", () => {
  fc.assert(fc.property(anyText, anyText, (base, side) => {
    assert.deepEqual(merge(base, base, side), { text: side, conflicts: 0 });
    assert.deepEqual(merge(base, side, base), { text: side, conflicts: 0 });
    assert.deepEqual(merge(base, side, side), { text: side, conflicts: 0 });
  }));
});

Deno.test("a merge conflicts from both sides or from none, and is the same then", () => {
  fc.assert(fc.property(anyText, anyText, anyText, (base, ours, theirs) => {
    const [one, two] = [merge(base, ours, theirs), merge(base, theirs, ours)];
    assert.equal(one.conflicts, two.conflicts);
    if (one.conflicts === 0) assert.equal(one.text, two.text);
  }));
});

Deno.test("changes of lines apart from each other both survive", () => {
  // Lines that are all different, so that a change is what it looks like.
  const base = Array.from({ length: 30 }, (_, i) => `line ${i}\n`);
  const edit = fc.record({ at: fc.nat(12), remove: fc.nat(2), add: fc.nat(3) });
  fc.assert(fc.property(edit, edit, (one, two) => {
    const change = (lines: string[], { at, remove, add }: typeof one, from: number, tag: string) =>
      lines.toSpliced(from + at, remove, ...Array.from({ length: add }, (_, i) => `${tag} ${i}\n`));
    // The later one first, so that the places of the other stay right.
    const ours = change(base, one, 0, "ours").join("");
    const theirs = change(base, two, 16, "theirs").join("");
    const both = change(change(base, two, 16, "theirs"), one, 0, "ours").join("");
    assert.deepEqual(merge(base.join(""), ours, theirs), { text: both, conflicts: 0 });
  }));
});

Deno.test("different changes of one line stand between markers", () => {
  const { text, conflicts } = merge("a\nb\nc\n", "a\nB\nc\n", "a\nbb\nc");
  assert.equal(conflicts, 1);
  assert.equal(
    text,
    "a\n<<<<<<< head\nB\nc\n||||||| base\nb\nc\n=======\nbb\nc\n>>>>>>> other\n",
  );
});

Deno.test("lines end at a line feed, and are all of the text", () => {
  fc.assert(fc.property(fc.string(), (text) => assert.equal(splitLines(text).join(""), text)));
  assert.deepEqual(splitLines("a\r\nb\rc"), ["a\r\n", "b\rc"]);
});
