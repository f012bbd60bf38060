/** Byte strings: file names, link targets and hashes are bytes here, never text. */

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Bytes of a text in UTF-8. */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text);
}

/** Text of UTF-8 bytes; what is not UTF-8 becomes U+FFFD, so this is for display only. */
export function text(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/**
 * One character per byte (code points 0 to 255): a reversible map from bytes to a string that can
 * be a `Map` key.
 */
export function latin1(bytes: Uint8Array): string {
  let out = "";
  for (let i = 0; i < bytes.length; i += 8192) {
    // Applied, not spread: spreading a typed array runs an iterator over it.
    out += String.fromCharCode.apply(null, bytes.subarray(i, i + 8192) as unknown as number[]);
  }
  return out;
}

/** The bytes that {@link latin1} made the string of. */
export function fromLatin1(key: string): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(key.length);
  for (let i = 0; i < key.length; i++) out[i] = key.charCodeAt(i);
  return out;
}

/** Lower-case hexadecimal of bytes. */
export function hex(bytes: Uint8Array): string {
  return bytes.toHex();
}

/** Whether two byte strings are the same. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Order of two byte strings by unsigned bytes, as memcmp(3): negative, zero or positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) {
    const d = a[i]! - b[i]!;
    if (d !== 0) return d;
  }
  return a.length - b.length;
}

/** All parts one after the other, in new memory. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
