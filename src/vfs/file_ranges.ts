/**
 * Byte ranges of files, block by block. Each function demands first (and may suspend, having changed
 * nothing), then does all of it. Sizes are the caller's: nothing here extends a file.
 */
import { EINVAL, ENXIO } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import { allocatedBytes, BLOCK_SIZE } from "../store/rows.ts";
import { demandContents, type FileData } from "./file_data.ts";

/** Bytes that one copy moves through memory at most; blocks that are shared do not count. */
export const COPY_BYTES_MAX = 16 * 1024 * 1024;

const ZEROS = new Uint8Array(BLOCK_SIZE);

/**
 * The bytes from `offset` up to `end` (at most the file's size), as views of blocks and of one shared
 * zero page, good until the next operation.
 */
export function readRange(file: FileData, offset: number, end: number): Uint8Array[] {
  if (offset >= end) return [];
  file.demandMap();
  file.demandRead(blockOf(offset), blockOf(end - 1));
  return parts(file, offset, end);
}

/** @throws {Suspension} unless {@link writeRange} of these bytes can go on. */
export function demandWrite(file: FileData, offset: number, end: number): void {
  file.demandMap();
  file.demand(edges(file, offset, end));
}

/** Puts bytes at an offset. @throws {Suspension} as {@link demandWrite} */
export function writeRange(file: FileData, offset: number, data: Uint8Array): void {
  demandWrite(file, offset, offset + data.length);
  paste(file, offset, data);
}

/** Makes bytes zeros, whole blocks of them holes: truncation, holes, zeroed ranges. */
export function zeroRange(file: FileData, offset: number, end: number): void {
  if (offset >= end) return;
  demandWrite(file, offset, end);
  clear(file, offset, end);
}

/**
 * The next offset at or after `offset` that holds data, or is in a hole; the end of the file is a
 * hole (man 2 lseek). Granularity: the pages of 4096 bytes that `st_blocks` counts.
 * @throws {FsError} ENXIO at or beyond `size`, and for data when only a hole is left.
 */
export function seekRange(
  file: FileData,
  size: number,
  offset: number,
  kind: "data" | "hole",
): number {
  if (offset < 0 || offset >= size) throw new FsError(ENXIO);
  file.demandMap();
  let index = blockOf(offset);
  if (kind === "data") {
    if (offset < dataEnd(file, index)) return offset;
    const next = file.indexes(index + 1, blockOf(size - 1))[0];
    if (next === undefined) throw new FsError(ENXIO);
    return next * BLOCK_SIZE;
  }
  let at = offset;
  while (at < dataEnd(file, index)) {
    at = dataEnd(file, index);
    index++;
    if (at < index * BLOCK_SIZE) break;
  }
  return Math.min(at, size);
}

/** A part of a copy: `blocks` when whole blocks are shared, else bytes that are moved. */
interface CopyStep {
  readonly blocks: boolean;
  readonly offset: number;
  readonly length: number;
}

/** What a copy will do: the steps, and how many bytes of memory they make dirty at most. */
export interface CopyPlan {
  readonly steps: readonly CopyStep[];
  readonly copied: number;
  readonly dirties: number;
}

/**
 * Plans to copy `length` bytes between files (or in one), fewer at the end of the source or when more
 * than COPY_BYTES_MAX would move. Where both offsets agree modulo the block size, whole blocks are
 * shared; the last block of the source counts as whole when it becomes the last of the target.
 * @throws {FsError} EINVAL when the ranges overlap in one file (man 2 copy_file_range).
 */
export function planCopy(
  source: FileData,
  sourceSize: number,
  offset: number,
  target: FileData,
  targetSize: number,
  targetOffset: number,
  length: number,
): CopyPlan {
  const total = Math.max(0, Math.min(length, sourceSize - offset));
  if (source === target && Math.abs(offset - targetOffset) < total) {
    throw new FsError(EINVAL, "the ranges of a copy overlap");
  }
  source.demandMap();
  target.demandMap();
  const congruent = offset % BLOCK_SIZE === targetOffset % BLOCK_SIZE;
  const steps: CopyStep[] = [];
  let moved = 0;
  let shared = 0;
  let done = 0;
  while (done < total) {
    const at = offset + done;
    let step = Math.min(BLOCK_SIZE - at % BLOCK_SIZE, total - done);
    // Not in one file: an earlier step may write into what is the last block of the source.
    const last = source !== target && at + step === sourceSize &&
      targetOffset + done + step >= targetSize;
    const blocks = congruent && at % BLOCK_SIZE === 0 && (step === BLOCK_SIZE || last);
    if (blocks) {
      if (source.at(blockOf(at))?.hash === null) shared += BLOCK_SIZE;
    } else {
      step = Math.min(step, COPY_BYTES_MAX - moved);
      if (step === 0) break;
      moved += step;
    }
    const before = steps.at(-1);
    if (before !== undefined && before.blocks === blocks) {
      steps[steps.length - 1] = { ...before, length: before.length + step };
    } else {
      steps.push({ blocks, offset: at, length: step });
    }
    done += step;
  }
  return { steps, copied: done, dirties: moved + shared };
}

