import { contentWord, contentWordsOf, wordsOf } from "../../embedders/index.js";

/** Words that ask for the one end of a span of time, and for the other; folded. */
const BEGINNING = new Set(
  "open opens opened opening from since start starts begin begins earliest oeffnet oeffnen oeffnung oeffnungszeit ab seit beginnt beginn fruehestens".split(
    " ",
  ),
);
const END = new Set(
  "close closes closed closing shut shuts until till end ends late latest schliesst schliessen bis endet ende spaetestens".split(" "),
);

/** What they are followed by is what a question is limited to: `for residents`, `on Sundays`; folded. */
const LIMITING = new Set(
  "for by on in at with without during before after as fuer mit ohne am im an in bei vor nach als waehrend".split(" "),
);
/** What may stand between. */
const ARTICLES = new Set("a an the my your der die das den dem des ein eine einen einem einer mein meine meinen meinem meiner".split(" "));

/** Jaccard index of all words from which two questions are one sentence, filled in differently. */
const MIN_TEMPLATE = 0.5;

/** The same, from which one is the other with a word put in. */
const MIN_SENTENCE = 0.75;

/** A question, ready to be compared with others. */
export interface Question {
  text: string;
  /** Content words by stem, with their weights. */
  words: ReadonlyMap<string, number>;
  /** Sum of the weights. */
  total: number;
  /** All words. */
  all: ReadonlySet<string>;
  numbers: string;
  /** Stems of what it is limited to. */
  limits: readonly string[];
  /** Above 0: it asks for a beginning; below: for an end. */
  end: number;
}

/** Prepares a question. */
export function questionOf(text: string): Question {
  const words = new Map(contentWordsOf(text).map(({ stem, weight }) => [stem, weight]));
  const total = [...words.values()].reduce((sum, weight) => sum + weight, 0);
  const numbers = [...words.keys()].filter((stem) => /\p{N}/u.test(stem)).sort();
  const all = wordsOf(text);
  const end = all.filter((word) => BEGINNING.has(word)).length - all.filter((word) => END.has(word)).length;
  return { text, words, total, all: new Set(all), numbers: numbers.join(" "), limits: limitsOf(all), end };
}

function limitsOf(words: readonly string[]): string[] {
  const limits: string[] = [];
  let isLimit = false;
  for (const word of words) {
    const content = contentWord(word);
    if (content !== null && isLimit) limits.push(content.stem);
    isLimit = LIMITING.has(word) || (isLimit && (content !== null || ARTICLES.has(word)));
  }
  return limits;
}

/**
 * Share (0..1) of the shorter question's content words, by weight, that the other one has; it may say more. 0 where they cannot ask the same:
 * other numbers, the other end of a time, a limit that the other does not have, or one sentence with other words in it ("who leads the choir", "… the orchestra", "… the youth
 * orchestra").
 */
export function overlapOf(left: Question, right: Question): number {
  if (left.numbers !== right.numbers || left.end * right.end < 0) return 0;
  let [shared, weight] = [0, 0];
  for (const [stem, own] of left.words) {
    if (!right.words.has(stem)) continue;
    shared++;
    weight += own;
  }
  if (shared === 0 || !isWithin(left.limits, right) || !isWithin(right.limits, left)) return 0;
  if (shared < left.words.size || shared < right.words.size) {
    let all = 0;
    for (const word of left.all) if (right.all.has(word)) all++;
    const doBothAdd = shared < Math.min(left.words.size, right.words.size);
    if (all >= (doBothAdd ? MIN_TEMPLATE : MIN_SENTENCE) * (left.all.size + right.all.size - all)) return 0;
  }
  return weight / Math.min(left.total, right.total);
}

function isWithin(limits: readonly string[], { words }: Question): boolean {
  return limits.every((stem) => words.has(stem));
}
