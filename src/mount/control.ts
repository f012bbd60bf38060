import { latin1 } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import { ancestry } from "../layer/chains.ts";
import { drop } from "../layer/checkpoint.ts";
import { compare, unifiedDiff } from "../layer/diff.ts";
import { formatTime } from "../layer/format.ts";
import { resolve } from "../layer/references.ts";
import type { LayerRow } from "../store/rows.ts";
import type { Store } from "../store/store.ts";

/** What the control directory needs of the mount. */
export interface ControlHost {
  readonly store: Store;
  /** Name of the workspace. */
  readonly workspace: string;
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
    if (argument === "") return await this.#read(file);
    try {
      await this.#write(file, argument);
      this.#lastError = "";
      return "";
    } catch (error) {
      this.#lastError = error instanceof Error ? error.message : String(error);
      throw error;
    }
  }

  async #write(file: string, argument: string): Promise<void> {
    const { store, workspace } = this.#host;
    switch (file) {
      case "layers/new":
        await this.#host.execute("checkpoint", { name: argument });
        return;
      case "layers/switch":
        await this.#host.execute("switch", { ref: argument });
        return;
      case "layers/drop":
        await drop(store, workspace, argument);
        return;
      case "layers/diff": {
        const [from, to = "head", ...more] = argument.split(/\s+/);
        if (more.length > 0) throw new TarboxError("layers/diff: write one or two references");
        await this.#host.execute("flush", {});
        this.#lastDiff = await diffText(store, workspace, from!, to);
        return;
      }
      default:
        throw new TarboxError(`${file}: it cannot be written`);
    }
  }

  async #read(file: string): Promise<string> {
    if (file === "layers/last_error") return this.#lastError === "" ? "" : `${this.#lastError}\n`;
    if (file === "layers/diff") return this.#lastDiff;
    const { store } = this.#host;
    const workspace = (await store.workspace(this.#host.workspace))!;
    const layers = await store.layers();
    const chain = ancestry(layers, workspace.base);
    switch (file) {
      case "layers/list":
        return chain.map(line).join("");
      case "layers/current":
        return chain.length === 0 ? "" : `${chain[0]!.name}\n`;
      case "layers/tree": {
        const names = new Map((await store.workspaces()).map(({ id, name }) => [id, name]));
        return layers.map((layer) => `${names.get(layer.workspace)}/${line(layer)}`).join("");
      }
      case "stats/mount":
        return JSON.stringify({
          workspace: workspace.name,
          head: workspace.head,
          lease: workspace.lease,
        }) + "\n";
      default:
        return "";
    }
  }
}

async function diffText(store: Store, workspace: string, a: string, b: string): Promise<string> {
  const [from, to] = [await resolve(store, workspace, a), await resolve(store, workspace, b)];
  let text = "";
  const compared = await compare(store, { from, to });
  for await (const part of unifiedDiff(store, compared)) text += latin1(part);
  return text;
}

function line(layer: LayerRow): string {
  const message = layer.message === "" ? "" : `\t${layer.message}`;
  return `${layer.name}\t${layer.uid.slice(0, 12)}\t${formatTime(layer.createdAt)}${message}\n`;
}
