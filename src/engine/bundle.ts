/**
 * The engine's programs: which of a package's files are needed, and one compressed file of them, the
 * bundle, which the compiled binary holds.
 *
 * A bundle is zstd (RFC 8878) of: u32 little-endian length of the header, the header as JSON (an array
 * of {@link BundleEntry}), and the contents of the files in its order.
 */
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { basename, dirname, join } from "node:path";

/** A file of the engine, by its path from its root folder; folders are implied. */
export type BundleEntry =
  | { readonly path: string; readonly mode: number; readonly length: number }
  | { readonly path: string; readonly link: string };

/** Headers, static libraries, embedded SQL in C, and what starts a server by hand. */
const NOT_NEEDED =
  /\.a$|^include\/|pkgconfig\/|pgxs\/|lib(ecpg|pgtypes)|^bin\/(?!postgres$|initdb$)/;

/** Writes the needed files of a package's tree `native` to a new folder, as programs that can run. */
export async function unpackPackage(native: string, target: string): Promise<void> {
  for (const entry of await neededEntries(native)) {
    const content = "link" in entry ? EMPTY : await Deno.readFile(join(native, entry.path));
    await writeEntry(target, entry, content);
  }
}

/** Packs the needed files of a package's tree. */
export async function packBundle(native: string): Promise<Uint8Array<ArrayBuffer>> {
  const entries = await neededEntries(native);
  const header = new TextEncoder().encode(JSON.stringify(entries));
  const parts = [new Uint8Array(Uint32Array.of(header.length).buffer), header];
  for (const entry of entries) {
    if (!("link" in entry)) parts.push(await Deno.readFile(join(native, entry.path)));
  }
  return new Uint8Array(zstdCompressSync(new Uint8Array(await new Blob(parts).arrayBuffer())));
}

/** Writes what a bundle holds to a new folder; everything is on the disk when it returns. */
export async function unpackBundle(bundle: Uint8Array, target: string): Promise<void> {
  const bytes = zstdDecompressSync(bundle);
  const start = 4 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const header: BundleEntry[] = JSON.parse(new TextDecoder().decode(bytes.subarray(4, start)));
  let at = start;
  for (const entry of header) {
    const length = "link" in entry ? 0 : entry.length;
    await writeEntry(target, entry, bytes.subarray(at, at + length));
    at += length;
  }
}

const EMPTY = new Uint8Array();

async function writeEntry(target: string, entry: BundleEntry, content: Uint8Array): Promise<void> {
  const path = join(target, entry.path);
  await Deno.mkdir(dirname(path), { recursive: true, mode: 0o755 });
  if ("link" in entry) return await Deno.symlink(entry.link, path);
  // On the disk before the folder gets its name: a crash must not leave a half one under it.
  using file = await Deno.open(path, { createNew: true, write: true });
  for (let at = 0; at < content.length;) at += await file.write(content.subarray(at));
  await file.sync();
  await Deno.chmod(path, entry.mode);
}

async function neededEntries(native: string): Promise<BundleEntry[]> {
  const entries: BundleEntry[] = [];
  const read = async (folder: string) => {
    for await (const { name, isDirectory, isFile } of Deno.readDir(join(native, folder))) {
      const path = folder === "" ? name : `${folder}/${name}`;
      if (isDirectory) await read(path);
      else if (isFile && !NOT_NEEDED.test(path)) {
        const mode = folder === "bin" ? 0o755 : 0o644;
        entries.push({ path, mode, length: (await Deno.stat(join(native, path))).size });
      }
    }
  };
  await read("");
  entries.push(...await links(native));
  return entries.sort((a, b) => a.path < b.path ? -1 : 1);
}

/** npm packages hold no symbolic links; the package lists those of its libraries. */
async function links(native: string): Promise<BundleEntry[]> {
  const list: { source: string; target: string }[] = JSON.parse(
    await Deno.readTextFile(join(native, "pg-symlinks.json")),
  );
  return list.map(({ source, target }) => ({
    path: target.replace(/^native\//, ""),
    link: basename(source),
  })).filter(({ path }) => !NOT_NEEDED.test(path));
}
