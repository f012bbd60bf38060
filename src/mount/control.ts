import { latin1, utf8 } from "../base/bytes.ts";
import { ENOENT } from "../base/errno.ts";
import { TarboxError } from "../base/errors.ts";
import { ancestry } from "../layer/chains.ts";
import { drop } from "../layer/checkpoint.ts";
import { compare, unifiedDiff } from "../layer/diff.ts";
import { formatTime } from "../layer/format.ts";
import { resolve } from "../layer/references.ts";
import { layerUsage } from "../layer/usage.ts";
import type { LayerRow } from "../store/rows.ts";
import type { Store } from "../store/store.ts";
import type { MountCounts } from "./counts.ts";

/** Bytes of a diff that `layers/diff` keeps; what is longer ends with a line that says so. */
const DIFF_BYTES_MAX = 64 * 1024 * 1024;

/** Newest layers whose sizes `stats/usage` tells. */
const USAGE_LAYERS = 100;

/** What the control directory needs of the mount. */
export interface ControlHost {
  readonly store: Store;
  /** Name of the workspace. */
  readonly workspace: string;
  /** Where it is mounted. */
  readonly directory: string;
  /** What the mount did by now. */
  counts(): MountCounts;
  /** Carries out a command of the layers while the tree stands still. */
  execute(command: string, argument: unknown): Promise<unknown>;
}

/**
 * The control directory `/.tarbox`: what reading a file gives, and what writing to it does. Files
 * are named by their path below it.
 */
export class Control {
  readonly #host: ControlHost;
  #lastError = "";
  #lastDiff = "";

  constructor(host: ControlHost) {
    this.#host = host;
  }

  /**
   * Reads `file` (empty argument) or carries out what was written to it.
   * @returns the text to read; one character a byte
   * @throws what failed; `layers/last_error` tells it from then on
   */
  async perform(file: string, argument: string): Promise<string> {
    try {
      if (argument === "") return await this.#read(file);
      if (file === "at") return await this.#state(argument);
      await this.#write(file, argument);
      this.#lastError = "";
      return "";
    } catch (error) {
      const hint = error instanceof TarboxError && error.hint !== undefined ? error.hint : null;
      const message = error instanceof Error ? error.message : String(error);
      this.#lastError = `${message}\n${hint === null ? "" : `${hint}\n`}`;
      throw error;
    }
  }

  /** The state that a name under `at` refers to, as JSON; `WORKSPACE:REF` for another workspace. */
  async #state(name: string): Promise<string> {
    const ref = name.replace(/^([A-Za-z0-9][A-Za-z0-9._+-]*):/, "$1/");
    const { point, layer } = await resolve(this.#host.store, this.#host.workspace, ref);
    if (layer === null) {
      throw new TarboxError(
        `at/${name}: a head is no sealed layer`,
        "the mount itself shows it; `tarbox checkpoint` seals it",
        1,
        { errno: ENOENT },
      );
    }
    return JSON.stringify(point);
  }

