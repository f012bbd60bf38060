import type { Reader } from "../store/store.ts";

/** Bytes of contents between two looks at the memory. */
const LOOK_BYTES = 8 << 20;

/** Resident memory above which garbage is collected: what is promised is 256 MB. */
const RESIDENT_MAX = 144 << 20;

let passed = 0;

/**
 * To be told of contents that went through memory. V8 lets tens of megabytes of dead buffers, and as
 * many of dead rows, lie before it collects them: here that is done once the process has grown past a
 * bound. The program is compiled with `--expose-gc` for this; without the flag it does nothing.
 */
export function relieveMemory(bytes: number): void {
  passed += bytes;
  if (passed < LOOK_BYTES) return;
  passed = 0;
  const { gc } = globalThis as { gc?: () => void };
  if (gc !== undefined && Deno.memoryUsage().rss > RESIDENT_MAX) gc();
}

/** What a row costs on its way from the database: itself, its message, the client's objects. */
export const ROW_BYTES = 4 << 10;

/** A reader whose rows count as what went through memory. */
export function relieved(reader: Reader): Reader {
  const count = async <T extends readonly unknown[]>(read: Promise<T>): Promise<T> => {
    const rows = await read;
    relieveMemory(rows.length * ROW_BYTES);
    return rows;
  };
  return {
    chain: (point) => reader.chain(point),
    inodes: (chain, numbers) => count(reader.inodes(chain, numbers)),
    lookup: (chain, keys) => count(reader.lookup(chain, keys)),
    list: (chain, parent, after, limit) => count(reader.list(chain, parent, after, limit)),
    blocks: (chain, inodes) => count(reader.blocks(chain, inodes)),
    contents: (hashes) => reader.contents(hashes),
    names: (chain, children) => count(reader.names(chain, children)),
    changedKeys: (lineage, after, upto) => reader.changedKeys(lineage, after, upto),
    counters: (lineage) => reader.counters(lineage),
  };
}
