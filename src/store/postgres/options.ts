import { TarboxError } from "../../base/errors.ts";

/** How a connection is secured, as libpq's `sslmode` names it. */
export type TlsMode = "disable" | "prefer" | "require" | "verify-ca" | "verify-full";

/** Where a PostgreSQL is and who connects. */
export interface DatabaseOptions {
  /**
   * Name or address, or the directory of a unix socket (begins with `/`). Several, with commas
   * between them, are tried in order, and one that takes writes is used.
   */
  readonly host: string;
  readonly port: number;
  /** Ports of several hosts, one for each, when they differ. */
  readonly ports?: readonly number[];
  readonly database: string;
  readonly user: string;
  readonly password?: string;
  /** Connections at most. */
  readonly poolSize?: number;
  readonly tls?: TlsMode;
  /** PEM file of the authorities to trust. */
  readonly caFile?: string;
}

/** The places that {@link DatabaseOptions.host} names, in order. */
export function hostsOf(
  { host, port, ports }: DatabaseOptions,
): { readonly host: string; readonly port: number }[] {
  return host.split(",").map((name, i) => ({ host: name.trim(), port: ports?.[i] ?? port }));
}

const TLS_MODES: readonly string[] = ["disable", "prefer", "require", "verify-ca", "verify-full"];

/** The mode of a name. @throws {TarboxError} for any other. */
export function tlsMode(name: string): TlsMode {
  if (!TLS_MODES.includes(name)) {
    throw new TarboxError(`sslmode ${name}: unknown`, `one of ${TLS_MODES.join(", ")}`, 2);
  }
  return name as TlsMode;
}

/**
 * Reads `postgres://user:password@host:port/database?sslmode=…&sslrootcert=…&host=/socket/dir`.
 * @throws {TarboxError} when it is none; the password is never repeated
 */
export function parseDatabaseUrl(url: string): DatabaseOptions {
  let parsed: URL;
  try {
    // A host is needed by the URL grammar, and `postgres:///db?host=/dir` has none.
    parsed = new URL(
      url.replace(/^(postgres(?:ql)?):\/\/([^@/]*@)?\//, "http://$2socket/")
        .replace(/^postgres(?:ql)?:/, "http:"),
    );
  } catch {
    throw badUrl();
  }
  if (!/^postgres(ql)?:\/\//.test(url)) throw badUrl();
  const { searchParams } = parsed;
  const host = searchParams.get("host") ?? decodeURIComponent(parsed.hostname);
  const database = decodeURIComponent(parsed.pathname.slice(1));
  if (database === "" || (host === "socket" && !searchParams.has("host"))) throw badUrl();
  const sslmode = searchParams.get("sslmode");
  return {
    host: host.replace(/^\[(.*)\]$/, "$1"),
    port: Number(searchParams.get("port") ?? (parsed.port || "5432")),
    database,
    user: decodeURIComponent(parsed.username || "postgres"),
    password: parsed.password === "" ? undefined : decodeURIComponent(parsed.password),
    tls: sslmode === null ? undefined : tlsMode(sslmode),
    caFile: searchParams.get("sslrootcert") ?? undefined,
  };
}

function badUrl(): TarboxError {
  return new TarboxError(
    "the database URL cannot be read",
    "write postgres://USER@HOST:PORT/DATABASE; a password belongs into PGPASSWORD",
    2,
  );
}
