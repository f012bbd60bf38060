import { createHash } from "node:crypto";
import { fromLatin1, hex } from "../base/bytes.ts";
import type { BlockRow, ContentRow, DentryRow, InodeRow, Point } from "../store/rows.ts";
import type { Store } from "../store/store.ts";
import { relieveMemory, ROW_BYTES } from "./memory.ts";

/** Rows of one write. */
const ROWS_MAX = 6000;
/** Bytes of content of one write. */
const CONTENT_BYTES_MAX = 4 << 20;

/**
 * Gathers the rows of an import into batches of bounded size. One batch is written while the next
 * is gathered.
 */
export class LineageWriter {
  readonly #inodes = new Map<number, InodeRow | null>();
  readonly #dentries = new Map<
    string,
    { readonly row: DentryRow; readonly alive: boolean }
  >();
  #blocks: BlockRow[] = [];
  #contents = new Map<string, ContentRow>();
  #contentBytes = 0;
  #writing: Promise<void> = Promise.resolve();
  #nextInode: number;
  #nextCookie: number;

  /** @param point Where rows are born; {@link LineageWriter.advance} moves it up. */
  constructor(
    private readonly store: Store,
    private point: Point,
    next: { readonly nextInode: number; readonly nextCookie: number },
  ) {
    this.#nextInode = next.nextInode;
    this.#nextCookie = next.nextCookie;
  }

  newInode(): number {
    return this.#nextInode++;
  }

  newCookie(): number {
    return this.#nextCookie++;
  }

  putInode(row: InodeRow): void {
    this.#inodes.set(row.inode, row);
  }

  killInode(inode: number): void {
    this.#inodes.set(inode, null);
  }

  putDentry(row: DentryRow, name: string): void {
    this.#dentries.set(`${row.parent}/${name}`, { row, alive: true });
  }

  killDentry(parent: number, name: string): void {
    const row = { parent, name: fromLatin1(name), child: 0, cookie: 0 };
    this.#dentries.set(`${parent}/${name}`, { row, alive: false });
  }

  /** Adds one block; `data` must not be written to afterwards. */
  async putBlock(inode: number, index: number, data: Uint8Array): Promise<void> {
    const hash = new Uint8Array(createHash("sha256").update(data).digest());
    this.#blocks.push({ inode, index, hash, length: data.length });
    const key = hex(hash);
    if (!this.#contents.has(key)) {
      this.#contents.set(key, { hash, data });
      this.#contentBytes += data.length;
    }
    if (this.#contentBytes >= CONTENT_BYTES_MAX) await this.#flush();
  }

  /** Writes what is gathered when it is much; to be called between entries. */
  async breathe(): Promise<void> {
    const rows = this.#inodes.size + this.#dentries.size + this.#blocks.length;
    if (rows >= ROWS_MAX) await this.#flush();
  }

  /** Ends a layer: all of it is written, the next rows are born at the next ordinal. */
  async advance(): Promise<Point> {
    await this.#flush();
    await this.#writing;
    const done = this.point;
    this.point = { lineage: done.lineage, ordinal: done.ordinal + 1 };
    return done;
  }

  /** Waits until no write is under way; for giving up. */
  async settle(): Promise<void> {
    await this.#writing.catch(() => {});
  }

  async #flush(): Promise<void> {
    const inodes: InodeRow[] = [];
    const deadInodes: number[] = [];
    for (const [number, row] of this.#inodes) {
      if (row === null) deadInodes.push(number);
      else inodes.push(row);
    }
    const dentries = [...this.#dentries.values()];
    const batch = {
      nextInode: this.#nextInode,
      nextCookie: this.#nextCookie,
      inodes,
      deadInodes,
      dentries: dentries.filter(({ alive }) => alive).map(({ row }) => row),
      deadDentries: dentries.filter(({ alive }) => !alive).map(({ row }) => row),
      blocks: this.#blocks,
      deadBlocks: [],
      contents: [...this.#contents.values()],
    };
    this.#inodes.clear();
    this.#dentries.clear();
    this.#blocks = [];
    this.#contents = new Map();
    const bytes = this.#contentBytes;
    const rows = inodes.length + dentries.length + batch.blocks.length;
    this.#contentBytes = 0;
    await this.#writing;
    relieveMemory(bytes + rows * ROW_BYTES);
    this.#writing = this.store.write(this.point, batch);
    // Whoever waits next meets the failure; it must not end the process before.
    this.#writing.catch(() => {});
  }
}
