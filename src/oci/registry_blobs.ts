import { TarboxError } from "../base/errors.ts";
import { ATTEMPTS, backOff, type RegistryClient, RegistryError } from "./registry_client.ts";
import { Digester, fileBytes } from "./spool.ts";

/** Bytes of one request of an upload; what a lost connection costs at most. */
const CHUNK_BYTES = 16 << 20;

/** Milliseconds without a byte after which a download counts as broken. */
const IDLE_MS = 60_000;

/** Whether the repository has a blob. */
export async function hasBlob(client: RegistryClient, digest: string): Promise<boolean> {
  const response = await client.send(`blobs/${digest}`, { method: "HEAD", expect: [200, 404] });
  await response.body?.cancel();
  return response.status === 200;
}

/** Bytes to upload: read from any offset, as often as needed. */
export interface Upload {
  readonly digest: string;
  readonly size: number;
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** The bytes of a file as an upload. */
export function fileUpload(path: string, digest: string, size: number): Upload {
  return {
    digest,
    size,
    async read(offset, length) {
      const out = new Uint8Array(length);
      let at = 0;
      for await (const chunk of fileBytes(path, offset, length)) {
        out.set(chunk, at);
        at += chunk.length;
      }
      return out;
    },
  };
}

/** Bytes in memory as an upload. */
export function bytesUpload(bytes: Uint8Array<ArrayBuffer>, digest: string): Upload {
  return {
    digest,
    size: bytes.length,
    read: async (offset, length) => bytes.subarray(offset, offset + length),
  };
}

/**
 * Has the registry take a blob over from another of its repositories.
 *
 * @returns false when it will not; what it began is cancelled.
 */
export async function mountBlob(
  client: RegistryClient,
  digest: string,
  from: string,
): Promise<boolean> {
  client.alsoRead(from);
  const query = new URLSearchParams({ mount: digest, from });
  const response = await client.send(`blobs/uploads/?${query}`, {
    method: "POST",
    headers: { "content-length": "0" },
    // Without the right to read there the registry may refuse outright.
    expect: [201, 202, 401, 403, 404],
  });
  await response.body?.cancel();
  if (response.status === 201) return true;
  const location = response.headers.get("location");
  if (response.status === 202 && location !== null) {
    const cancelled = await client.send(location, {
      method: "DELETE",
      expect: [200, 202, 204, 404, 405],
    });
    await cancelled.body?.cancel();
  }
  return false;
}

/**
 * Uploads a blob: in one piece when it is small, else in chunks, going on after a lost connection
 * from what the registry has.
 *
 * @param told Called with the bytes of each chunk that arrived.
 * @throws {TarboxError} when the registry refuses, or cannot be reached several times in a row.
 */
export async function uploadBlob(
  client: RegistryClient,
  upload: Upload,
  told: (bytes: number) => void,
): Promise<void> {
  let session = await begin(client);
  let offset = 0;
  let failures = 0;
  const size = Math.max(CHUNK_BYTES, session.chunkMin);
  while (true) {
    try {
      if (upload.size <= size || offset === upload.size) {
        return await finish(client, session, upload, offset, told);
      }
      const body = await upload.read(offset, Math.min(size, upload.size - offset));
      const response = await client.send(session.location, {
        method: "PATCH",
        headers: {
          "content-type": "application/octet-stream",
          "content-range": `${offset}-${offset + body.length - 1}`,
        },
        body,
        expect: [202, 204],
        // Whether a chunk arrived is asked, not guessed: sent twice it would be there twice.
        once: true,
      });
      await response.body?.cancel();
      const location = response.headers.get("location") ?? session.location;
      const end = endOf(response) ?? offset + body.length;
      if (end <= offset || end > upload.size) throw lostTrack(client, upload);
      told(end - offset);
      session = { ...session, location };
      offset = end;
      failures = 0;
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error;
      // 404: the session is gone; 416: the chunk is not the next one.
      if (!error.passing && error.answered !== 404 && error.answered !== 416) throw error;
      if (++failures >= ATTEMPTS) throw error;
      await backOff(failures);
      // The answer to the last request may have been lost on its way.
      if (await hasBlob(client, upload.digest)) return;
      const resumed = await progress(client, session.location);
      if (resumed === null || upload.size <= size || resumed.offset > upload.size) {
        session = await begin(client);
        offset = 0;
      } else {
        session = { ...session, location: resumed.location };
        offset = resumed.offset;
      }
    }
  }
}

/** The closing request, with all that is left of the blob. */
async function finish(
  client: RegistryClient,
  session: UploadSession,
  upload: Upload,
  offset: number,
  told: (bytes: number) => void,
): Promise<void> {
  const body = await upload.read(offset, upload.size - offset);
  const separator = session.location.includes("?") ? "&" : "?";
  const digest = encodeURIComponent(upload.digest);
  const response = await client.send(`${session.location}${separator}digest=${digest}`, {
    method: "PUT",
    headers: { "content-type": "application/octet-stream" },
    body,
    expect: [201, 204],
    once: true,
  });
  await response.body?.cancel();
  told(body.length);
}

interface UploadSession {
  readonly location: string;
  /** Fewest bytes of a chunk but the last. */
  readonly chunkMin: number;
}

async function begin(client: RegistryClient): Promise<UploadSession> {
  const response = await client.send("blobs/uploads/", {
    method: "POST",
    headers: { "content-length": "0" },
    expect: [202],
  });
  await response.body?.cancel();
  const location = response.headers.get("location");
  if (location === null) {
    throw new TarboxError(`registry ${client.name.host}: it began an upload without a location`);
  }
  return { location, chunkMin: Number(response.headers.get("oci-chunk-min-length") ?? 0) || 0 };
}

/** How far an upload has come; null when the registry has forgotten it. */
async function progress(
  client: RegistryClient,
  location: string,
): Promise<{ location: string; offset: number } | null> {
  const response = await client.send(location, { expect: [204, 404, 405] });
  await response.body?.cancel();
  if (response.status !== 204) return null;
  return {
    location: response.headers.get("location") ?? location,
    offset: endOf(response) ?? 0,
  };
}

/** Bytes that a registry has by its `Range: 0-N`; some say `0-0` for none and for one. */
function endOf(response: Response): number | null {
  const match = /^(?:bytes=)?0-(\d+)$/.exec(response.headers.get("range") ?? "");
  if (match === null) return null;
  const last = Number(match[1]);
  return last === 0 ? 0 : last + 1;
}

function lostTrack(client: RegistryClient, upload: Upload): TarboxError {
  return new TarboxError(
    `registry ${client.name.host}: it lost track of the upload of ${upload.digest}`,
  );
}

/**
 * Downloads a blob to a new file, going on by `Range` where a connection broke, and verifies size
 * and digest.
 *
 * @param told Called with the number of bytes of each piece.
 * @throws {TarboxError} when it is not what the digest says.
 */
export async function downloadBlob(
  client: RegistryClient,
  blob: { readonly digest: string; readonly size: number },
  path: string,
  told: (bytes: number) => void,
): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true });
  const digester = new Digester();
  let offset = 0;
  for (let failures = 0; offset < blob.size || blob.size === 0;) {
    const before = offset;
    try {
      const range = offset === 0 ? undefined : { range: `bytes=${offset}-` };
      const response = await client.send(`blobs/${blob.digest}`, {
        headers: { "accept-encoding": "identity", ...range },
        expect: [200, 206],
      });
      const from = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "");
      if (response.status === 206 && Number(from?.[1]) !== offset) {
        await response.body?.cancel();
        throw new Error("it sent another range than was asked for");
      }
      // A registry without ranges begins anew: what is there already is passed over.
      let skip = response.status === 200 ? offset : 0;
      for await (const chunk of lively(response)) {
        const piece = chunk.subarray(Math.min(skip, chunk.length));
        skip -= chunk.length - piece.length;
        if (offset + piece.length > blob.size) throw tooLong(client, blob);
        digester.add(piece);
        for (let at = 0; at < piece.length;) at += await file.write(piece.subarray(at));
        offset += piece.length;
        told(piece.length);
      }
      if (blob.size === 0) break;
      if (offset < blob.size) throw new Error(`it ended after ${offset} of ${blob.size} bytes`);
    } catch (error) {
      if (error instanceof TarboxError) throw error;
      // What gets on, however slowly, is not given up.
      failures = offset > before ? 1 : failures + 1;
      if (failures >= ATTEMPTS) {
        throw new TarboxError(
          `registry ${client.name.host}: ${blob.digest} cannot be read: ${error}`,
        );
      }
      await backOff(failures);
    }
  }
  const { digest } = digester.result();
  if (digest === blob.digest) return;
  throw new TarboxError(
    `registry ${client.name.host}: what it has as ${blob.digest} has the digest ${digest}`,
    "the registry is damaged; nothing of the image was added",
  );
}

/** The body of a response; an error when nothing comes for a while. */
async function* lively(response: Response): AsyncGenerator<Uint8Array> {
  const reader = response.body!.getReader();
  try {
    while (true) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const idle = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error("nothing comes any more")), IDLE_MS);
      });
      const next = await Promise.race([reader.read(), idle]).finally(() => clearTimeout(timer));
      if (next.done) return;
      yield next.value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function tooLong(client: RegistryClient, blob: { digest: string; size: number }): TarboxError {
  return new TarboxError(
    `registry ${client.name.host}: ${blob.digest} has more than the ${blob.size} bytes that its ` +
      "descriptor says",
    "the registry is damaged; nothing of the image was added",
  );
}
