import { TarboxError } from "../base/errors.ts";
import type { Descriptor } from "./image_format.ts";

/** JSON from outside, of which nothing is known but that it is an object. */
export type JsonObject = { readonly [key: string]: unknown };

function malformed(what: string): never {
  throw new TarboxError(
    `the image has a document with a malformed ${what}`,
    "the archive is damaged or was made by a broken program",
  );
}

/** The value as an object. @throws {TarboxError} when it is none. */
export function asObject(value: unknown): JsonObject {
  if (typeof value !== "object" || value === null || Array.isArray(value)) malformed("object");
  return value as JsonObject;
}

/** The value as a list of strings. @throws {TarboxError} when it is none. */
export function asStrings(value: unknown): readonly string[] {
  if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) {
    malformed("list");
  }
  return value as readonly string[];
}

/** The value as a descriptor. @throws {TarboxError} when it is none, or not by SHA-256. */
export function asDescriptor(value: unknown): Descriptor {
  const object = asObject(value);
  const { mediaType, digest, size, platform, annotations } = object;
  if (typeof mediaType !== "string") malformed("media type");
  if (typeof digest !== "string" || !/^sha256:[0-9a-f]{64}$/.test(digest)) malformed("digest");
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) malformed("size");
  const notes: Record<string, string> = {};
  if (annotations !== undefined && annotations !== null) {
    for (const [key, note] of Object.entries(asObject(annotations))) {
      if (typeof note === "string") notes[key] = note;
    }
  }
  const machine = platform === undefined || platform === null ? undefined : asObject(platform);
  return {
    mediaType,
    digest,
    size,
    annotations: notes,
    platform: machine === undefined ? undefined : {
      os: String(machine["os"]),
      architecture: String(machine["architecture"]),
      variant: typeof machine["variant"] === "string" ? machine["variant"] : undefined,
    },
  };
}
