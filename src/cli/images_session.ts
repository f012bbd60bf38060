import { InvalidArgumentError } from "commander";
import { ancestry } from "../layer/chains.ts";
import { layerFacts } from "../layer/commands.ts";
import type { ExportLayer } from "../oci/pack.ts";
import type { LayerRow } from "../store/rows.ts";
import { onWorkspace, printJson, resolveFlushed } from "./layers_session.ts";
import type { Session } from "./session.ts";

/** Adds one `key=value` to those before. */
export function pair(
  value: string,
  before: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const at = value.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("It must be KEY=VALUE.");
  return { ...before, [value.slice(0, at)]: value.slice(at + 1) };
}

/** A whole number above 0. */
export function count(value: string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number) || number < 1) {
    throw new InvalidArgumentError("It must be a whole number above 0.");
  }
  return number;
}

/** The states of a reference's chain, the bottom one first. */
export async function chainOf(session: Session, ref: string): Promise<ExportLayer[]> {
  const found = await resolveFlushed(session, ref);
  const all = await session.store.layers();
  const sealed = ancestry(all, found.layer?.id ?? found.workspace.base).reverse();
  if (found.layer !== null) return sealed;
  // The time of an unsealed head is that of what it stands on: the same tree, the same digest.
  const createdAt = sealed.at(-1)?.createdAt ?? found.workspace.createdAt;
  return [...sealed, {
    name: found.label,
    message: "",
    createdAt,
    point: found.point,
    sealed: false,
  }];
}

/** Puts the head on the topmost of new layers when that was asked for, and prints their names. */
export async function tellImported(
  session: Session,
  layers: readonly LayerRow[],
  switched: boolean,
): Promise<void> {
  const top = layers.at(-1)!;
  if (switched) await onWorkspace(session, "switch", { ref: top.uid, discard: false });
  if (session.json) return await printJson(session, { layers: layers.map(layerFacts), switched });
  if (session.quiet) return;
  await session.out(layers.map(({ name }) => `${name}\n`).join(""));
}
