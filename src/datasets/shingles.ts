/** Length of a shingle in characters. */
const SHINGLE_LENGTH = 5;
/** MinHash functions, in bands of four rows: two texts of Jaccard .95 miss each other with probability 2e-12. */
export const SIGNATURE_LENGTH = 64;
const ROWS_PER_BAND = 4;
export const BANDS = SIGNATURE_LENGTH / ROWS_PER_BAND;

/**
 * 32-bit hashes of the character shingles of a normalised text.
 * @example
 * ```ts
 * jaccard(shinglesOf("abcdefgh"), shinglesOf("abcdefgh")); // 1
 * ```
 */
export function shinglesOf(normalised: string): Set<number> {
  const shingles = new Set<number>();
  const last = Math.max(0, normalised.length - SHINGLE_LENGTH);
  for (let start = 0; start <= last; start += 1)
    shingles.add(hash32(normalised, start, Math.min(normalised.length, start + SHINGLE_LENGTH)));
  return shingles;
}

/** 32-bit hash of a piece of text, default all of it: FNV-1a over its UTF-16 units, its bits then spread. */
export function hash32(text: string, start = 0, end = text.length): number {
  let hash = 0x811c9dc5;
  for (let index = start; index < end; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return mix(hash);
}

/** Size of the intersection over size of the union, 0..1; two empty sets are equal. */
export function jaccard(left: ReadonlySet<number>, right: ReadonlySet<number>): number {
  const [small, large] = left.size <= right.size ? [left, right] : [right, left];
  if (large.size === 0) return 1;
  let common = 0;
  for (const shingle of small) if (large.has(shingle)) common += 1;
  return common / (left.size + right.size - common);
}

/** MinHash signature (Broder 1997): equal places of two signatures estimate the Jaccard index of their sets. */
export function signatureOf(shingles: ReadonlySet<number>): Uint32Array {
  const signature = new Uint32Array(SIGNATURE_LENGTH).fill(0xffffffff);
  for (const shingle of shingles) {
    for (let index = 0; index < SIGNATURE_LENGTH; index += 1) {
      const value = mix(shingle ^ Math.imul(index + 1, 0x9e3779b1));
      if (value < signature[index]!) signature[index] = value;
    }
  }
  return signature;
}

/** A 32-bit hash of each band of a signature; texts that share one at the same place are candidates. */
export function bandsOf(signature: Uint32Array): number[] {
  const bands: number[] = [];
  for (let start = 0; start < SIGNATURE_LENGTH; start += ROWS_PER_BAND) {
    let band = 0;
    for (let row = start; row < start + ROWS_PER_BAND; row += 1) band = mix((band + 1) ^ signature[row]!);
    bands.push(band);
  }
  return bands;
}

/** The same, told apart further by place and `salt`, so that one table serves all places; now and then a candidate too many. */
export function bandHashesOf(signature: Uint32Array, salt: number): Uint32Array {
  return Uint32Array.from(bandsOf(signature), (band, place) => mix(mix(salt ^ (place + 1)) ^ band));
}

/** Finaliser of MurmurHash3: spreads the bits of a 32-bit value. */
function mix(value: number): number {
  let hash = value >>> 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