  async #write(file: string, argument: string): Promise<void> {
    const { store, workspace } = this.#host;
    switch (file) {
      case "layers/new": {
        const [name, ...message] = argument.split("\n");
        await this.#host.execute("checkpoint", {
          name: name!.trim(),
          message: message.join("\n").trim(),
        });
        return;
      }
      case "layers/switch":
        await this.#host.execute("switch", { ref: argument });
        return;
      case "layers/drop":
        await drop(store, workspace, argument);
        return;
      case "layers/diff": {
        const { a, b } = twoReferences(argument);
        await this.#host.execute("flush", {});
        this.#lastDiff = await diffText(store, workspace, a, b);
        return;
      }
      default:
        throw new TarboxError(`${file}: it cannot be written`);
    }
  }

  async #read(file: string): Promise<string> {
    if (file === "layers/last_error") return latin1(utf8(this.#lastError));
    if (file === "layers/diff") return this.#lastDiff;
    return latin1(utf8(await this.#facts(file)));
  }

  async #facts(file: string): Promise<string> {
    const { store, directory } = this.#host;
    const workspace = (await store.workspace(this.#host.workspace))!;
    const current = async () =>
      workspace.base === null ? null : (await store.layer(workspace.base))?.name ?? null;
    const below = async () => ancestry(await store.layers(), workspace.base);
    switch (file) {
      case "layers/list":
        return (await below()).map(line).join("");
      case "layers/current": {
        const name = await current();
        return name === null ? "" : `${name}\n`;
      }
      case "layers/tree":
        return await treeText(store, await store.layers());
      case "at":
        return [...new Set((await below()).map(({ name }) => name))].map((name) => `${name}\n`)
          .join("");
      case "stats/mount":
        return json({
          tenant: store.tenant,
          workspace: workspace.name,
          directory,
          process: Deno.pid,
          head: workspace.head,
          layer: await current(),
          epoch: workspace.lease?.epoch ?? null,
          heartbeatAgeSeconds: workspace.lease?.ageSeconds ?? null,
          ...this.#host.counts(),
        });
      case "stats/usage": {
        const layers = await store.layers();
        const chain = ancestry(layers, workspace.base);
        const shown = chain.slice(0, USAGE_LAYERS);
        const usage = await layerUsage(store, shown, layers);
        return json({
          workspace: workspace.name,
          layers: chain.length,
          newest: shown.map(({ name }, i) => ({ name, ...usage[i]! })),
        });
      }
      default:
        throw new TarboxError(`${file}: it cannot be read`);
    }
  }
}

function json(facts: unknown): string {
  return JSON.stringify(facts, null, 2) + "\n";
}

/** Two references of a line: the second defaults to the head. A time in `@{…}` may hold a space. */
function twoReferences(argument: string): { a: string; b: string } {
  const parts = argument.match(/(?:@\{[^}]*\}|\S)+/g) ?? [];
  if (parts.length > 2) throw new TarboxError("layers/diff: write one or two references");
  return { a: parts[0]!, b: parts[1] ?? "head" };
}

async function diffText(store: Store, workspace: string, a: string, b: string): Promise<string> {
  const [from, to] = [await resolve(store, workspace, a), await resolve(store, workspace, b)];
  const parts: string[] = [];
  let length = 0;
  const compared = await compare(store, { from, to });
  for await (const part of unifiedDiff(store, compared)) {
    length += part.length;
    if (length > DIFF_BYTES_MAX) {
      parts.push("(longer than layers/diff keeps: use `tarbox diff`)\n");
      break;
    }
    parts.push(latin1(part));
  }
  return parts.join("");
}

function line(layer: LayerRow): string {
  const message = layer.message === "" ? "" : `\t${layer.message.replaceAll("\n", " ")}`;
  return `${layer.name}\t${layer.uid.slice(0, 12)}\t${formatTime(layer.createdAt)}${message}\n`;
}

/** All layers of the tenant; a branch is indented, a straight line is not. */
async function treeText(store: Store, layers: readonly LayerRow[]): Promise<string> {
  const workspaces = await store.workspaces();
  const names = new Map(workspaces.map(({ id, name }) => [id, name]));
  const heads = Map.groupBy(workspaces, ({ base }) => base);
  const above = Map.groupBy(layers, ({ parent }) => parent);
  const todo = (above.get(null) ?? []).map((layer) => ({ layer, depth: 0 })).reverse();
  let out = "";
  while (todo.length > 0) {
    const { layer, depth } = todo.pop()!;
    const standing = (heads.get(layer.id) ?? []).map(({ name }) => name).join(", ");
    const owner = names.get(layer.workspace);
    out += `${"  ".repeat(depth)}${owner}/${line(layer).trimEnd()}` +
      `${standing === "" ? "" : `\t<- ${standing}`}\n`;
    const [first, ...branches] = above.get(layer.id) ?? [];
    if (first !== undefined) todo.push({ layer: first, depth });
    for (const branch of branches.reverse()) todo.push({ layer: branch, depth: depth + 1 });
  }
  return out;
}
