import type { Dentry } from "./node.ts";

/**
 * The names of a directory in the order of their cookies, as far as they are known: all with a cookie
 * above {@link from} up to and with {@link upto}. New names get the highest cookie there ever was, so
 * they are appended; one that is replaced or removed is only marked (`Dentry.gone`). So a listing costs
 * what it returns, whatever comes and goes meanwhile.
 */
export class DirectoryList {
  /** Names in the known range, by cookie; some are gone. */
  #entries: Dentry[] = [];
  /** Names that memory knows beyond the range, by cookie; some are gone. */
  #beyond: Dentry[];
  #upto: number;
  #gone = 0;

  /**
   * @param from where the range begins
   * @param known names that memory knows, in any order
   * @param whole these are all that there are
   */
  constructor(readonly from: number, known: Iterable<Dentry>, whole: boolean) {
    this.#beyond = [...known].filter(({ child, cookie }) => child !== 0 && cookie > from)
      .sort(byCookie);
    this.#upto = from;
    if (whole) this.extend([], Infinity);
  }

  /** Cookie of the last name in the range, or of one beyond it; Infinity: there are no more. */
  get upto(): number {
    return this.#upto;
  }

  /** A name was given, with a cookie above all others. */
  append(dentry: Dentry): void {
    (this.#upto === Infinity ? this.#entries : this.#beyond).push(dentry);
  }

  /** A name of the directory was replaced or removed. */
  dropped(): void {
    this.#gone++;
    if (this.#gone < 64 || 2 * this.#gone < this.#entries.length) return;
    this.#entries = this.#entries.filter(({ gone }) => !gone);
    this.#beyond = this.#beyond.filter(({ gone }) => !gone);
    this.#gone = 0;
  }

  /**
   * The range goes on to `upto`: there the store has the names of `page`, as memory knows them by
   * now. Other names there that only memory knows are added.
   */
  extend(page: readonly Dentry[], upto: number): void {
    const end = this.#beyond.findIndex(({ cookie }) => cookie > upto);
    const mine = end === -1 ? this.#beyond : this.#beyond.slice(0, end);
    this.#beyond = end === -1 ? [] : this.#beyond.slice(end);
    const inside = page.filter(({ child, cookie }) =>
      child !== 0 && cookie > this.#upto && cookie <= upto
    );
    for (const dentry of [...new Set([...inside, ...mine])].sort(byCookie)) {
      this.#entries.push(dentry);
    }
    this.#upto = upto;
  }

  /** Up to `limit` names after a cookie of the range, in order. */
  after(cookie: number, limit: number): Dentry[] {
    let [low, high] = [0, this.#entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#entries[middle]!.cookie > cookie) high = middle;
      else low = middle + 1;
    }
    const out: Dentry[] = [];
    for (let i = low; i < this.#entries.length && out.length < limit; i++) {
      if (!this.#entries[i]!.gone) out.push(this.#entries[i]!);
    }
    return out;
  }
}

function byCookie(a: Dentry, b: Dentry): number {
  return a.cookie - b.cookie;
}
