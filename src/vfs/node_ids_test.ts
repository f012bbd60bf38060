import assert from "node:assert/strict";
import { NodeIds } from "./node_ids.ts";

Deno.test("a replaced file keeps its id, and its number gets another", () => {
  const ids = new NodeIds();
  assert.ok(ids.plain);
  assert.equal(ids.id(5), 5);
  ids.replace(5, 90);
  assert.equal(ids.inode(5), 90);
  assert.equal(ids.id(90), 5);
  const alias = ids.id(5);
  assert.notEqual(alias, 5);
  assert.equal(ids.inode(alias), 5);

  ids.replace(5, 91);
  assert.equal(ids.inode(alias), 91);
  assert.equal(ids.inode(ids.id(5)), 5);
  assert.equal(ids.inode(5), 90);
});

Deno.test("ids are the numbers again when nothing replaced is in use", () => {
  const ids = new NodeIds();
  ids.replace(5, 90);
  ids.forgotten(5);
  assert.notEqual(ids.id(5), 5, "the id 5 is still the old file's");
  ids.forgotten(90);
  ids.forgotten(5);
  assert.equal(ids.id(5), 5);
  assert.ok(ids.plain);
});
