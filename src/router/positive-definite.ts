import { VectorBlock } from "./vector-block.js";

/** Awaited in a long computation. */
type Pause = () => Promise<void>;

/** Dot products of all rows with each other, and `ridge` on the diagonal. */
export async function gramOf(block: VectorBlock, ridge: number, pause: Pause): Promise<VectorBlock> {
  const size = block.rows;
  const gram = emptySquare(size);
  for (let index = 0; index < size; index++) {
    await pause();
    block.setQuery(block.row(index));
    gram.row(index).set(block.multiply(0, index + 1).subarray(0, index + 1));
    gram.row(index)[index]! += ridge;
  }
  return gram;
}

/**
 * The inverse of a symmetric positive definite matrix, of which the lower triangle is read and overwritten: A = LL' (Cholesky), and
 * its inverse is T T' with T the transposed inverse of L. Each step is dot products of rows, which the block does fast.
 */
export async function invertPositiveDefinite(matrix: VectorBlock, pause: Pause): Promise<VectorBlock> {
  await factorise(matrix, pause);
  return squareOfUpper(await invertTransposed(matrix, pause), pause);
}

/** Puts L in the place of the lower triangle, column by column. */
async function factorise(matrix: VectorBlock, pause: Pause): Promise<void> {
  const rows = rowsOf(matrix);
  for (const [column, row] of rows.entries()) {
    await pause();
    matrix.setQuery(row.subarray(0, column));
    const sums = matrix.multiply(column, matrix.rows, 0, column);
    const pivot = Math.sqrt(row[column]! - sums[column]!);
    row[column] = pivot;
    for (let below = column + 1; below < rows.length; below++) rows[below]![column] = (rows[below]![column]! - sums[below]!) / pivot;
  }
}

/** Row r of the answer is column r of the inverse of L. */
async function invertTransposed(lower: VectorBlock, pause: Pause): Promise<VectorBlock> {
  const inverse = emptySquare(lower.rows);
  const columns = rowsOf(inverse);
  for (let index = 0; index < lower.rows; index++) {
    await pause();
    const row = lower.row(index);
    inverse.setQuery(row.subarray(0, index));
    const sums = inverse.multiply(0, index, 0, index);
    for (let column = 0; column < index; column++) columns[column]![index] = -sums[column]! / row[index]!;
    columns[index]![index] = 1 / row[index]!;
  }
  return inverse;
}

/** T T' of an upper triangular T. */
async function squareOfUpper(upper: VectorBlock, pause: Pause): Promise<VectorBlock> {
  const product = emptySquare(upper.rows);
  const rows = rowsOf(product);
  for (const [index, row] of rows.entries()) {
    await pause();
    upper.setQuery(upper.row(index));
    const values = upper.multiply(0, index + 1, index);
    for (let other = 0; other <= index; other++) row[other] = rows[other]![index] = values[other]!;
  }
  return product;
}

const emptySquare = (size: number): VectorBlock => VectorBlock.empty(size, size);

const rowsOf = (block: VectorBlock): Float32Array[] => Array.from({ length: block.rows }, (_, index) => block.row(index));
