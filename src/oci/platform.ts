import { TarboxError } from "../base/errors.ts";

/** What an image runs on, as the OCI image spec names it (`GOOS`, `GOARCH`, variant). */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  /** Null: any. */
  readonly variant: string | null;
}

/** The platform of this machine. */
export function thisPlatform(): Platform {
  const architecture = Deno.build.arch === "aarch64" ? "arm64" : "amd64";
  return { os: "linux", architecture, variant: null };
}

/** A platform written `os/architecture[/variant]`. @throws {TarboxError} for anything else. */
export function parsePlatform(written: string): Platform {
  const match = /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/([a-z0-9.]+))?$/.exec(written);
  if (match === null) {
    throw new TarboxError(
      `--platform ${written}: that is no platform`,
      "write it as linux/amd64 or linux/arm/v7",
      2,
    );
  }
  return { os: match[1]!, architecture: match[2]!, variant: match[3] ?? null };
}

/** The platform as a person writes it. */
export function formatPlatform(
  platform: { readonly os?: string; readonly architecture?: string; readonly variant?: unknown },
): string {
  const { os, architecture, variant } = platform;
  return [os ?? "?", architecture ?? "?", ...typeof variant === "string" ? [variant] : []].join(
    "/",
  );
}
