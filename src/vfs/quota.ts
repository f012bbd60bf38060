import { EDQUOT } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import { allocatedBytes, BLOCK_SIZE } from "../store/rows.ts";
import { type Limits, UNLIMITED, type Usage } from "../store/quotas.ts";
import type { FileData } from "./file_data.ts";

/**
 * What the head may hold, and holds. Usage is counted by the main thread, once, and kept here from
 * then on by what operations add and take away; until it was counted nothing is refused.
 */
export class Quota {
  #limits: Limits = UNLIMITED;
  #usage: Usage | null = null;

  /** The bounds, and what was used when the store was asked; nothing may be dirty. */
  set(limits: Limits, usage: Usage | null): void {
    this.#limits = limits;
    this.#usage = usage;
  }

  get limits(): Limits {
    return this.#limits;
  }

  /** Null: not counted. */
  get usage(): Usage | null {
    return this.#usage;
  }

  /** Operations added this, or (negative) took it away. */
  count(inodes: number, bytes: number): void {
    const usage = this.#usage;
    if (usage === null) return;
    this.#usage = { inodes: usage.inodes + inodes, bytes: usage.bytes + bytes };
  }

  /** Room for one more inode. @throws {FsError} EDQUOT (man 2 open, mkdir, symlink, mknod) */
  demandInode(): void {
    const { inodes } = this.#limits;
    if (inodes === null || this.#usage === null) return;
    if (this.#usage.inodes >= inodes) throw new FsError(EDQUOT);
  }

  /** Room for bytes from `offset` to `end` of a file whose map is here. @throws {FsError} EDQUOT */
  demandBytes(file: FileData, offset: number, end: number): void {
    const { bytes } = this.#limits;
    if (bytes === null || this.#usage === null) return;
    let growth = 0;
    for (let index = Math.floor(offset / BLOCK_SIZE); index * BLOCK_SIZE < end; index++) {
      const before = file.at(index)?.length ?? 0;
      const after = Math.max(before, Math.min(end - index * BLOCK_SIZE, BLOCK_SIZE));
      growth += allocatedBytes(after) - allocatedBytes(before);
    }
    if (growth > 0 && this.#usage.bytes + growth > bytes) throw new FsError(EDQUOT);
  }
}
