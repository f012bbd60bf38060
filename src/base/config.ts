import { join } from "node:path";
import { parse } from "smol-toml";
import { TarboxError } from "./errors.ts";
import { parseDuration, parseSize } from "./quantity.ts";

/** The `[database]` section; passwords come from the environment or a file where they can. */
export interface DatabaseSection {
  readonly host: string;
  readonly port: number;
  /** One for each host, when `host` names several with ports of their own. */
  readonly ports?: readonly number[];
  readonly database: string;
  readonly user: string;
  readonly password?: string;
  readonly poolSize?: number;
  readonly sslmode?: string;
  readonly sslrootcert?: string;
}

/** `tarbox.toml`, with its defaults. Sizes are bytes, durations seconds. */
export interface Config {
  readonly database: DatabaseSection | null;
  readonly filesystem: {
    readonly mountPoint?: string;
    readonly blockSize: number;
    readonly maxFileSize: number;
    /** How long operations wait for a database that is away before they get EIO. */
    readonly retryTimeout: number;
    /** Age of the oldest change at which a commit begins. */
    readonly commitInterval: number;
    /** Bytes that are dirty or in flight at most. */
    readonly dirtyLimit: number;
  };
  readonly audit: {
    readonly enabled: boolean;
    readonly logLevel: string;
    readonly retentionDays: number;
  };
  readonly layer: { readonly autoCheckpoint: boolean; readonly checkpointInterval: number };
  readonly cache: {
    readonly metadataCacheSize: number;
    readonly blockCacheSize: number;
    readonly cachePolicy: string;
  };
}

type Reader = (key: string, value: unknown) => unknown;

const KEYS: Readonly<Record<string, Readonly<Record<string, Reader>>>> = {
  database: {
    host: string,
    port: ports,
    database: string,
    user: string,
    password: string,
    password_file: string,
    pool_size: integer(3, 1000),
    sslmode: oneOf("disable", "prefer", "require", "verify-ca", "verify-full"),
    sslrootcert: string,
  },
  filesystem: {
    mount_point: string,
    block_size: parseSize,
    max_file_size: parseSize,
    retry_timeout: within(parseDuration, 1, 86400, "from 1s to 1d"),
    commit_interval: within(parseDuration, 0.01, 60, "from 10ms to 60s"),
    dirty_limit: within(parseSize, 2 ** 20, 2 ** 34, "from 1MB to 16GB"),
  },
  audit: {
    enabled: boolean,
    log_level: oneOf("error", "info", "debug", "trace"),
    retention_days: integer(1, 36500),
  },
  layer: { auto_checkpoint: boolean, checkpoint_interval: parseDuration },
  cache: {
    metadata_cache_size: parseSize,
    block_cache_size: parseSize,
    cache_policy: oneOf("lru"),
  },
};

/** Checked values by section and key, as in the file. */
type Values = Record<string, Record<string, unknown>>;

/**
 * Where the configuration is: `file`, else `TARBOX_CONFIG`, else the first that is there of
 * `./tarbox.toml`, `~/.config/tarbox/tarbox.toml`, `/etc/tarbox/tarbox.toml`; else null.
 */
export async function configFile(file: string | null): Promise<string | null> {
  return file ?? Deno.env.get("TARBOX_CONFIG") ?? await firstFile();
}

/**
 * Reads the configuration, from where {@link configFile} finds it; without one, defaults.
 * @throws {TarboxError} naming the key that is wrong
 */
export async function loadConfig(file: string | null): Promise<Config> {
  const path = await configFile(file);
  if (path === null) return await configOf({});
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    throw new TarboxError(`configuration ${path}: ${(error as Error).message}`);
  }
  return await configOf(parseConfig(path, text));
}

/** The checked values of a file's text. @throws {TarboxError} */
export function parseConfig(path: string, text: string): Values {
  let tables: Record<string, unknown>;
  try {
    tables = parse(text);
  } catch (error) {
    const [first] = (error as Error).message.split("\n");
    throw new TarboxError(`configuration ${path}: ${first}`);
  }
  const values: Values = {};
  for (const [section, table] of Object.entries(tables)) {
    const keys = KEYS[section];
    if (keys === undefined) throw unknown(path, section, Object.keys(KEYS));
    if (typeof table !== "object" || table === null) {
      throw new TarboxError(`configuration ${path}: ${section} must be a section`);
    }
    values[section] = {};
    for (const [key, value] of Object.entries(table)) {
      const read = keys[key];
      if (read === undefined) throw unknown(path, `${section}.${key}`, Object.keys(keys));
      values[section][key] = read(`configuration ${path}: ${section}.${key}`, value);
    }
  }
  return values;
}