/**
 * @param shift distance from the offset in the source to that in the target
 * @throws {Suspension} unless {@link copyRange} with this plan can go on
 */
export function demandCopy(
  source: FileData,
  target: FileData,
  shift: number,
  plan: CopyPlan,
): void {
  const hashes: Uint8Array[] = [];
  for (const step of plan.steps) {
    if (step.blocks) continue;
    const end = step.offset + step.length;
    hashes.push(...source.missing(source.indexes(blockOf(step.offset), blockOf(end - 1))));
    hashes.push(...target.missing(edges(target, step.offset + shift, end + shift)));
  }
  demandContents(hashes);
}

/** Does what {@link planCopy} planned and {@link demandCopy} found possible. */
export function copyRange(source: FileData, target: FileData, shift: number, plan: CopyPlan): void {
  for (const step of plan.steps) {
    const end = step.offset + step.length;
    if (step.blocks) {
      for (let at = step.offset; at < end; at += BLOCK_SIZE) {
        target.share(blockOf(at + shift), source.at(blockOf(at)));
      }
      continue;
    }
    const moved = parts(source, step.offset, end);
    clear(target, step.offset + shift, end + shift);
    let at = step.offset + shift;
    for (const part of moved) {
      if (part.buffer !== ZEROS.buffer) paste(target, at, part);
      at += part.length;
    }
  }
}

function blockOf(offset: number): number {
  return Math.floor(offset / BLOCK_SIZE);
}

/** Offset in the file after the last page of a block that is allocated; -1 for a hole. */
function dataEnd(file: FileData, index: number): number {
  const ref = file.at(index);
  return ref === undefined ? -1 : index * BLOCK_SIZE + allocatedBytes(ref.length);
}

/** The blocks of a range that keep some of their old bytes when the range is overwritten. */
function edges(file: FileData, offset: number, end: number): number[] {
  const out: number[] = [];
  const first = blockOf(offset);
  const last = blockOf(end - 1);
  for (const index of first === last ? [first] : [first, last]) {
    const ref = file.at(index);
    if (ref === undefined) continue;
    const start = index * BLOCK_SIZE;
    if (offset > start || end < start + ref.length) out.push(index);
  }
  return out;
}

function parts(file: FileData, offset: number, end: number): Uint8Array[] {
  const out: Uint8Array[] = [];
  let at = offset;
  while (at < end) {
    const index = blockOf(at);
    const start = at - index * BLOCK_SIZE;
    const stop = Math.min(BLOCK_SIZE, end - index * BLOCK_SIZE);
    const ref = file.at(index);
    const held = ref === undefined ? 0 : Math.min(stop, ref.length);
    if (start < held) out.push(file.content(ref!).subarray(start, held));
    if (Math.max(start, held) < stop) out.push(ZEROS.subarray(Math.max(start, held), stop));
    at = index * BLOCK_SIZE + stop;
  }
  return out;
}

function paste(file: FileData, offset: number, data: Uint8Array): void {
  let done = 0;
  while (done < data.length) {
    const index = blockOf(offset + done);
    const start = offset + done - index * BLOCK_SIZE;
    const step = Math.min(BLOCK_SIZE - start, data.length - done);
    file.paste(index, start, data.subarray(done, done + step));
    done += step;
  }
}

function clear(file: FileData, offset: number, end: number): void {
  for (const index of file.indexes(blockOf(offset), blockOf(end - 1))) {
    const start = index * BLOCK_SIZE;
    file.zero(index, Math.max(0, offset - start), Math.min(BLOCK_SIZE, end - start));
  }
}
