import { text, utf8 } from "../base/bytes.ts";
import { TarboxError } from "../base/errors.ts";
import { type ImageName, isLoopback } from "./image_name.ts";
import { asObject } from "./json.ts";
import type { Credentials } from "./registry_credentials.ts";

/** How a registry is spoken to. */
export interface RegistryOptions {
  readonly credentials: Credentials | null;
  /** Never TLS. */
  readonly plainHttp: boolean;
  /** PEM certificates of an authority to trust besides the usual ones. */
  readonly caCertificates: readonly string[];
}

/** One request: what is sent, and which answers are no failure. */
export interface RegistryRequest {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer>;
  /** Status codes that the caller deals with. */
  readonly expect: readonly number[];
  /** Sent once, whatever happens: what is not the same when it arrives twice. */
  readonly once?: boolean;
}

/** A registry's refusal, or (status null) that it cannot be reached. */
export class RegistryError extends TarboxError {
  constructor(message: string, readonly answered: number | null, hint?: string) {
    super(message, hint);
  }

  /** Whether another attempt may go better. */
  get passing(): boolean {
    return this.answered === null || PASSING.includes(this.answered);
  }
}

/** Times that a request is sent before its failure is told. */
export const ATTEMPTS = 5;

/** Milliseconds before the second attempt; doubled for each one after. */
const BACKOFF_MS = 250;

/** Longest wait that a registry may ask for, in seconds. */
const RETRY_AFTER_MAX_SECONDS = 60;

/** Seconds that a registry may take to begin its answer, the upload of a chunk included. */
const ANSWER_SECONDS = 300;

/** Too many requests, and failures of a registry or of what stands before it. */
const PASSING: readonly number[] = [408, 425, 429, 500, 502, 503, 504];

/** Bytes of an error's body that are read. */
const ERROR_BYTES_MAX = 64 << 10;

/** Waits before the next attempt (counted from 1). */
export async function backOff(attempt: number, retryAfter: string | null = null): Promise<void> {
  const asked = Number(retryAfter ?? NaN);
  const seconds = Number.isFinite(asked)
    ? Math.min(Math.max(asked, 0), RETRY_AFTER_MAX_SECONDS)
    : 0;
  const own = BACKOFF_MS * 2 ** (attempt - 1);
  await new Promise((resolve) => setTimeout(resolve, Math.max(own, seconds * 1000)));
}

/**
 * Requests to one repository of a registry (OCI distribution spec 1.1): TLS but for loopback, Basic
 * and Bearer authentication by what the registry challenges with, attempts again where a failure may
 * pass. Credentials go to the registry's own origin and to the token server it names, nowhere else.
 */
export class RegistryClient implements Disposable {
  readonly #options: RegistryOptions;
  readonly #http: Deno.HttpClient | undefined;
  readonly #scopes: string[];
  #origin: string | null = null;
  #authorization: string | null = null;

  /** @param push Whether rights to write are asked for. */
  constructor(readonly name: ImageName, push: boolean, options: RegistryOptions) {
    this.#options = options;
    this.#scopes = [`repository:${name.repository}:${push ? "pull,push" : "pull"}`];
    this.#http = options.caCertificates.length === 0
      ? undefined
      : Deno.createHttpClient({ caCerts: [...options.caCertificates] });
  }

  [Symbol.dispose](): void {
    this.#http?.close();
  }

