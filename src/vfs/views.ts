/** Other states of the tree, read-only, under `/.tarbox/at`. */
import { ENFILE } from "../base/errno.ts";
import { FsError } from "../base/errors.ts";
import type { Load, Loaded } from "../store/loads.ts";
import { type Point, SYNTHETIC_INODE } from "../store/rows.ts";
import { MountedFileSystem } from "./mounted.ts";
import type { Attributes } from "./operations.ts";
import { Suspension } from "./suspension.ts";
import type { TreeOptions } from "./tree.ts";

/** Node ids of one view: its inode numbers are below this. */
const VIEW_RANGE = 2 ** 36;
/** Views that there can be at once: what fits between SYNTHETIC_INODE and 2^53. */
const VIEWS_MAX = 2 ** 16 - 1;
/** Views kept though the kernel knows nothing of them. */
const IDLE_VIEWS = 16;

/** One state of the tree as a filesystem of its own. */
export class View {
  /** References that the kernel holds into it. */
  references = 0;
  readonly fileSystem: MountedFileSystem;
  /** Node id of its inode 0. */
  readonly base: number;

  constructor(readonly point: Point, readonly index: number, options: TreeOptions) {
    this.base = SYNTHETIC_INODE + index * VIEW_RANGE;
    this.fileSystem = new MountedFileSystem({ ...options, readOnly: true, atime: "noatime" });
  }

  /** As the kernel sees it: numbers are unique in the mount, a layer never changes. */
  shown(attributes: Attributes): Attributes {
    return { ...attributes, inode: this.base + attributes.inode };
  }

  /** What an operation threw, so that who answers knows which state is asked about. */
  thrown(error: unknown): unknown {
    if (!(error instanceof Suspension)) return error;
    const { wait } = error;
    switch (wait.kind) {
      case "load":
        return new Suspension({ ...wait, point: this.point });
      case "lock":
        return new Suspension({ ...wait, inode: this.base + wait.inode });
      default:
        return error;
    }
  }
}

/**
 * The views that the kernel may know. A view's inode `n` has the node id
 * `SYNTHETIC_INODE + index * 2^36 + n`; index 0 are the control files.
 */
export class Views {
  readonly #options: TreeOptions;
  readonly #onUnlock: (id: number) => void;
  readonly #byIndex = new Map<number, View>();
  readonly #byPoint = new Map<string, View>();
  #nextIndex = 1;

  constructor(options: TreeOptions, onUnlock: (id: number) => void) {
    this.#options = options;
    this.#onUnlock = onUnlock;
  }

  /** The view that a node id is in, or undefined. */
  of(id: number): View | undefined {
    return this.#byIndex.get(Math.floor((id - SYNTHETIC_INODE) / VIEW_RANGE));
  }

  /** The view of a state; made when there is none. @throws {FsError} ENFILE */
  at(point: Point): View {
    const key = keyOf(point);
    const found = this.#byPoint.get(key);
    if (found !== undefined) return found;
    this.#dropIdle();
    const view = new View(point, this.#freeIndex(), this.#options);
    view.fileSystem.onUnlock = (inode) => this.#onUnlock(view.base + inode);
    this.#byIndex.set(view.index, view);
    this.#byPoint.set(key, view);
    return view;
  }

  /** A load of this state is on its way. */
  asking(point: Point, load: Load): void {
    this.#byPoint.get(keyOf(point))?.fileSystem.tree.asking(load);
  }

  /** Takes in what the store answered to a load of this state. */
  absorb(point: Point, load: Load, loaded: Loaded): void {
    this.#byPoint.get(keyOf(point))?.fileSystem.absorb(load, loaded);
  }

  #freeIndex(): number {
    for (let tries = 0; tries < VIEWS_MAX; tries++) {
      const index = this.#nextIndex;
      this.#nextIndex = this.#nextIndex % VIEWS_MAX + 1;
      if (!this.#byIndex.has(index)) return index;
    }
    throw new FsError(ENFILE, "too many layers are open under .tarbox/at");
  }

  #dropIdle(): void {
    const idle = [...this.#byIndex.values()].filter((view) => view.references === 0);
    for (const view of idle.slice(0, Math.max(0, idle.length - IDLE_VIEWS))) {
      this.#byIndex.delete(view.index);
      this.#byPoint.delete(keyOf(view.point));
    }
  }
}

function keyOf({ lineage, ordinal }: Point): string {
  return `${lineage}/${ordinal}`;
}
