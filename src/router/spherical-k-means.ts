import { seededRandom } from "../support/seeded-random.js";
import { dot, normalised, sumOf } from "./unit-vectors.js";

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

/**
 * Spherical k-means (Dhillon and Modha 2001) with k-means++ seeding from a fixed seed: the same vectors give the same groups.
 * Answers fewer groups where there are fewer distinct vectors.
 */
export function sphericalKMeans(vectors: readonly Float32Array[], groups: number, seed = 1): Clusters {
  const dimensions = vectors[0]?.length ?? 0;
  let centroids = seedCentroids(vectors, Math.min(groups, vectors.length), seed);
  const assignment = new Uint16Array(vectors.length);
  let members: Float32Array[][] = [];
  for (let round = 0; round < MAX_ROUNDS; round++) {
    let changed = round === 0;
    members = centroids.map(() => []);
    for (const [index, vector] of vectors.entries()) {
      const nearest = nearestOf(vector, centroids);
      if (assignment[index] !== nearest) changed = true;
      assignment[index] = nearest;
      members[nearest]!.push(vector);
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

function nearestOf(vector: Float32Array, centroids: readonly Float32Array[]): number {
  let best = 0;
  let bestSimilarity = Number.NEGATIVE_INFINITY;
  for (const [group, centroid] of centroids.entries()) {
    const similarity = dot(vector, centroid);
    if (similarity > bestSimilarity) [best, bestSimilarity] = [group, similarity];
  }
  return best;
}

function seedCentroids(vectors: readonly Float32Array[], groups: number, seed: number): Float32Array[] {
  const random = seededRandom(seed);
  const centroids: Float32Array[] = [];
  const distances = vectors.map(() => 1);
  while (centroids.length < groups) {
    const total = distances.reduce((sum, distance) => sum + distance, 0);
    if (total < 1e-6) break;
    let left = random() * total;
    let chosen = distances.findIndex((distance) => {
      left -= distance;
      return left < 0 && distance > 0;
    });
    if (chosen < 0) chosen = distances.indexOf(Math.max(...distances));
    const centroid = vectors[chosen]!;
    centroids.push(centroid);
    for (const [index, vector] of vectors.entries()) {
      distances[index] = Math.max(0, Math.min(distances[index]!, 1 - dot(vector, centroid)));
    }
  }
  return centroids;
}
