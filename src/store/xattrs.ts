import { compareBytes, concatBytes } from "../base/bytes.ts";
import { invariant } from "../base/errors.ts";

/** One extended attribute: full name (`user.key`) and value, both any bytes (man 7 xattr). */
export interface Xattr {
  readonly name: Uint8Array;
  readonly value: Uint8Array;
}

/**
 * Packs attributes, sorted by name, as u16 name length, name, u32 value length, value (big-endian),
 * so that equal sets have equal bytes. None gives null.
 */
export function packXattrs(xattrs: readonly Xattr[]): Uint8Array<ArrayBuffer> | null {
  if (xattrs.length === 0) return null;
  const parts: Uint8Array[] = [];
  for (const { name, value } of xattrs.toSorted((a, b) => compareBytes(a.name, b.name))) {
    const lengths = new DataView(new ArrayBuffer(6));
    lengths.setUint16(0, name.length);
    lengths.setUint32(2, value.length);
    const bytes = new Uint8Array(lengths.buffer);
    parts.push(bytes.subarray(0, 2), name, bytes.subarray(2), value);
  }
  return concatBytes(parts);
}

/** The attributes that {@link packXattrs} packed. @throws {InvariantError} on damaged bytes. */
export function unpackXattrs(packed: Uint8Array | null): Xattr[] {
  const out: Xattr[] = [];
  if (packed === null) return out;
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  let at = 0;
  while (at < packed.length) {
    invariant(at + 2 <= packed.length, "packed xattrs end inside a name length");
    const nameEnd = at + 2 + view.getUint16(at);
    invariant(nameEnd + 4 <= packed.length, "packed xattrs end inside a value length");
    const valueEnd = nameEnd + 4 + view.getUint32(nameEnd);
    invariant(valueEnd <= packed.length, "packed xattrs end inside a value");
    out.push({
      name: packed.slice(at + 2, nameEnd),
      value: packed.slice(nameEnd + 4, valueEnd),
    });
    at = valueEnd;
  }
  return out;
}
