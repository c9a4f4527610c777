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
  for (let start = 0; start <= last; start += 1) {
    let hash = 0x811c9dc5;
    const end = Math.min(normalised.length, start + SHINGLE_LENGTH);
    for (let index = start; index < end; index += 1) hash = Math.imul(hash ^ normalised.charCodeAt(index), 0x01000193);
    shingles.add(mix(hash));
  }
  return shingles;
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

/** Keys of the bands of a signature; texts that share one are candidates. */
export function bandsOf(signature: Uint32Array): string[] {
  const bands: string[] = [];
  for (let start = 0; start < SIGNATURE_LENGTH; start += ROWS_PER_BAND) {
    bands.push(`${start}:${signature.subarray(start, start + ROWS_PER_BAND).join(",")}`);
  }
  return bands;
}

/** The same keys as numbers of 32 bits, told apart further by `salt`: fewer bytes, and now and then a candidate too many. */
export function bandHashesOf(signature: Uint32Array, salt: number): Uint32Array {
  const hashes = new Uint32Array(BANDS);
  for (let band = 0; band < BANDS; band += 1) {
    let hash = mix(salt ^ (band + 1));
    for (let row = 0; row < ROWS_PER_BAND; row += 1) hash = mix(Math.imul(hash ^ signature[band * ROWS_PER_BAND + row]!, 0x01000193));
    hashes[band] = hash;
  }
  return hashes;
}

/** Finaliser of MurmurHash3: spreads the bits of a 32-bit value. */
function mix(value: number): number {
  let hash = value >>> 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
