/** Random trees: steps that a filesystem would allow, and what a state looks like. */
import fc from "fast-check";
import { text } from "../../src/base/bytes.ts";
import { isRegular } from "../../src/base/modes.ts";
import { readWhole, walk } from "../../src/layer/file.ts";
import type { Point } from "../../src/store/rows.ts";
import type { TreeFixture } from "./fixture.ts";

const NAMES = ["a", "b", "c"];
const path = fc.array(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 3, size: "max" })
  .map((parts) => `/${parts.join("/")}`);

/** One operation on a tree, or a checkpoint. */
export type Step =
  | { readonly kind: "write"; readonly at: string; readonly content: string }
  | { readonly kind: "mkdir" | "remove" | "chmod"; readonly at: string }
  | { readonly kind: "rename" | "link"; readonly at: string; readonly to: string }
  | { readonly kind: "seal" };

/** Any step on a few names. */
export const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("write" as const),
      at: path,
      content: fc.constantFrom("", "x", "yy", "zz"),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        "mkdir" as const,
        "mkdir" as const,
        "remove" as const,
        "chmod" as const,
      ),
      at: path,
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom("rename" as const, "rename" as const, "link" as const),
      at: path,
      to: path,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("seal" as const) }) },
);

/** Does a step where a filesystem would allow it; else nothing. */
export async function take(
  tree: TreeFixture,
  step: Exclude<Step, { kind: "seal" }>,
): Promise<void> {
  const { head } = await tree.row();
  const places = new Map<string, boolean>();
  for await (const place of walk(tree.store, await tree.store.chain(head))) {
    places.set(text(place.path), isRegular(place.inode.mode));
  }
  const isFile = (at: string) => places.get(at);
  const parentIsThere = (at: string) =>
    places.get(at.slice(0, at.lastIndexOf("/")) || "/") === false;
  const { at } = step;
  switch (step.kind) {
    case "write":
      if (parentIsThere(at) && isFile(at) !== false) await tree.write(at, step.content);
      break;
    case "mkdir":
      if (parentIsThere(at) && isFile(at) === undefined) await tree.mkdir(at);
      break;
    case "remove": {
      const empty = ![...places.keys()].some((other) => other.startsWith(`${at}/`));
      if (places.has(at) && empty) await tree.remove(at);
      break;
    }
    case "chmod":
      if (places.has(at)) await tree.chmod(at, 0o700);
      break;
    case "rename": {
      const inside = `${step.to}/`.startsWith(`${at}/`);
      const free = isFile(step.to) === undefined;
      if (places.has(at) && parentIsThere(step.to) && !inside && free) {
        await tree.rename(at, step.to);
      }
      break;
    }
    case "link":
      if (isFile(at) && parentIsThere(step.to) && isFile(step.to) === undefined) {
        await tree.link(at, step.to);
      }
  }
}

/** Every path with what can be seen of it. */
export async function picture(tree: TreeFixture, point: Point): Promise<Map<string, string>> {
  const chain = await tree.store.chain(point);
  const out = new Map<string, string>();
  for await (const { path, inode } of walk(tree.store, chain)) {
    const content = isRegular(inode.mode)
      ? text(await readWhole(tree.store, chain, inode))
      : "directory";
    out.set(text(path), `${inode.inode} ${inode.mode} ${inode.mtime} ${content}`);
  }
  return out;
}
