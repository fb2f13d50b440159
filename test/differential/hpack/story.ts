// HPACK stories: header lists in the order of one connection, with or without the bytes that an encoder made of them. The
// format is that of http2jp's hpack-test-case, so that its files can be read as well.
import fc from "fast-check";

export interface StoryCase {
  readonly seqno: number;
  /** SETTINGS_HEADER_TABLE_SIZE of the decoding side, as of this case; unchanged when absent, 4096 at first. */
  readonly header_table_size?: number;
  /** The block in hexadecimal. */
  readonly wire?: string;
  /** One name and value each; a character below U+0100 for each byte. */
  readonly headers: readonly Readonly<Record<string, string>>[];
  /** Our addition: the places of headers that are, or are to be, never indexed (RFC 7541 §7.1.3). */
  readonly never_indexed?: readonly number[] | null;
}

export interface Story {
  readonly description: string;
  readonly cases: readonly StoryCase[];
}

/** name, value, name, value, … */
export function fieldsOf({ headers }: StoryCase): string[] {
  return headers.flatMap((header) => Object.entries(header).flat());
}

export function headersOf(fields: readonly string[]): Record<string, string>[] {
  const headers: Record<string, string>[] = [];
  for (let at = 0; at < fields.length; at += 2) headers.push({ [fields[at]!]: fields[at + 1]! });
  return headers;
}

export interface RandomStories {
  readonly seed: number;
  readonly stories: number;
  readonly casesPerStory: number;
  /** "bytes": any names and values; "requests": what a message may have, for peers that look at it. */
  readonly of: "bytes" | "requests";
}

const NAMES = ["accept", "authorization", "cache-control", "content-type", "cookie", "grpc-timeout", "user-agent"];
const VALUES = ["", "1", "gzip, deflate", "application/grpc", "trailers", "no-cache", "a".repeat(127), "é".repeat(64)];
/** Small enough to evict often, and 0, which empties the table. */
const TABLE_SIZES = [0, 1, 64, 200, 1000, 4096];

/** Fresh ones, and some that come again and again, so that tables fill, hit and evict. */
function texts(alphabet: string, recurring: readonly string[], lengthMax: number): fc.Arbitrary<string> {
  const unit = fc.constantFrom(...alphabet.split(""));
  return fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...recurring) },
    { weight: 1, arbitrary: fc.string({ unit, minLength: 1, maxLength: lengthMax }) },
  );
}

const TOKEN = "abcdefghijklmnopqrstuvwxyz0123456789-_.~!#$%&'*+^`|";
const VISIBLE = String.fromCharCode(...Array.from({ length: 94 }, (_, at) => 33 + at), 0x80, 0xe9, 0xff);
const ANY = String.fromCharCode(...Array.from({ length: 256 }, (_, at) => at));

/** The same stories for the same seed. Which headers are never to be indexed is part of them. */
export function randomStories({ seed, stories, casesPerStory, of }: RandomStories): Story[] {
  // HTTP gives a meaning to some names; random ones of requests are kept away from them.
  const requestNames = texts(TOKEN, NAMES, 20).map((name) => (NAMES.includes(name) ? name : `x-${name}`));
  const names = of === "bytes" ? texts(ANY, NAMES, 20) : requestNames;
  const values = texts(of === "bytes" ? ANY : VISIBLE, VALUES, 150);
  const header = fc.record({ name: names, value: values, isSensitive: fc.nat(9).map((roll) => roll === 0) });
  const one = fc.record({
    // Most names may be in a request only once.
    headers:
      of === "bytes"
        ? fc.array(header, { maxLength: 12 })
        : fc.uniqueArray(header, { maxLength: 12, selector: ({ name }) => name }),
    path: texts(VISIBLE, ["S/M", "S/N"], 40),
    tableSize: fc.option(fc.constantFrom(...TABLE_SIZES), { freq: 10 }),
  });
  const cases = fc
    .sample(one, { numRuns: stories * casesPerStory, seed })
    .map(({ headers, path, tableSize }, place) => {
      const first = [":method", "POST", ":scheme", "http", ":path", `/${path}`, ":authority", "test"];
      const fields = [...(of === "requests" ? first : []), ...headers.flatMap(({ name, value }) => [name, value])];
      const offset = of === "requests" ? first.length / 2 : 0;
      const sensitive = headers.flatMap(({ isSensitive }, at) => (isSensitive ? [at + offset] : []));
      return {
        seqno: place % casesPerStory,
        ...(tableSize === null ? {} : { header_table_size: tableSize }),
        headers: headersOf(fields),
        never_indexed: sensitive,
      };
    });
  return Array.from({ length: stories }, (_, at) => ({
    description: `Header lists of seed ${seed}, not encoded yet.`,
    cases: cases.slice(at * casesPerStory, (at + 1) * casesPerStory),
  }));
}
