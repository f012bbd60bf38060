import { TarboxError } from "../base/errors.ts";
import { checkpointTime } from "../layer/times.ts";
import type { LayerRow } from "../store/rows.ts";
import type { Store } from "../store/store.ts";

/**
 * The layer command that a write to a control file asks for; null: the file is only read.
 * Commands are named by the file's path below `/.tarbox`.
 */
export function controlRequest(
  file: string,
  argument: string,
): { readonly command: string; readonly argument: unknown } | null {
  if (argument === "") return null;
  switch (file) {
    case "layers/new":
      return { command: "checkpoint", argument: { name: argument } };
    case "layers/switch":
      return { command: "switch", argument: { ref: argument } };
    case "layers/drop":
      return { command: "drop", argument: { ref: argument } };
    default:
      throw new TarboxError(`${file}: it cannot be written`);
  }
}

/** The text of a control file. */
export async function controlAnswer(
  store: Store,
  workspaceName: string,
  file: string,
): Promise<string> {
  const workspace = (await store.workspace(workspaceName))!;
  const layers = await store.layers();
  const byId = new Map(layers.map((layer) => [layer.id, layer]));
  const chain: LayerRow[] = [];
  for (
    let layer = workspace.base === null ? undefined : byId.get(workspace.base);
    layer !== undefined;
    layer = layer.parent === null ? undefined : byId.get(layer.parent)
  ) chain.push(layer);
  switch (file) {
    case "layers/list":
      return chain.map(line).join("");
    case "layers/current":
      return chain.length === 0 ? "" : `${chain[0]!.name}\n`;
    case "layers/tree":
      return layers.filter((layer) => layer.workspace === workspace.id).map(line).join("");
    default:
      return "";
  }
}

function line(layer: LayerRow): string {
  const message = layer.message === "" ? "" : `\t${layer.message}`;
  return `${layer.name}\t${layer.uid.slice(0, 12)}\t${checkpointTime(layer.createdAt)}${message}\n`;
}
