import type { Command } from "commander";
import { text } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import { layerUsage } from "../layer/usage.ts";
import type { Point } from "../store/rows.ts";
import { type ExportLayer, samePoint } from "../oci/pack.ts";
import { resolve } from "../layer/references.ts";
import { parseCompression } from "../oci/compression.ts";
import { type ExportFormat, exportImage } from "../oci/export.ts";
import { parsePlatform } from "../oci/platform.ts";
import { IMPORT_DEFAULTS, importImage } from "../oci/import.ts";
import { examples } from "./examples.ts";
import { type ImageProgress, watchProgress } from "./image_progress.ts";
import { chainOf, count, pair, tellImported } from "./images_session.ts";
import type { Run, Session } from "./session.ts";

interface ExportCommandOptions {
  readonly output?: string;
  readonly format: ExportFormat;
  readonly compress?: string;
  readonly squash?: boolean;
  readonly since?: string;
  readonly skipUnrepresentable?: boolean;
  readonly label: Readonly<Record<string, string>>;
  readonly annotation: Readonly<Record<string, string>>;
}

interface ImportCommandOptions {
  readonly name?: string;
  readonly prefix: string;
  readonly image?: string;
  readonly platform?: string;
  readonly switch?: boolean;
  readonly maxBytes: number;
  readonly maxEntries: number;
}

const FORMATS: readonly string[] = ["oci", "layer", "rootfs"];

/** `export` and `import`. */
export function addImageCommands(program: Command, run: Run): void {
  program
    .command("export")
    .description("write a checkpoint with all below it as an OCI image archive to standard output")
    .argument("<REF>", "a layer, or head for what is unsealed too")
    .option("-o, --output <FILE>", "write to FILE; it appears only when it is complete")
    .option(
      "--format <FORMAT>",
      "oci; layer: that layer's changes as a tar; rootfs: the tree",
      "oci",
    )
    .option(
      "--compress <KIND>",
      "stored (gzip without compression), gzip, zstd or none (default: stored; tars: none)",
    )
    .option("--squash", "one layer with everything")
    .option("--since <REF>", "only what came after that layer")
    .option("--skip-unrepresentable", "leave out what no image can hold, and list it")
    .option("--label <KEY=VALUE>", "put a label on the image; may be given again", pair, {})
    .option("--annotation <KEY=VALUE>", "annotate the manifest; may be given again", pair, {})
    .addHelpText(
      "after",
      examples(
        "tarbox export ckpt-3 > image.tar",
        "tarbox export head --compress zstd -o image.tar",
        "tarbox export ckpt-3 --format rootfs -o tree.tar",
      ),
    )
    .action((ref: string, options: ExportCommandOptions, command: Command) =>
      run(command, (session) => exportCommand(session, ref, options))
    );

  program
    .command("import")
    .description("add the layers of an OCI or docker image archive to the workspace")
    .argument("[FILE]", "the archive, or a directory with an OCI layout (default: standard input)")
    .option("--name <NAME>", "it is a plain tar: make one layer of it, of this name")
    .option("--prefix <TEXT>", "put before the names of the layers", "")
    .option("--image <REF>", "which image, where the archive has several")
    .option("--platform <OS/ARCH>", "which platform, where the image has several")
    .option("--switch", "put the workspace's head on the image afterwards")
    .option(
      "--max-bytes <N>",
      "refuse archives that unpack to more",
      count,
      IMPORT_DEFAULTS.maxBytes,
    )
    .option(
      "--max-entries <N>",
      "refuse archives with more files",
      count,
      IMPORT_DEFAULTS.maxEntries,
    )
    .addHelpText(
      "after",
      examples(
        "tarbox import --switch image.tar",
        "zstd -dc image.tar.zst | tarbox import --prefix old-",
        "tarbox import --name vendor vendor.tar",
      ),
    )
    .action((file: string | undefined, options: ImportCommandOptions, command: Command) =>
      run(command, (session) => importCommand(session, file, options))
    );
}

