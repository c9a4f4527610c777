/** Dot product; the cosine where both are unit vectors. */
export function dot(left: ArrayLike<number>, right: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < left.length; index++) sum += left[index]! * right[index]!;
  return sum;
}

/** The vector scaled to length one; zero stays zero. */
export function normalised(vector: ArrayLike<number>): Float32Array {
  return scaleToUnit(new Float32Array(vector));
}

function scaleToUnit(vector: Float32Array): Float32Array {
  const squares = dot(vector, vector);
  if (squares === 0) return vector;
  const scale = 1 / Math.sqrt(squares);
  for (let index = 0; index < vector.length; index++) vector[index]! *= scale;
  return vector;
}

/** Sum of vectors of this length. */
export function sumOf(vectors: readonly ArrayLike<number>[], dimensions: number): Float64Array {
  const sum = new Float64Array(dimensions);
  for (const vector of vectors) for (let index = 0; index < dimensions; index++) sum[index]! += vector[index]!;
  return sum;
}

/** The direction of `vector - mean`, by which what all texts share (frames, language) stops counting as likeness. */
export function centred(vector: ArrayLike<number>, mean: ArrayLike<number>): Float32Array {
  const difference = new Float32Array(vector.length);
  for (let index = 0; index < difference.length; index++) difference[index] = vector[index]! - mean[index]!;
  return scaleToUnit(difference);
}
