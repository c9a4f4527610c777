import { foldText, wordsOf } from "../embedders/index.js";
import type { RouterSettings } from "../types/routing.js";
import { stemOf } from "./content-words.js";

/** The text of one decision, as the rules look at it. */
interface RuleText {
  folded: string;
  words: string[];
  stems: string[];
}

interface CompiledRule {
  domain: string;
  weight: number;
  keywords: ((text: RuleText) => boolean)[];
}

/** The domain that the rules give a text, if their weights suffice. */
export interface DomainVerdict {
  domain: string;
  /** Sum of the weights of the keywords found. */
  weight: number;
}

/** Domain rules, compiled once. */
export class DomainRules {
  readonly #rules: CompiledRule[];

  constructor(rules: RouterSettings["rules"]) {
    this.#rules = rules.map(({ domain, keywords = [], weight = 1 }) => ({ domain, weight, keywords: keywords.map(compileKeyword) }));
  }

  /** Domains whose keywords add up to `hardDomain`, heaviest first. */
  match(text: string, hardDomain: number): DomainVerdict[] {
    if (this.#rules.length === 0) return [];
    const words = wordsOf(text);
    const ruleText = { folded: foldText(text), words, stems: words.map(stemOf) };
    const weights = new Map<string, number>();
    for (const { domain, weight, keywords } of this.#rules) {
      const found = keywords.filter((isFound) => isFound(ruleText)).length;
      if (found > 0) weights.set(domain, (weights.get(domain) ?? 0) + found * weight);
    }
    return [...weights]
      .map(([domain, weight]) => ({ domain, weight }))
      .filter(({ weight }) => weight >= hardDomain)
      .sort((left, right) => right.weight - left.weight || (left.domain < right.domain ? -1 : 1));
  }
}

function compileKeyword(keyword: string): (text: RuleText) => boolean {
  const isPrefix = keyword.endsWith("*");
  const body = isPrefix ? keyword.slice(0, -1) : keyword;
  // Signs are no words ("§ 58", "C++"): such keywords are looked for as they stand.
  if (/[^\p{L}\p{N}\p{M}\s'-]/u.test(body) || wordsOf(body).length === 0) {
    const folded = foldText(body);
    return (text) => text.folded.includes(folded);
  }
  const words = wordsOf(body);
  const stems = words.map(stemOf);
  const last = words.length - 1;
  return (text) => {
    for (let start = 0; start + words.length <= text.words.length; start++) {
      const fits = stems.every((stem, index) =>
        isPrefix && index === last ? text.words[start + index]!.startsWith(words[index]!) : text.stems[start + index] === stem,
      );
      if (fits) return true;
    }
    return false;
  };
}