async function exportCommand(
  session: Session,
  ref: string,
  options: ExportCommandOptions,
): Promise<void> {
  if (!FORMATS.includes(options.format)) {
    throw new TarboxError(
      `--format ${options.format}: there is no such format`,
      `use one of ${FORMATS.join(", ")}`,
      2,
    );
  }
  const compression = parseCompression(
    options.compress ?? (options.format === "oci" ? "stored" : "none"),
  );
  if (options.output === undefined && Deno.stdout.isTerminal()) {
    throw new TarboxError(
      "export: standard output is a terminal, and an archive is no text",
      "name a file with -o, or redirect the output",
      2,
    );
  }
  const layers = await chainOf(session, ref);
  const since = options.since === undefined
    ? null
    : (await resolve(session.store, session.workspace, options.since)).point;
  const lefts: string[] = [];
  const bytes = exportImage(session.store, layers, {
    format: options.format,
    compression,
    squash: options.squash ?? false,
    since,
    reference: ref,
    leftOut: options.skipUnrepresentable
      ? (path, why) => lefts.push(`left out /${text(path)}: ${why}`)
      : null,
    notes: { labels: options.label, annotations: options.annotation },
    notice: (message) => console.error(`tarbox: export ${ref}: ${message}`),
  });
  using progress = watchProgress(`export ${ref}`, session.quiet);
  if (progress.shown) progress.expect(await sizeOf(session, layers, since));
  if (options.output === undefined) {
    for await (const chunk of progress.of(bytes)) await session.out(chunk);
  } else {
    await writeWhole(options.output, bytes, progress);
  }
  for (const line of new Set(lefts)) console.error(line);
}

/** Bytes of the files that the layers have, about what an export of them has. */
async function sizeOf(
  session: Session,
  chain: readonly ExportLayer[],
  since: Point | null,
): Promise<number> {
  const all = await session.store.layers();
  const start = chain.findIndex(({ point }) => samePoint(point, since));
  const wanted = chain.slice(start + 1).flatMap(({ point }) =>
    all.filter((layer) => samePoint(layer.point, point)).slice(0, 1)
  );
  const usage = await layerUsage(session.store, wanted, all);
  return usage.reduce((sum, { bytes }) => sum + bytes, 0);
}

/**
 * Writes a file that appears under its name only when it is complete. A device or pipe is written to
 * as it is: a rename would put a file in its place.
 */
async function writeWhole(
  path: string,
  bytes: AsyncIterable<Uint8Array>,
  progress: ImageProgress,
): Promise<void> {
  const info = await Deno.stat(path).catch(() => null);
  if (info !== null && !info.isFile) {
    using device = await Deno.open(path, { write: true });
    return await copyTo(device, bytes, progress);
  }
  const partial = `${path}.partial-${Deno.pid}`;
  try {
    {
      using file = await Deno.open(partial, { write: true, createNew: true });
      await copyTo(file, bytes, progress);
      await file.sync();
    }
    await Deno.rename(partial, path);
  } catch (error) {
    await Deno.remove(partial).catch(() => {});
    throw error;
  }
}

async function copyTo(
  file: Deno.FsFile,
  bytes: AsyncIterable<Uint8Array>,
  progress: ImageProgress,
): Promise<void> {
  for await (const chunk of progress.of(bytes)) {
    for (let at = 0; at < chunk.length;) at += await file.write(chunk.subarray(at));
  }
}

async function importCommand(
  session: Session,
  file: string | undefined,
  options: ImportCommandOptions,
): Promise<void> {
  if (file === undefined && Deno.stdin.isTerminal()) {
    throw new TarboxError(
      "import: standard input is a terminal, and an archive is no text",
      "name a file, or redirect the input",
      2,
    );
  }
  if (file !== undefined) await requireReadable(file);
  const workspace = await session.row();
  using progress = watchProgress("import", session.quiet);
  const source = file === undefined || file === "-" ? Deno.stdin.readable : file;
  const layers = await importImage(session.store, workspace, source, {
    prefix: options.prefix,
    name: options.name ?? null,
    image: options.image ?? null,
    platform: options.platform === undefined ? null : parsePlatform(options.platform),
    notice: session.quiet ? () => {} : (message) => console.error(`tarbox: import: ${message}`),
    maxBytes: options.maxBytes,
    maxEntries: options.maxEntries,
    applied: (bytes, of) => {
      progress.expect(of);
      progress.add(bytes);
    },
  });
  await tellImported(session, layers, options.switch ?? false);
}

async function requireReadable(file: string): Promise<void> {
  if (file === "-") return;
  try {
    await Deno.stat(file);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new TarboxError(`import ${file}: there is no such file`);
  }
}
