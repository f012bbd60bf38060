import { UnavailableError } from "../../src/store/errors.ts";
import type { Store } from "../../src/store/store.ts";

/** Numbers from a seed: the same seed gives the same world. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed * 2654435761 + 1) >>> 0;
  }

  /** A number from 0 up to and without 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** A whole number from 0 up to and without `end`. */
  below(end: number): number {
    return Math.floor(this.next() * end);
  }

  /** Whether something of this probability happens. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** One of the items. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

/** Time that passes only when the simulation lets it. */
export class VirtualClock {
  now = 0;
  #timers: { readonly at: number; readonly callback: () => void }[] = [];

  /** Calls back after a time; returns what cancels it. */
  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.now + ms, callback };
    this.#timers.push(timer);
    return () => this.#timers = this.#timers.filter((other) => other !== timer);
  }

  /** Lets time pass, and what is due happen in its order. */
  async advance(ms: number): Promise<void> {
    const end = this.now + ms;
    for (;;) {
      await settle();
      const [next] = this.#timers.toSorted((a, b) => a.at - b.at);
      if (next === undefined || next.at > end) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.now = next.at;
      next.callback();
    }
    this.now = end;
  }
}

/** Lets everything that is ready in promises go on. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 40; turn++) await null;
}

/**
 * The line between a mount and a store: commits take time, are lost on the way there or back, arrive
 * long after their sender gave them up, or are never answered.
 */
export class FaultyLine {
  constructor(
    readonly store: Store,
    readonly clock: VirtualClock,
    readonly random: Random,
    /** Probability of each commit to go wrong. */
    readonly faults: number,
  ) {}

  async commit(...call: Parameters<Store["commit"]>): Promise<void> {
    const { random } = this;
    await this.#pass(random.below(40));
    if (!random.chance(this.faults)) {
      await this.store.commit(...call);
      return await this.#pass(random.below(40));
    }
    switch (random.below(4)) {
      case 0:
        throw new UnavailableError("connection refused");
      case 1:
        await this.store.commit(...call);
        await this.#pass(random.below(200));
        throw new UnavailableError("connection reset after the commit");
      case 2:
        this.clock.after(random.below(5000), () => void this.store.commit(...call).catch(() => {}));
        throw new UnavailableError("connection reset; the commit is still on its way");
      default:
        if (random.chance(0.5)) await this.store.commit(...call);
        await this.#pass(random.below(3000));
        throw new UnavailableError("no answer");
    }
  }

  #pass(ms: number): Promise<void> {
    return new Promise((resolve) => this.clock.after(ms, resolve));
  }
}
