import assert from "node:assert/strict";
import { passwordOf } from "./passfile.ts";

const HERE = { host: "db.example.org", port: 5433, database: "tarbox", user: "me" };

Deno.test("the first line of a pgpass file that matches has the password", () => {
  const file = [
    "# db.example.org:5433:tarbox:me:a comment",
    "too:short",
    "db.example.org:5432:tarbox:me:another port",
    "*:*:*:me:pass\\:wo\\\\rd:with colon",
    "db.example.org:5433:tarbox:me:later",
  ].join("\n");
  assert.equal(passwordOf(file, HERE), "pass:wo\\rd:with colon");
  assert.equal(passwordOf(file, { ...HERE, user: "you" }), undefined);
  assert.equal(passwordOf("localhost:*:*:*:socket\r\n", { ...HERE, host: "/run" }), "socket");
  assert.equal(passwordOf("a\\:b:*:*:*:escaped", { ...HERE, host: "a:b" }), "escaped");
});