  /** Asks for the right to read another repository too, for mounting blobs of it. */
  alsoRead(repository: string): void {
    const scope = `repository:${repository}:pull`;
    if (this.#scopes.includes(scope)) return;
    this.#scopes.push(scope);
    this.#authorization = null;
  }

  /**
   * Sends a request to a path below the repository, or to a location that the registry gave.
   *
   * @returns the answer, its body unread.
   * @throws {TarboxError} for any status that was not expected, and when there is no answer.
   */
  async send(path: string, request: RegistryRequest): Promise<Response> {
    const origin = await this.#findOrigin();
    const url = new URL(path, `${origin}/v2/${this.name.repository}/`);
    const attempts = request.once ? 1 : ATTEMPTS;
    for (let attempt = 1;; attempt++) {
      let response: Response;
      try {
        response = await this.#authorized(url, request);
      } catch (error) {
        if (error instanceof TarboxError) throw error;
        if (attempt === attempts) throw this.#unreachable(error);
        await backOff(attempt);
        continue;
      }
      if (request.expect.includes(response.status)) return response;
      if (PASSING.includes(response.status) && attempt < attempts) {
        await response.body?.cancel();
        await backOff(attempt, response.headers.get("retry-after"));
        continue;
      }
      throw await this.#refused(response, request.method ?? "GET", url);
    }
  }

  /** Sends once, and once more with what the registry's challenge asks for. */
  async #authorized(url: URL, request: RegistryRequest): Promise<Response> {
    const trusted = url.origin === this.#origin;
    const once = () => {
      const own: Record<string, string> = trusted && this.#authorization !== null
        ? { authorization: this.#authorization }
        : {};
      const { method, headers, body } = request;
      return this.#fetch(url, { method, headers: { ...headers, ...own }, body });
    };
    const response = await once();
    if (response.status !== 401 || !trusted) return response;
    const challenge = response.headers.get("www-authenticate");
    // An old token may have expired: what the challenge says is tried once.
    const next = challenge === null ? null : await this.#answer(challenge);
    if (next === null || next === this.#authorization) return response;
    await response.body?.cancel();
    this.#authorization = next;
    return await once();
  }

  /** The `Authorization` that a challenge asks for (RFC 7235); null when there is none to give. */
  async #answer(challenge: string): Promise<string | null> {
    const { credentials } = this.#options;
    if (credentials !== null && "token" in credentials) return `Bearer ${credentials.token}`;
    if (/^basic\b/i.test(challenge)) {
      return credentials !== null && "username" in credentials ? basic(credentials) : null;
    }
    if (!/^bearer\b/i.test(challenge)) return null;
    const fields = new Map(
      [...challenge.matchAll(/([a-z_]+)="([^"]*)"/gi)].map(([, key, value]) => [
        key!.toLowerCase(),
        value!,
      ]),
    );
    const realm = fields.get("realm");
    if (realm === undefined || !URL.canParse(realm)) return null;
    return await this.#token(new URL(realm), fields.get("service"));
  }

  async #token(realm: URL, service: string | undefined): Promise<string> {
    const { host } = this.name;
    const { credentials } = this.#options;
    // Passwords do not go in the clear to a server that a registry names.
    if (credentials !== null && realm.protocol !== "https:" && !isLoopback(realm.host)) {
      if (!this.#options.plainHttp) {
        throw new TarboxError(
          `registry ${host}: its token server ${realm.origin} does not use TLS`,
          "if you trust the network, use --plain-http",
        );
      }
    }
    const init: RequestInit = {};
    if (credentials !== null && "refreshToken" in credentials) {
      const form = new URLSearchParams({
        grant_type: "refresh_token",
        refresh_token: credentials.refreshToken,
        client_id: "tarbox",
        scope: this.#scopes.join(" "),
      });
      if (service !== undefined) form.set("service", service);
      init.method = "POST";
      init.body = form;
    } else {
      for (const scope of this.#scopes) realm.searchParams.append("scope", scope);
      if (service !== undefined) realm.searchParams.set("service", service);
      if (credentials !== null && "username" in credentials) {
        init.headers = { authorization: basic(credentials) };
      }
    }
    const response = await this.#fetch(realm, init);
    if (!response.ok) {
      await response.body?.cancel();
      throw new TarboxError(
        `registry ${host}: its token server refused with status ${response.status}`,
        "log in with `docker login` or `podman login`, or use --username",
      );
    }
    const answer = asObject(await response.json());
    const token = answer["token"] ?? answer["access_token"];
    if (typeof token !== "string") {
      throw new TarboxError(`registry ${host}: its token server gave no token`);
    }
    return `Bearer ${token}`;
  }

  /** TLS, or for loopback plain HTTP where nothing speaks TLS. */
  async #findOrigin(): Promise<string> {
    if (this.#origin !== null) return this.#origin;
    const { host } = this.name;
    if (this.#options.plainHttp) return this.#origin = `http://${host}`;
    if (!isLoopback(host)) return this.#origin = `https://${host}`;
    for (const origin of [`https://${host}`, `http://${host}`]) {
      try {
        const response = await this.#fetch(new URL(`${origin}/v2/`), {});
        await response.body?.cancel();
        return this.#origin = origin;
      } catch (error) {
        if (origin.startsWith("http:")) throw this.#unreachable(error);
      }
    }
    throw this.#unreachable("no answer");
  }

  /** `fetch` with a limit on the time until the answer begins; the body may take longer. */
  async #fetch(url: URL, init: RequestInit): Promise<Response> {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), ANSWER_SECONDS * 1000);
    const options = { ...init, client: this.#http, signal: controller.signal };
    try {
      return await fetch(url, options as RequestInit);
    } finally {
      clearTimeout(timer);
    }
  }

  #unreachable(error: unknown): RegistryError {
    const message = error instanceof Error ? error.message : String(error);
    return new RegistryError(
      `registry ${this.name.host}: it cannot be reached: ${message}`,
      null,
      "is the name right? For a registry without TLS use --plain-http, for one of your own " +
        "authority --ca-file",
    );
  }

  /** The registry's words (spec, "Error codes") for people. */
  async #refused(response: Response, method: string, url: URL): Promise<RegistryError> {
    const { host, repository } = this.name;
    let words = "";
    try {
      const length = Number(response.headers.get("content-length") ?? 0);
      if (length > ERROR_BYTES_MAX) await response.body?.cancel();
      else {
        const { errors } = asObject(JSON.parse(text(await response.bytes())));
        const [first] = Array.isArray(errors) ? errors.map(asObject) : [];
        if (first !== undefined) words = `: ${first["message"] ?? first["code"]}`;
      }
    } catch {
      // A proxy's page of HTML says no more than its status.
    }
    const { status } = response;
    if (status === 401 || status === 403) {
      return new RegistryError(
        `registry ${host}: access to ${repository} is denied${words}`,
        status,
        "log in with `docker login` or `podman login`, or use --username",
      );
    }
    return new RegistryError(
      `registry ${host}: ${method} ${url.pathname} failed with status ${status}${words}`,
      status,
    );
  }
}

function basic({ username, password }: { username: string; password: string }): string {
  return `Basic ${utf8(`${username}:${password}`).toBase64()}`;
}
