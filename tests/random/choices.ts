/** What random programs choose from, and how. */
import { FsError } from "../../src/base/errors.ts";
import { S_IFCHR, S_IFIFO, S_IFSOCK } from "../../src/base/modes.ts";
import type { Inode, Model } from "./model.ts";

const NAMES = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "\xff\xfe", "n".repeat(255)];

/** Offsets close to the borders of blocks and pages, where mistakes live; mostly small. */
export const OFFSETS = [
  0,
  0,
  0,
  1,
  100,
  4095,
  4096,
  5000,
  65536,
  131071,
  131072,
  131073,
  200000,
  262144,
];
export const LENGTHS = [1, 1, 10, 100, 1000, 4096, 4097, 10000, 60000, 131072, 140000];

/** A generator of numbers from 0 to below 1: mulberry32. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Random choices for a program on a model. */
export class Choices {
  /** A number from 0 to below 1. */
  readonly random: () => number;
  readonly #model: Model;

  constructor(seed: number, model: Model) {
    this.random = generator(seed);
    this.#model = model;
  }

  /** An integer from 0 to below `limit`. */
  below(limit: number): number {
    return Math.floor(this.random() * limit);
  }

  /** One of them. */
  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }

  /** Bytes for a file; sometimes all zeros. */
  bytes(length: number): Uint8Array {
    const seed = this.below(2 ** 30);
    const out = new Uint8Array(length);
    for (let i = 0; i < length; i++) out[i] = (seed + i * 7 + (i >> 8)) & 0xff;
    if (this.random() < 0.1) out.fill(0);
    return out;
  }

  /** A path: often one that exists, else a name in a directory that does, rarely a wrong one. */
  path(there = 0.5): string {
    const paths = this.#model.paths();
    if (paths.length > 0 && this.random() < there) return this.pick(paths).path;
    const above = this.random() < 0.05 ? paths.map(({ path }) => path) : [
      "",
      ...paths.filter(({ inode, path }) => inode.entries !== null && path.split("/").length < 4)
        .map(({ path }) => path),
    ];
    const directory = above.length === 0 ? "" : this.pick(above);
    const name = this.random() < 0.01 ? "n".repeat(256) : this.pick(NAMES);
    return directory === "" ? name : `${directory}/${name}`;
  }

  /** Whether opening the path would wait, or be of a device. */
  special(path: string): boolean {
    try {
      const { type } = this.#model.at(path);
      return type === S_IFIFO || type === S_IFSOCK || type === S_IFCHR;
    } catch (error) {
      if (error instanceof FsError) return false;
      throw error;
    }
  }

  // What systems differ in, so that no program does it.

  /** Whether the path is a directory that is not empty. */
  filled(path: string): boolean {
    return (this.#found(path)?.entries?.size ?? 0) > 0;
  }

  /** Whether the path is of a file with that many bytes. */
  sized(path: string, size: number): boolean {
    return this.#found(path)?.data.length === size;
  }

  /** Whether the path has the attribute with that very value. */
  valued(path: string, name: string, value: string): boolean {
    return this.#found(path)?.xattrs.get(name) === value;
  }

  #found(path: string): Inode | undefined {
    return this.#model.paths().find((one) => one.path === path)?.inode;
  }
}
