import { seededRandom } from "../support/seeded-random.js";
import { dot, normalised, sumOf } from "./unit-vectors.js";
import { VectorBlock } from "./vector-block.js";

/** Groups of unit vectors. */
export interface Clusters {
  /** For each vector the number of its group. */
  assignment: Uint16Array;
  /** Unit vectors, one a group. */
  centroids: Float32Array[];
  /** Length of the sum of each group's vectors. */
  norms: number[];
  counts: number[];
}

const MAX_ROUNDS = 25;
/** How far from 1 the product of a unit vector with itself may be. */
const ROUNDING = 1e-6;

/**
 * Spherical k-means (Dhillon and Modha 2001) with k-means++ seeding from a fixed seed: the same vectors give the same groups.
 * Answers fewer groups where there are fewer distinct vectors.
 */
export function sphericalKMeans(vectors: readonly Float32Array[], groups: number, seed = 1): Clusters {
  const dimensions = vectors[0]?.length ?? 0;
  const block = new VectorBlock(vectors, dimensions);
  let centroids = seedCentroids(vectors, block, Math.min(groups, vectors.length), seed);
  const assignment = new Uint16Array(vectors.length);
  let members: Float32Array[][] = [];
  for (let round = 0; round < MAX_ROUNDS; round++) {
    let changed = round === 0;
    members = centroids.map(() => []);
    for (const [index, nearest] of nearestOf(block, centroids).entries()) {
      if (assignment[index] !== nearest) changed = true;
      assignment[index] = nearest;
      members[nearest]!.push(vectors[index]!);
    }
    if (!changed) break;
    centroids = members.map((group, index) => (group.length > 0 ? normalised(sumOf(group, dimensions)) : centroids[index]!));
  }
  const kept = members.flatMap((group, index) => (group.length > 0 ? [index] : []));
  const renumbered = new Map(kept.map((old, position) => [old, position]));
  const sums = kept.map((group) => sumOf(members[group]!, dimensions));
  return {
    assignment: assignment.map((group) => renumbered.get(group)!),
    centroids: sums.map(normalised),
    norms: sums.map((sum) => Math.sqrt(dot(sum, sum))),
    counts: kept.map((group) => members[group]!.length),
  };
}

/** For each vector of the block the centroid that it is most like. */
function nearestOf(block: VectorBlock, centroids: readonly Float32Array[]): Uint16Array {
  const nearest = new Uint16Array(block.rows);
  const similarities = new Float32Array(block.rows).fill(Number.NEGATIVE_INFINITY);
  for (const [group, centroid] of centroids.entries()) {
    const products = block.productWith(centroid);
    for (let index = 0; index < products.length; index++) {
      if (products[index]! > similarities[index]!) [nearest[index], similarities[index]] = [group, products[index]!];
    }
  }
  return nearest;
}

function seedCentroids(vectors: readonly Float32Array[], block: VectorBlock, groups: number, seed: number): Float32Array[] {
  const random = seededRandom(seed);
  const centroids: Float32Array[] = [];
  const distances = vectors.map(() => 1);
  while (centroids.length < groups) {
    const total = distances.reduce((sum, distance) => sum + distance, 0);
    if (total < ROUNDING * vectors.length) break;
    let left = random() * total;
    let chosen = distances.findIndex((distance) => {
      left -= distance;
      return left < 0 && distance > 0;
    });
    if (chosen < 0) chosen = distances.indexOf(Math.max(...distances));
    const centroid = vectors[chosen]!;
    centroids.push(centroid);
    const products = block.productWith(centroid);
    for (let index = 0; index < products.length; index++) {
      distances[index] = Math.max(0, Math.min(distances[index]!, 1 - products[index]!));
    }
  }
  return centroids;
}
