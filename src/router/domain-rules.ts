import { foldText, stemOf, wordsOf } from "../embedders/index.js";
import type { RouterSettings } from "../types/routing.js";

/** The text of one decision, as the rules look at it. */
interface RuleText {
  folded: string;
  words: string[];
  stems: string[];
}

interface CompiledRule {
  domain: string;
  weight: number;
  keywords: { keyword: string; isFound: (text: RuleText) => boolean }[];
}

/** What the rules of one domain find in a text. */
export interface DomainVerdict {
  domain: string;
  /** Sum of the weights of the keywords found. */
  weight: number;
  keywords: string[];
}

/** Domain rules, compiled once. */
export class DomainRules {
  readonly #rules: CompiledRule[];

  constructor(rules: RouterSettings["rules"]) {
    this.#rules = rules.map(({ domain, keywords = [], weight = 1 }) => ({
      domain,
      weight,
      keywords: keywords.map((keyword) => ({ keyword, isFound: compileKeyword(keyword) })),
    }));
  }

  /** Domains of which a keyword is found, heaviest first. */
  match(text: string): DomainVerdict[] {
    if (this.#rules.length === 0) return [];
    const words = wordsOf(text);
    const ruleText = { folded: foldText(text), words, stems: words.map(stemOf) };
    const verdicts = new Map<string, DomainVerdict>();
    for (const { domain, weight, keywords } of this.#rules) {
      const found = keywords.filter(({ isFound }) => isFound(ruleText)).map(({ keyword }) => keyword);
      if (found.length === 0) continue;
      const verdict = verdicts.get(domain) ?? { domain, weight: 0, keywords: [] };
      verdict.weight += found.length * weight;
      verdict.keywords.push(...found);
      verdicts.set(domain, verdict);
    }
    return [...verdicts.values()].sort((left, right) => right.weight - left.weight || (left.domain < right.domain ? -1 : 1));
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
