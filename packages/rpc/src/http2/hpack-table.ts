// The two tables of HPACK (RFC 7541 §2.3, appendix A).
import { kindOfField, kindOfName } from "./header-field.ts";

/** A field in a table, with what is known of it, so that an indexed field costs no look at its text. */
export class TableField {
  readonly name: string;
  readonly value: string;
  /** `FieldKind` of the name alone, for literals that use it by index. */
  readonly nameKind: number;
  readonly kind: number;
  /** As RFC 7541 §4.1 counts. */
  readonly bytes: number;

  constructor(name: string, value: string, nameKind: number, kind: number) {
    this.name = name;
    this.value = value;
    this.nameKind = nameKind;
    this.kind = kind;
    this.bytes = fieldBytes(name, value);
  }
}

/** What a field counts, in a table (RFC 7541 §4.1) and in a header list (RFC 9113 §6.5.2). */
export function fieldBytes(name: string, value: string): number {
  return name.length + value.length + 32;
}

// prettier-ignore
const STATIC = [
  ":authority", "", ":method", "GET", ":method", "POST", ":path", "/", ":path", "/index.html", ":scheme", "http", ":scheme", "https",
  ":status", "200", ":status", "204", ":status", "206", ":status", "304", ":status", "400", ":status", "404", ":status", "500",
  "accept-charset", "", "accept-encoding", "gzip, deflate", "accept-language", "", "accept-ranges", "", "accept", "",
  "access-control-allow-origin", "", "age", "", "allow", "", "authorization", "", "cache-control", "", "content-disposition", "",
  "content-encoding", "", "content-language", "", "content-length", "", "content-location", "", "content-range", "", "content-type", "",
  "cookie", "", "date", "", "etag", "", "expect", "", "expires", "", "from", "", "host", "", "if-match", "", "if-modified-since", "",
  "if-none-match", "", "if-range", "", "if-unmodified-since", "", "last-modified", "", "link", "", "location", "", "max-forwards", "",
  "proxy-authenticate", "", "proxy-authorization", "", "range", "", "referer", "", "refresh", "", "retry-after", "", "server", "",
  "set-cookie", "", "strict-transport-security", "", "transfer-encoding", "", "user-agent", "", "vary", "", "via", "", "www-authenticate", "",
];

/** Index 1 of the RFC is place 0 here. */
export const STATIC_TABLE: readonly TableField[] = Array.from({ length: STATIC.length / 2 }, (_, at) => {
  const name = STATIC[2 * at]!;
  const value = STATIC[2 * at + 1]!;
  const nameKind = kindOfName(name);
  return new TableField(name, value, nameKind, kindOfField(nameKind, value));
});

/** A dynamic table as a ring: insertion and eviction move no entry. */
export class DynamicTable {
  #ring: (TableField | undefined)[] = Array.from({ length: 16 });
  #count = 0;
  /** Where the next entry goes; the newest is one before. Only its low bits count. */
  #head = 0;
  #bytes = 0;
  #bytesMax: number;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** @param age 0 is the newest. */
  at(age: number): TableField | undefined {
    if (age >= this.#count) return undefined;
    return this.#ring[(this.#head - 1 - age) & (this.#ring.length - 1)];
  }

  /** An entry larger than the table empties it, which is no error (RFC 7541 §4.4). */
  insert(field: TableField): void {
    this.#evict(this.#bytesMax - field.bytes);
    if (field.bytes > this.#bytesMax) return;
    if (this.#count === this.#ring.length) this.#grow();
    this.#ring[this.#head & (this.#ring.length - 1)] = field;
    this.#head = (this.#head + 1) | 0;
    this.#count += 1;
    this.#bytes += field.bytes;
  }

  resize(bytesMax: number): void {
    this.#bytesMax = bytesMax;
    this.#evict(bytesMax);
  }

  #evict(bytesMax: number): void {
    while (this.#bytes > bytesMax && this.#count > 0) {
      const place = (this.#head - this.#count) & (this.#ring.length - 1);
      this.#bytes -= this.#ring[place]!.bytes;
      this.#ring[place] = undefined;
      this.#count -= 1;
    }
  }

  #grow(): void {
    const ring: (TableField | undefined)[] = Array.from({ length: 2 * this.#ring.length });
    for (let age = 0; age < this.#count; age += 1) ring[this.#count - 1 - age] = this.at(age);
    this.#ring = ring;
    this.#head = this.#count;
  }
}
