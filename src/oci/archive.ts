import { join } from "node:path";
import { latin1, text } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import { decompress } from "./compression.ts";
import { joinPath, parentPath } from "./paths.ts";
import { fileBytes, spoolTo } from "./spool.ts";
import { readTar } from "./tar_reader.ts";

/** A file inside an archive or a layout directory. */
export interface Member {
  readonly size: number;
  open(): AsyncGenerator<Uint8Array>;
}

/** The files of an image archive by path, in whatever order they came. */
export interface Members {
  /** @returns null when there is no such file. */
  find(path: string): Promise<Member | null>;
}

/** Links followed from one name of an archive before it counts as a loop. */
const MAX_LINKS = 8;

/** Members of an archive; more than any image has, fewer than hurt. */
const MAX_MEMBERS = 100_000;

/**
 * The files of an image archive. A plain tar file is read where it is; a stream or a packed archive
 * goes to a temporary file in `spool` first, since members may come in any order.
 *
 * @throws {TarboxError} when it is no tar, is damaged, or holds more than `maxBytes`.
 */
export async function openArchive(
  source: AsyncIterable<Uint8Array> | string,
  spool: string,
  maxBytes: number,
): Promise<Members> {
  if (typeof source === "string") {
    const info = await Deno.stat(source);
    if (info.isDirectory) return directoryMembers(source);
    if (info.isFile && await isPlainTar(source)) return await tarMembers(source);
  }
  const path = join(spool, "archive");
  const bytes = typeof source === "string" ? fileBytes(source) : source;
  await spoolTo(path, decompress(bytes, "the archive"), maxBytes);
  return await tarMembers(path);
}

/** Whether ustar's magic is where it belongs; anything else is unpacked or refused later. */
async function isPlainTar(path: string): Promise<boolean> {
  const first: number[] = [];
  for await (const chunk of fileBytes(path, 0, 512)) first.push(...chunk);
  return latin1(Uint8Array.from(first.slice(257, 262))) === "ustar";
}

function directoryMembers(directory: string): Members {
  return {
    async find(path) {
      // Names come from documents of the image: none may lead out of the directory.
      if (path.split("/").some((part) => part === ".." || part === "")) return null;
      const file = join(directory, path);
      try {
        const root = await Deno.realPath(directory);
        const real = await Deno.realPath(file);
        const info = await Deno.stat(real);
        if (!info.isFile || !real.startsWith(`${root}/`)) return null;
        return { size: info.size, open: () => fileBytes(real) };
      } catch (error) {
        if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
          return null;
        }
        throw error;
      }
    },
  };
}

async function tarMembers(file: string): Promise<Members> {
  const files = new Map<string, { readonly offset: number; readonly size: number }>();
  const links = new Map<string, string>();
  let count = 0;
  const source = fileBytes(file);
  try {
    for await (const { entry, offset } of readTar(source, { name: "the archive", endMark: true })) {
      const path = latin1(entry.path);
      if (++count > MAX_MEMBERS) {
        throw new TarboxError(
          `the archive has more than ${MAX_MEMBERS} members: it is no image archive`,
          "to import it as one layer give that a name with --name",
        );
      }
      if (entry.type === "directory") continue;
      if (files.has(path) || links.has(path)) {
        throw new TarboxError(`the archive has ${text(entry.path)} twice`);
      }
      if (entry.type === "file") files.set(path, { offset, size: entry.size });
      if (entry.type === "symlink") {
        links.set(path, joinRelative(parentPath(path), latin1(entry.target)));
      }
      if (entry.type === "link") links.set(path, latin1(entry.target));
    }
  } finally {
    await source.return(undefined);
  }
  return {
    async find(path) {
      let at = path;
      for (let followed = 0; followed <= MAX_LINKS; followed++) {
        const found = files.get(at);
        if (found !== undefined) {
          return { size: found.size, open: () => fileBytes(file, found.offset, found.size) };
        }
        const next = links.get(at);
        if (next === undefined) return null;
        at = next;
      }
      return null;
    },
  };
}

/** The path of a relative link; one that leaves the archive names nothing. */
function joinRelative(directory: string, target: string): string {
  let at = directory;
  for (const part of target.split("/")) {
    if (part === "..") at = parentPath(at);
    else if (part !== "." && part !== "") at = joinPath(at, part);
  }
  return at;
}
