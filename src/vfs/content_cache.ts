/** Absorbed contents that nobody came for are ordinary cache entries after this many more answers. */
const HELD_ANSWERS = 256;

/** Contents asked for and not yet answered are remembered up to this number. */
const WANTED_MAX = 65536;

interface Held {
  readonly data: Uint8Array;
  readonly answer: number;
}

/**
 * Contents of blocks by hash (the key is `latin1` of it), least recently used out first. Three kinds
 * of entries: *pinned* ones are on their way to the store and exist nowhere else; *held* ones were
 * asked for by an operation that has not run again yet, and would be asked for for ever if they were
 * evicted before; all others are *idle*, bounded by `limitBytes`.
 *
 * Nothing is evicted but when something is added. So an operation that found everything it needs with
 * {@link has} can take it with {@link get}: no await lies between.
 */
export class ContentCache {
  readonly #idle = new Map<string, Uint8Array>();
  readonly #held = new Map<string, Held>();
  readonly #pinned = new Map<string, Uint8Array>();
  readonly #wanted = new Set<string>();
  #idleBytes = 0;
  #heldBytes = 0;
  #pinnedBytes = 0;
  #answers = 0;
  #hits = 0;
  #misses = 0;

  constructor(readonly limitBytes: number) {}

  /** Bytes of all contents kept. */
  get bytes(): number {
    return this.#idleBytes + this.#heldBytes + this.#pinnedBytes;
  }

  /** Bytes of contents that are pinned. */
  get pinnedBytes(): number {
    return this.#pinnedBytes;
  }

  /** How often a content was found, and how often it had to be asked for. */
  get figures(): { readonly hits: number; readonly misses: number } {
    return { hits: this.#hits, misses: this.#misses };
  }

  /** Whether the content is here. Changes nothing. */
  has(key: string): boolean {
    return this.#pinned.has(key) || this.#held.has(key) || this.#idle.has(key);
  }

  /** The content, now the most recently used; undefined when it is not here. Not to be changed. */
  get(key: string): Uint8Array | undefined {
    const pinned = this.#pinned.get(key);
    if (pinned !== undefined) return this.#hit(pinned);
    const held = this.#held.get(key);
    if (held !== undefined) {
      this.#release(key, held);
      return this.#hit(held.data);
    }
    const idle = this.#idle.get(key);
    if (idle === undefined) return undefined;
    this.#idle.delete(key);
    this.#idle.set(key, idle);
    return this.#hit(idle);
  }

  /** Notes that an operation waits for this content: it is held once it arrives, until used. */
  want(key: string): void {
    this.#misses++;
    this.#wanted.add(key);
    if (this.#wanted.size <= WANTED_MAX) return;
    for (const oldest of this.#wanted) {
      this.#wanted.delete(oldest);
      return;
    }
  }

  /** Takes in one answer of the store: contents with their keys, in the same order. */
  absorb(keys: readonly string[], contents: readonly Uint8Array[]): void {
    this.#answers++;
    for (const [i, key] of keys.entries()) {
      const data = contents[i]!;
      if (this.has(key)) {
        this.#wanted.delete(key);
      } else if (this.#wanted.delete(key)) {
        this.#held.set(key, { data, answer: this.#answers });
        this.#heldBytes += data.length;
      } else {
        this.#idle.set(key, data);
        this.#idleBytes += data.length;
      }
    }
    for (const [key, held] of this.#held) {
      if (held.answer > this.#answers - HELD_ANSWERS) break;
      this.#release(key, held);
    }
    this.#evict();
  }

  /** Adds a content that the store has. */
  add(key: string, data: Uint8Array): void {
    if (this.has(key)) return;
    this.#idle.set(key, data);
    this.#idleBytes += data.length;
    this.#evict();
  }

  /** Adds a content that the store does not have yet: it stays until {@link unpinAll}. */
  pin(key: string, data: Uint8Array): void {
    if (this.#pinned.has(key)) return;
    const held = this.#held.get(key);
    if (held !== undefined) this.#release(key, held);
    const idle = this.#idle.get(key);
    if (idle !== undefined) {
      this.#idle.delete(key);
      this.#idleBytes -= idle.length;
    }
    this.#pinned.set(key, data);
    this.#pinnedBytes += data.length;
  }

  /** Everything pinned is in the store now; returns its keys. */
  unpinAll(): string[] {
    const keys = [...this.#pinned.keys()];
    for (const [key, data] of this.#pinned) this.#idle.set(key, data);
    this.#idleBytes += this.#pinnedBytes;
    this.#pinned.clear();
    this.#pinnedBytes = 0;
    this.#evict();
    return keys;
  }

  /** Forgets everything that can be asked for again. */
  clear(): void {
    this.#idle.clear();
    this.#idleBytes = 0;
  }

  #hit(data: Uint8Array): Uint8Array {
    this.#hits++;
    return data;
  }

  #release(key: string, held: Held): void {
    this.#held.delete(key);
    this.#heldBytes -= held.data.length;
    this.#idle.set(key, held.data);
    this.#idleBytes += held.data.length;
  }

  #evict(): void {
    if (this.#idleBytes <= this.limitBytes) return;
    for (const [key, data] of this.#idle) {
      this.#idle.delete(key);
      this.#idleBytes -= data.length;
      if (this.#idleBytes <= this.limitBytes) return;
    }
  }
}
