import assert from "node:assert/strict";
import { text } from "../base/bytes.ts";
import { answerLoad } from "../store/loads.ts";
import { memoryStore } from "../store/memory/store.ts";
import { ROOT_INODE } from "../store/rows.ts";
import { numberedBatch } from "../../tests/durability/commits.ts";
import { Suspension } from "./suspension.ts";
import { Views } from "./views.ts";

const CONTEXT = { uid: 0, gid: 0, pid: 1, groups: () => [], capable: () => true };

Deno.test("a state is listed in full, however few names there were when it was mounted", async () => {
  const store = memoryStore();
  const { id, head } = await store.createWorkspace("main", null, { uid: 0, gid: 0, time: 0n });
  const { nextInode, nextCookie } = await store.counters(head.lineage);
  const { epoch } = await store.attach(id, { host: "here", pid: 1, mountPoint: null }, 15);
  for (let n = 1; n <= 3; n++) await store.commit(id, epoch, head, n, numberedBatch(n));
  const options = {
    nextInode,
    nextCookie,
    maxFileSize: 2 ** 40,
    metadataCacheBytes: 0,
    blockCacheBytes: 0,
  };
  const views = new Views(options, () => {});
  const { fileSystem } = views.at(head);
  const chain = await store.chain(head);
  const run = async <T>(operation: () => T): Promise<T> => {
    for (;;) {
      try {
        return operation();
      } catch (error) {
        if (!(error instanceof Suspension) || error.wait.kind !== "load") throw error;
        const { load } = error.wait;
        views.asking(head, load);
        views.absorb(head, load, await answerLoad(store, chain, load));
      }
    }
  };
  const { handle } = await run(() => fileSystem.opendir(CONTEXT, ROOT_INODE, 0));
  const names: string[] = [];
  await run(() => {
    names.length = 0;
    fileSystem.readdir(CONTEXT, ROOT_INODE, handle, 0, false, ({ name }) => {
      names.push(text(name));
      return true;
    });
  });
  assert.deepEqual(names, [".", "..", "file-1", "file-2", "file-3"]);
});
