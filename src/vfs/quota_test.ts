import assert from "node:assert/strict";
import { EDQUOT } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import { BLOCK_SIZE } from "../store/rows.ts";
import { FileData } from "./file_data.ts";
import { FilePool } from "./file_pool.ts";
import { Quota } from "./quota.ts";

function refuses(act: () => void): void {
  assert.throws(act, (error) => error instanceof FsError && error.errno === EDQUOT);
}

Deno.test("inodes are counted up to the bound, and make room again", () => {
  const quota = new Quota();
  quota.demandInode();
  quota.set({ bytes: null, inodes: 3 }, { bytes: 0, inodes: 2 });
  quota.demandInode();
  quota.count(1, 0);
  refuses(() => quota.demandInode());
  quota.count(-1, 0);
  quota.demandInode();
});

Deno.test("bytes count as they are allocated: what is there already costs nothing", () => {
  const quota = new Quota();
  const file = new FileData(2, new FilePool(0), true);
  file.paste(0, 0, new Uint8Array(5000));
  assert.equal(file.allocated, 8192);
  quota.set({ bytes: 12288, inodes: null }, { bytes: 8192, inodes: 1 });
  quota.demandBytes(file, 0, 8192);
  quota.demandBytes(file, 8192, 12288);
  refuses(() => quota.demandBytes(file, 8192, 12289));
  refuses(() => quota.demandBytes(file, BLOCK_SIZE, BLOCK_SIZE + 4097));
  quota.demandBytes(file, BLOCK_SIZE, BLOCK_SIZE + 4096);
  quota.set({ bytes: 4096, inodes: null }, { bytes: 8192, inodes: 1 });
  quota.demandBytes(file, 0, 5000);
});

Deno.test("nothing is refused before usage was counted", () => {
  const quota = new Quota();
  quota.set({ bytes: 0, inodes: 0 }, null);
  quota.demandInode();
  quota.demandBytes(new FileData(2, new FilePool(0), true), 0, 1);
});
