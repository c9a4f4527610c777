/**
 * TF-IDF and multinomial logistic regression as scikit-learn's defaults have them (`TfidfVectorizer`, `LogisticRegression`,
 * C = 1): words of two letters and more, smooth idf, rows of length one; minimised by Nesterov's accelerated gradient.
 */
interface Sparse {
  indices: number[];
  values: number[];
}

const ROUNDS = 600;
const TOLERANCE = 1e-4;

export class LogisticRegression {
  readonly #vocabulary = new Map<string, number>();
  readonly #idf: number[] = [];
  readonly #classes: number;
  #weights: Float64Array;

  constructor(texts: readonly string[], labels: readonly number[], classes: number) {
    this.#classes = classes;
    this.#learnWords(texts);
    const rows = texts.map((text) => this.#rowOf(text));
    this.#weights = this.#fit(rows, labels);
  }

  probabilities(text: string): number[] {
    return this.#softmax(this.#rowOf(text), this.#weights);
  }

  #learnWords(texts: readonly string[]): void {
    const counts: number[] = [];
    for (const text of texts) {
      for (const word of new Set(wordsOf(text))) {
        const index = this.#vocabulary.get(word) ?? this.#vocabulary.size;
        this.#vocabulary.set(word, index);
        counts[index] = (counts[index] ?? 0) + 1;
      }
    }
    for (const count of counts) this.#idf.push(Math.log((1 + texts.length) / (1 + count)) + 1);
  }

  /** The last feature is the intercept, which is not regularised. */
  #rowOf(text: string): Sparse {
    const values = new Map<number, number>();
    for (const word of wordsOf(text)) {
      const index = this.#vocabulary.get(word);
      if (index !== undefined) values.set(index, (values.get(index) ?? 0) + this.#idf[index]!);
    }
    const length = Math.hypot(...values.values()) || 1;
    return { indices: [...values.keys(), this.#idf.length], values: [...[...values.values()].map((value) => value / length), 1] };
  }

  #softmax({ indices, values }: Sparse, weights: Float64Array): number[] {
    const utilities = new Array<number>(this.#classes).fill(0);
    for (const [position, index] of indices.entries()) {
      for (let label = 0; label < this.#classes; label++) {
        utilities[label]! += values[position]! * weights[index * this.#classes + label]!;
      }
    }
    const largest = Math.max(...utilities);
    const exponentials = utilities.map((utility) => Math.exp(utility - largest));
    const total = exponentials.reduce((sum, value) => sum + value, 0);
    return exponentials.map((value) => value / total);
  }

  #fit(rows: readonly Sparse[], labels: readonly number[]): Float64Array {
    const size = (this.#idf.length + 1) * this.#classes;
    const bias = this.#idf.length * this.#classes;
    // Curvature of the softmax is at most 1/2, and a row's squared length 2 with the intercept.
    const step = 1 / (rows.length + 1);
    let weights = new Float64Array(size);
    let ahead = weights;
    for (let round = 1; round <= ROUNDS; round++) {
      const gradient = ahead.map((weight, index) => (index < bias ? weight : 0));
      for (const [position, row] of rows.entries()) {
        const probabilities = this.#softmax(row, ahead);
        probabilities[labels[position]!]! -= 1;
        for (const [at, index] of row.indices.entries()) {
          for (let label = 0; label < this.#classes; label++) {
            gradient[index * this.#classes + label]! += row.values[at]! * probabilities[label]!;
          }
        }
      }
      const next = ahead.map((weight, index) => weight - step * gradient[index]!);
      const momentum = (round - 1) / (round + 2);
      ahead = next.map((weight, index) => weight + momentum * (weight - weights[index]!));
      weights = next;
      if (gradient.every((value) => Math.abs(value) < TOLERANCE * rows.length)) break;
    }
    return weights;
  }
}

function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}_]{2,}/gu) ?? [];
}
