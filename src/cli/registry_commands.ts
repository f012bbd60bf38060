import type { Command } from "commander";
import { text } from "../base/bytes.ts";
import { parseCompression } from "../oci/compression.ts";
import { parseImageName } from "../oci/image_name.ts";
import { IMPORT_DEFAULTS } from "../oci/import.ts";
import { parsePlatform } from "../oci/platform.ts";
import { pullImage } from "../oci/pull.ts";
import { pushImage } from "../oci/push.ts";
import { RegistryClient } from "../oci/registry_client.ts";
import { findCredentials } from "../oci/registry_credentials.ts";
import { examples } from "./examples.ts";
import { chainOf, count, pair, tellImported } from "./images_session.ts";
import { watchProgress } from "./image_progress.ts";
import { printJson } from "./layers_session.ts";
import type { Run, Session } from "./session.ts";

interface RegistryCommandOptions {
  readonly username?: string;
  readonly plainHttp?: boolean;
  readonly insecure?: boolean;
  readonly caFile: readonly string[];
}

interface PushCommandOptions extends RegistryCommandOptions {
  readonly compress: string;
  readonly squash?: boolean;
  readonly skipUnrepresentable?: boolean;
  readonly mountFrom?: string;
  readonly label: Readonly<Record<string, string>>;
  readonly annotation: Readonly<Record<string, string>>;
}

interface PullCommandOptions extends RegistryCommandOptions {
  readonly prefix: string;
  readonly platform?: string;
  readonly switch?: boolean;
  readonly maxBytes: number;
  readonly maxEntries: number;
}

/** `push` and `pull`. */
export function addRegistryCommands(program: Command, run: Run): void {
  const push = program
    .command("push")
    .description("push a checkpoint with all below it to an OCI registry")
    .argument("<REF>", "a layer, or head for what is unsealed too")
    .argument("<IMAGE>", "HOST/NAME:TAG")
    .option("--compress <KIND>", "gzip, zstd, stored (gzip without compression) or none", "gzip")
    .option("--squash", "one layer with everything")
    .option("--skip-unrepresentable", "leave out what no image can hold, and list it")
    .option("--mount-from <NAME>", "repository of the registry that has layers of it")
    .option("--label <KEY=VALUE>", "put a label on the image; may be given again", pair, {})
    .option("--annotation <KEY=VALUE>", "annotate the manifest; may be given again", pair, {})
    .addHelpText(
      "after",
      examples(
        "tarbox push ckpt-3 registry.example.org/team/tree:v3",
        "tarbox push head localhost:5000/tree:latest --plain-http",
      ),
    );
  registryOptions(push).action((
    ref: string,
    image: string,
    options: PushCommandOptions,
    command: Command,
  ) => run(command, (session) => pushCommand(session, ref, image, options)));

  const pull = program
    .command("pull")
    .description("add the layers of an image in an OCI registry to the workspace")
    .argument("<IMAGE>", "HOST/NAME:TAG or HOST/NAME@DIGEST")
    .option("--prefix <TEXT>", "put before the names of the layers", "")
    .option("--platform <OS/ARCH>", "which platform, where the image has several")
    .option("--switch", "put the workspace's head on the image afterwards")
    .option("--max-bytes <N>", "refuse images that unpack to more", count, IMPORT_DEFAULTS.maxBytes)
    .option(
      "--max-entries <N>",
      "refuse images with more files",
      count,
      IMPORT_DEFAULTS.maxEntries,
    ).addHelpText(
      "after",
      examples(
        "tarbox pull --switch registry.example.org/team/tree:v3",
        "tarbox pull debian:stable --prefix debian- --platform linux/amd64",
      ),
    );
  registryOptions(pull).action((image: string, options: PullCommandOptions, command: Command) =>
    run(command, (session) => pullCommand(session, image, options))
  );
}

function registryOptions(command: Command): Command {
  const gather = (value: string, before: readonly string[]) => [...before, value];
  return command
    .option("--username <NAME>", "with the password in TARBOX_REGISTRY_PASSWORD")
    .option("--plain-http", "speak HTTP without TLS")
    .option("--insecure", "the same")
    .option(
      "--ca-file <FILE>",
      "certificates of an authority to trust; may be given again",
      gather,
      [],
    );
}

async function connect(
  image: string,
  push: boolean,
  options: RegistryCommandOptions,
): Promise<RegistryClient> {
  const name = parseImageName(image);
  return new RegistryClient(name, push, {
    credentials: await findCredentials(name.host, options.username ?? null),
    plainHttp: options.plainHttp ?? options.insecure ?? false,
    caCertificates: await Promise.all(options.caFile.map((file) => Deno.readTextFile(file))),
  });
}

async function pushCommand(
  session: Session,
  ref: string,
  image: string,
  options: PushCommandOptions,
): Promise<void> {
  const compression = parseCompression(options.compress);
  using client = await connect(image, true, options);
  const chain = await chainOf(session, ref);
  using progress = watchProgress(`push ${ref}`, session.quiet);
  const lefts = new Set<string>();
  const pushed = await pushImage(session.store, client, chain, {
    compression,
    squash: options.squash ?? false,
    since: null,
    reference: ref,
    mountFrom: options.mountFrom ?? null,
    notes: { labels: options.label, annotations: options.annotation },
    leftOut: options.skipUnrepresentable
      ? (path, why) => lefts.add(`left out /${text(path)}: ${why}`)
      : null,
    notice: (message) => console.error(`tarbox: push ${ref}: ${message}`),
    told: (bytes) => progress.add(bytes),
  });
  for (const line of lefts) console.error(line);
  const { host, repository, tag } = client.name;
  const name = `${host}/${repository}:${tag}`;
  if (session.json) return await printJson(session, { image: name, ...pushed });
  if (session.quiet) return;
  await session.out(
    `${name}@${pushed.digest}\n${pushed.uploaded} of ${pushed.layers} layers uploaded\n`,
  );
}

async function pullCommand(
  session: Session,
  image: string,
  options: PullCommandOptions,
): Promise<void> {
  const platform = options.platform === undefined ? null : parsePlatform(options.platform);
  using client = await connect(image, false, options);
  // A name that does not exist is told before anything is downloaded.
  const workspace = await session.row();
  using progress = watchProgress(`pull ${image}`, session.quiet);
  const { layers } = await pullImage(session.store, workspace, client, {
    prefix: options.prefix,
    name: null,
    image: null,
    platform,
    maxBytes: options.maxBytes,
    maxEntries: options.maxEntries,
    notice: session.quiet ? () => {} : (message) => console.error(`tarbox: pull: ${message}`),
    applied: () => {},
  }, (bytes) => progress.add(bytes));
  await tellImported(session, layers, options.switch ?? false);
}
