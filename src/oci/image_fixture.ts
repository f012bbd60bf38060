/** Image archives made by hand for tests, sound and hostile ones. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { concatBytes, fromLatin1, text, utf8 } from "../base/bytes.ts";
import { S_IFDIR } from "../base/modes.ts";
import { readWhole, resolvePath } from "../layer/file.ts";
import { memoryStore } from "../store/memory/store.ts";
import type { LayerRow } from "../store/rows.ts";
import type { Store } from "../store/store.ts";
import { IMPORT_DEFAULTS, importImage, type ImportOptions } from "./import.ts";
import type { TarEntry } from "./tar_entry.ts";
import { contentPadding, encodeHeader, END_MARK, tarEntry } from "./tar_writer.ts";
import { describeTree, inChunks } from "./tree_fixture.ts";

/** An entry of a made tar: its path and what of it is not the default. */
export type Line = Partial<TarEntry> & { readonly at: string; readonly data?: string };

/** A tar of entries whose names are text. */
export function tar(...lines: Line[]): Uint8Array<ArrayBuffer> {
  const parts = lines.flatMap(({ at, data = "", ...fields }) => {
    const content = utf8(data);
    const entry = tarEntry({ size: content.length, mode: 0o644, ...fields, path: fromLatin1(at) });
    return [encodeHeader(entry), content, contentPadding(content.length)];
  });
  return concatBytes([...parts, END_MARK]);
}

/** A directory's line. */
export const dir = (at: string, fields: Partial<TarEntry> = {}): Line => ({
  mode: 0o755,
  ...fields,
  at,
  type: "directory",
});

/** A hard link's line. */
export const link = (at: string, target: string): Line => ({
  at,
  type: "link",
  target: utf8(target),
});

/** SHA-256 in hexadecimal. */
export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Bytes of a JSON document. */
export function json(value: unknown): Uint8Array<ArrayBuffer> {
  return utf8(JSON.stringify(value));
}

/** An image to make, sound or not. */
export interface Image {
  readonly layers: readonly Uint8Array[];
  readonly pack?: (tar: Uint8Array) => Uint8Array;
  readonly diffIds?: readonly string[];
  readonly rootfs?: string;
  readonly sizeOf?: (bytes: Uint8Array) => number;
  readonly indexOf?: (manifest: Record<string, unknown>) => unknown[];
  readonly config?: Record<string, unknown>;
  readonly extra?: readonly [string, Uint8Array][];
}

/** An image archive of somebody else's making: members in an odd order, names with `./`. */
export function image(spec: Image): Uint8Array<ArrayBuffer> {
  const blobs = new Map<string, Uint8Array>();
  const put = (mediaType: string, bytes: Uint8Array) => {
    const digest = sha256(bytes);
    blobs.set(`./blobs/sha256/${digest}`, bytes);
    const size = spec.sizeOf?.(bytes) ?? bytes.length;
    return { mediaType, digest: `sha256:${digest}`, size };
  };
  const type = "application/vnd.oci.image.";
  const layers = spec.layers.map((bytes) =>
    put(`${type}layer.v1.tar`, spec.pack?.(bytes) ?? bytes)
  );
  const diffIds = spec.diffIds ?? spec.layers.map((bytes) => `sha256:${sha256(bytes)}`);
  const config = put(
    `${type}config.v1+json`,
    json({
      architecture: "amd64",
      os: "linux",
      ...spec.config,
      rootfs: { type: spec.rootfs ?? "layers", diff_ids: diffIds },
    }),
  );
  const manifest = put(`${type}manifest.v1+json`, json({ schemaVersion: 2, config, layers }));
  const manifests = spec.indexOf?.(manifest) ?? [manifest];
  const members: [string, Uint8Array][] = [
    ["./index.json", json({ schemaVersion: 2, manifests })],
    ...[...blobs].reverse(),
    ["./oci-layout", json({ imageLayoutVersion: "1.0.0" })],
    ...spec.extra ?? [],
  ];
  return archive(members);
}

/** A tar of files. */
export function archive(members: readonly [string, Uint8Array][]): Uint8Array<ArrayBuffer> {
  const parts = members.flatMap(([path, bytes]) => [
    encodeHeader(tarEntry({ path: utf8(path), size: bytes.length })),
    bytes,
    contentPadding(bytes.length),
  ]);
  return concatBytes([...parts, END_MARK]);
}

/** A store after an import, and the layers. */
export interface Imported {
  readonly store: Store;
  readonly layers: LayerRow[];
}

/** Imports an archive into a store in memory. */
export async function importInto(
  bytes: Uint8Array,
  options: Partial<ImportOptions> = {},
): Promise<Imported> {
  const store = memoryStore();
  const row = await store.createWorkspace("main", null, { uid: 0, gid: 0, time: 0n });
  const layers = await importImage(store, row, inChunks(bytes), { ...IMPORT_DEFAULTS, ...options });
  return { store, layers };
}

/** Paths of the top layer, with what the files hold. */
export async function tree({ store, layers }: Imported): Promise<Record<string, string>> {
  const { point } = layers.at(-1)!;
  const chain = await store.chain(point);
  const out: Record<string, string> = {};
  for (const line of await describeTree(store, point)) {
    const [path] = line.split(" ");
    const { inode } = await resolvePath(store, chain, fromLatin1(path!), false);
    out[path!] = inode.mode >= 0o100000 && inode.mode < 0o110000
      ? text(await readWhole(store, chain, inode))
      : `${(inode.mode & 0o170000) === S_IFDIR ? "dir" : "other"} ${
        (inode.mode & 0o7777).toString(8)
      }`;
  }
  return out;
}

/** Holds that an archive is refused as expected and that nothing of it is left behind. */
export async function refused(
  bytes: Uint8Array,
  why: RegExp,
  options: Partial<ImportOptions> = {},
): Promise<void> {
  const store = memoryStore();
  const row = await store.createWorkspace("main", null, { uid: 0, gid: 0, time: 0n });
  const opened: number[] = [];
  const open = store.openLineage.bind(store);
  const discard = store.discardLineages.bind(store);
  store.openLineage = async (on) => {
    const point = await open(on);
    opened.push(point.lineage);
    return point;
  };
  store.discardLineages = async (lineages) => {
    await discard(lineages);
    for (const lineage of lineages) opened.splice(opened.indexOf(lineage), 1);
  };
  await assert.rejects(
    importImage(store, row, inChunks(bytes), { ...IMPORT_DEFAULTS, ...options }),
    (error: Error) => {
      assert.equal(error.name, "TarboxError", error.stack);
      assert.match(error.message, why);
      return true;
    },
  );
  assert.deepEqual(await store.layers(), []);
  assert.deepEqual(opened, [], "no lineage is left behind");
}
