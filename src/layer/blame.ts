import { latin1 } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import { isRegular } from "../base/modes.ts";
import type { LayerRow } from "../store/rows.ts";
import type { Reader } from "../store/store.ts";
import { readWhole, resolvePath } from "./file.ts";
import { history } from "./history.ts";
import { type Hunk, isText, MAX_DIFF_BYTES } from "./lines.ts";
import { splitLines } from "./merge_lines.ts";

/** A line of a text and where it came from. */
export interface BlamedLine {
  /** The oldest layer from which on the line is there; null: it is not sealed yet. */
  readonly layer: LayerRow | null;
  /** With its end, one character per byte. */
  readonly text: string;
}

/**
 * For each line of a text the layer that brought it. Goes down the chain as `history` does, renames
 * included, and stops as soon as every line is told.
 * @param chain newest first; where the first is the head, `head` is its row
 * @throws {TarboxError} for what is no text, or larger than what `diff` compares.
 */
export async function blame(
  reader: Reader,
  chain: readonly LayerRow[],
  path: Uint8Array,
  head: LayerRow | null,
): Promise<BlamedLine[]> {
  const state = await reader.chain(chain[0]!.point);
  const place = await resolvePath(reader, state, path, false);
  const shown = latin1(path);
  if (!isRegular(place.inode.mode)) throw new TarboxError(`blame ${shown}: it is no regular file`);
  if (place.inode.size > MAX_DIFF_BYTES) throw new TarboxError(`blame ${shown}: it is too large`);
  const bytes = await readWhole(reader, state, place.inode);
  if (!isText(bytes)) throw new TarboxError(`blame ${shown}: it is no text`);

  const lines = splitLines(latin1(bytes));
  const origins: (LayerRow | null | undefined)[] = lines.map(() => undefined);
  /** Which line of the version at hand each line that is not told yet is. */
  let open = new Map(lines.map((_, i) => [i, i]));
  for await (const { layer, file } of history(reader, chain, path)) {
    if (file.form === "same" && file.change.before !== null) continue;
    const origin = layer === head ? null : layer;
    const known = file.form === "text" && file.change.before !== null ? file.hunks : null;
    const older = new Map<number, number>();
    for (const [line, here] of open) {
      const before = known === null ? null : lineBefore(known, here);
      if (before === null) origins[line] = origin;
      else older.set(line, before);
    }
    open = older;
    if (open.size === 0) break;
  }
  return lines.map((text, i) => {
    const origin = origins[i];
    return { text, layer: origin === undefined ? chain.at(-1)! : origin };
  });
}

/** The place (from 0) that a line had before the change, or null when the change brought it. */
function lineBefore(hunks: readonly Hunk[], line: number): number | null {
  let shift = 0;
  for (const hunk of hunks) {
    let old = hunk.oldStart - 1;
    let now = hunk.newStart - 1;
    if (line < now) break;
    for (const text of hunk.lines) {
      if (text[0] === "\\") continue;
      if (text[0] === "-") {
        old++;
        continue;
      }
      if (now === line) return text[0] === "+" ? null : old;
      now++;
      if (text[0] === " ") old++;
    }
    shift = old - now;
  }
  return line + shift;
}
