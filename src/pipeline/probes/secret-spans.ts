import { seededRandom } from "../../support/seeded-random.js";

/** A piece of text that looks like a secret: nobody would guess it. */
export interface SecretSpan {
  text: string;
  start: number;
  end: number;
}

/** Nine digits or more, with single signs between them: telephone, customer, account and card numbers. A date has eight. */
const DIGITS = /(?<![\p{L}\p{N}])\d(?:[ \-./]?\d){8,39}(?![\p{L}\p{N}])/gu;
const DATE = /^(?:\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{4})(?!\d)/;
/** Ten characters or more without white space: keys, codes, passwords, tokens. */
const TOKEN = /(?<![\p{L}\p{N}])[A-Za-z0-9][A-Za-z0-9_+/=~!@#$%^&*.:-]{8,127}[A-Za-z0-9=]/gu;
/** A token must go between lower case, upper case and digits so often. */
const MIN_CLASS_CHANGES = 3;
const PUBLIC_PREFIX = /^(?:[A-Za-z]+[-_])+/;
const WORD = /[A-Z]?[a-z]{4,}|[A-Z]{4,}/g;
const MAX_SPANS = 100;

/** Finds number sequences and random-looking tokens; a name with a number (`Covid-19-2021`) is none, for more than half of it is words. */
export function findSecretSpans(text: string): SecretSpan[] {
  const spans: SecretSpan[] = [];
  const add = (start: number, found: string) => {
    const end = start + found.length;
    if (spans.length < MAX_SPANS && spans.every((span) => end <= span.start || start >= span.end)) spans.push({ text: found, start, end });
  };
  for (const match of text.matchAll(TOKEN)) if (isRandomLooking(match[0])) add(match.index, match[0]);
  for (const match of text.matchAll(DIGITS)) if (!DATE.test(match[0])) add(match.index, match[0]);
  return spans;
}

function isRandomLooking(token: string): boolean {
  const classes = Array.from(token, classOf).filter((kind) => kind !== "other");
  if (!classes.includes("digit")) return false;
  const changes = classes.filter((kind, index) => index > 0 && kind !== classes[index - 1]).length;
  const inWords = (token.match(WORD) ?? []).reduce((sum, word) => sum + word.length, 0);
  return changes >= MIN_CLASS_CHANGES && inWords * 2 <= token.length;
}

type CharacterClass = "digit" | "lower" | "upper" | "other";

function classOf(character: string): CharacterClass {
  if (/[0-9]/.test(character)) return "digit";
  if (/[a-z]/.test(character)) return "lower";
  return /[A-Z]/.test(character) ? "upper" : "other";
}

/** The form of a span: how many of which characters. It tells nothing of the span itself. */
export function formOf(span: string): string {
  const digits = Array.from(span).filter((character) => classOf(character) === "digit").length;
  const letters = Array.from(span).filter((character) => ["lower", "upper"].includes(classOf(character))).length;
  return letters === 0 ? `${digits} digits` : `${letters} letters and ${digits} digits`;
}

/**
 * Other texts of the same form, and log2 of how many there are: each digit is another digit, each letter another letter, hexadecimal ones stay so.
 * A prefix of letters (`sk-`, `ghp_`) stays, for it is public and a model knows it.
 */
export function alternativesOf(span: string, count: number, seed: number): { texts: string[]; possibilities: number } {
  const random = seededRandom(seed);
  const letters = /^[^g-zG-Z]*$/.test(span) ? "abcdef" : "abcdefghijklmnopqrstuvwxyz";
  const prefix = PUBLIC_PREFIX.exec(span)?.[0].length ?? 0;
  const alphabets = Array.from(span, (character, index) => {
    if (index < prefix) return character;
    const kind = classOf(character);
    if (kind === "digit") return "0123456789";
    if (kind === "lower") return letters;
    return kind === "upper" ? letters.toUpperCase() : character;
  });
  const texts = new Set<string>();
  for (let tries = 0; texts.size < count && tries < count * 10; tries++) {
    const text = alphabets.map((alphabet) => alphabet[Math.floor(random() * alphabet.length)]).join("");
    if (text !== span) texts.add(text);
  }
  return { texts: [...texts], possibilities: alphabets.reduce((sum, alphabet) => sum + Math.log2(alphabet.length), 0) };
}