async function configOf(values: Values): Promise<Config> {
  const { filesystem = {}, audit = {}, layer = {}, cache = {} } = values;
  return {
    database: await databaseOf(values.database),
    filesystem: {
      mountPoint: filesystem.mount_point as string | undefined,
      blockSize: (filesystem.block_size ?? 4096) as number,
      maxFileSize: (filesystem.max_file_size ?? 2 ** 44) as number,
      retryTimeout: (filesystem.retry_timeout ?? 60) as number,
      commitInterval: (filesystem.commit_interval ?? 1) as number,
      dirtyLimit: (filesystem.dirty_limit ?? 64 * 2 ** 20) as number,
    },
    audit: {
      enabled: (audit.enabled ?? true) as boolean,
      logLevel: (audit.log_level ?? "info") as string,
      retentionDays: (audit.retention_days ?? 90) as number,
    },
    layer: {
      autoCheckpoint: (layer.auto_checkpoint ?? false) as boolean,
      checkpointInterval: (layer.checkpoint_interval ?? 3600) as number,
    },
    cache: {
      metadataCacheSize: (cache.metadata_cache_size ?? 256 * 2 ** 20) as number,
      blockCacheSize: (cache.block_cache_size ?? 512 * 2 ** 20) as number,
      cachePolicy: (cache.cache_policy ?? "lru") as string,
    },
  };
}

async function databaseOf(section: Record<string, unknown> = {}): Promise<DatabaseSection | null> {
  if (Object.keys(section).length === 0) return null;
  const password = Deno.env.get("PGPASSWORD") ??
    (section.password_file === undefined
      ? section.password as string | undefined
      : await passwordFile(section.password_file as string));
  return {
    host: (section.host ?? "localhost") as string,
    ...portsOf(section),
    database: (section.database ?? "tarbox") as string,
    user: (section.user ?? "tarbox") as string,
    password,
    poolSize: section.pool_size as number | undefined,
    sslmode: section.sslmode as string | undefined,
    sslrootcert: section.sslrootcert as string | undefined,
  };
}

function portsOf(
  section: Record<string, unknown>,
): { readonly port: number; readonly ports?: readonly number[] } {
  const ports = (section.port ?? [5432]) as readonly number[];
  const hosts = String(section.host ?? "localhost").split(",").length;
  if (ports.length === 1) return { port: ports[0]! };
  if (ports.length === hosts) return { port: ports[0]!, ports };
  throw new TarboxError(
    `database.port: ${ports.length} ports for ${hosts} hosts`,
    "name one port for all, or one for each",
    2,
  );
}

async function passwordFile(path: string): Promise<string> {
  try {
    return (await Deno.readTextFile(path)).replace(/\r?\n$/, "");
  } catch (error) {
    throw new TarboxError(`database.password_file ${path}: ${(error as Error).message}`);
  }
}

async function firstFile(): Promise<string | null> {
  const home = Deno.env.get("HOME");
  const places = ["tarbox.toml", "/etc/tarbox/tarbox.toml"];
  if (home !== undefined) places.splice(1, 0, join(home, ".config/tarbox/tarbox.toml"));
  for (const place of places) {
    if (await Deno.stat(place).then((info) => info.isFile, () => false)) return place;
  }
  return null;
}

function string(key: string, value: unknown): string {
  if (typeof value === "string" && value !== "") return value;
  throw new TarboxError(`${key}: a text is needed`, undefined, 2);
}

function boolean(key: string, value: unknown): boolean {
  if (typeof value === "boolean") return value;
  throw new TarboxError(`${key}: true or false is needed`, undefined, 2);
}

/** One port, or a text of several with commas: as libpq, one for each host. */
function ports(key: string, value: unknown): readonly number[] {
  const read = integer(1, 65535);
  if (typeof value !== "string") return [read(key, value) as number];
  return value.split(",").map((part) => read(key, Number(part)) as number);
}

/** A quantity between bounds. */
function within(
  read: (key: string, value: unknown) => number,
  least: number,
  most: number,
  said: string,
): Reader {
  return (key, value) => {
    const quantity = read(key, value);
    if (least <= quantity && quantity <= most) return quantity;
    throw new TarboxError(`${key}: it must be ${said}`, undefined, 2);
  };
}

function integer(least: number, most: number): Reader {
  return (key, value) => {
    if (Number.isInteger(value) && least <= (value as number) && (value as number) <= most) {
      return value;
    }
    throw new TarboxError(
      `${key}: a whole number from ${least} to ${most} is needed`,
      undefined,
      2,
    );
  };
}

function oneOf(...choices: string[]): Reader {
  return (key, value) => {
    if (choices.includes(value as string)) return value;
    throw new TarboxError(`${key}: one of ${choices.join(", ")} is needed`, undefined, 2);
  };
}

function unknown(path: string, key: string, known: readonly string[]): TarboxError {
  const name = key.slice(key.lastIndexOf(".") + 1);
  const nearest = known.toSorted((a, b) => distance(name, a) - distance(name, b))[0]!;
  return new TarboxError(
    `configuration ${path}: ${key} is unknown`,
    `did you mean ${nearest}?`,
    2,
  );
}

/** Edit distance of Levenshtein. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(
        Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)),
      );
    }
    row = next;
  }
  return row[b.length]!;
}
