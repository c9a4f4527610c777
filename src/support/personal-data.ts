import { type CountryCode, findPhoneNumbersInText } from "libphonenumber-js/min";
import validator from "validator";

/** Kinds of personal data that are found by their form; names by the host's list. */
export type PersonalDataKind = "email" | "iban" | "tax_id" | "phone" | "name";

/** How personal data is looked for. */
export interface PersonalDataOptions {
  /** What to look for. Default: all kinds. */
  kinds: readonly PersonalDataKind[];
  /** Names of people, whole and as they are written: `Erika Mustermann`. Default: none. */
  names: readonly string[];
  /** Texts that stay, because they are the host's own: its phone numbers, its addresses. Compared without spaces, whatever their case. */
  allow: readonly string[];
  /** Country of numbers without a country code, ISO 3166. Default `DE`. */
  country: string;
}

/** All kinds, no names, German numbers. */
export const PERSONAL_DATA_DEFAULTS: PersonalDataOptions = {
  kinds: ["email", "iban", "tax_id", "phone", "name"],
  names: [],
  allow: [],
  country: "DE",
};

/** One place of a text. */
export interface PersonalDataFinding {
  kind: PersonalDataKind;
  start: number;
  end: number;
}

const PLACEHOLDERS: Readonly<Record<PersonalDataKind, string>> = {
  email: "[EMAIL]",
  iban: "[IBAN]",
  tax_id: "[TAX_ID]",
  phone: "[PHONE]",
  name: "[NAME]",
};

/** Each pattern is linear in the text: nothing in it can be matched in two ways. */
const EMAIL = /[\p{L}\p{N}._%+'-]{1,64}@[\p{L}\p{N}.-]{1,253}/gu;
const IBAN = /\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b/gi;
const TAX_ID = /(?<![\d+])\d{2}[ /]?\d{3}[ /]?\d{3}[ /]?\d{3}(?!\d)/g;
/** What may be a phone number; the library, which looks at every character in many ways, judges these pieces only. */
const PHONE_LIKE = /(?<![\d+][ ()/.-]?)(?:\+|\(?0)[\d ()/.-]{4,24}\d(?!\d)/g;
/** A text with more of them is no letter of a person's: the rest counts as found. */
const MAX_JUDGED_PHONES = 500;
const SHORTEST_IBAN = 15;

/**
 * Finds personal data: e-mail addresses, IBANs with right check digits (ISO 13616), German tax ids with a right check digit (§ 139b AO),
 * phone numbers with an area code or country code, and the host's names. What has the form and a wrong check digit is none.
 */
export function findPersonalData(text: string, options: PersonalDataOptions): PersonalDataFinding[] {
  const allowed = new Set(options.allow.map(comparable));
  const found: PersonalDataFinding[] = [];
  const isFree = (start: number, end: number) => found.every((other) => end <= other.start || start >= other.end);
  for (const kind of ["email", "iban", "tax_id", "phone", "name"] as const) {
    if (!options.kinds.includes(kind)) continue;
    for (const { start, end } of FINDERS[kind](text, options)) {
      if (isFree(start, end) && !allowed.has(comparable(text.slice(start, end)))) found.push({ kind, start, end });
    }
  }
  return found.sort((left, right) => left.start - right.start);
}

/** The text with a placeholder for each finding, for example `[EMAIL]`. */
export function redact(text: string, findings: readonly PersonalDataFinding[]): string {
  let redacted = "";
  let from = 0;
  for (const { kind, start, end } of findings) {
    redacted += text.slice(from, start) + PLACEHOLDERS[kind];
    from = end;
  }
  return redacted + text.slice(from);
}

type Span = Pick<PersonalDataFinding, "start" | "end">;

const FINDERS: Readonly<Record<PersonalDataKind, (text: string, options: PersonalDataOptions) => Span[]>> = {
  email: (text) => {
    if (!text.includes("@")) return [];
    // a full stop that ends the sentence is none of the address's
    return matches(text, EMAIL)
      .map(({ start, end }) => ({ start, end: end - /[.-]*$/.exec(text.slice(start, end))![0].length }))
      .filter(({ start, end }) => validator.isEmail(text.slice(start, end), { allow_utf8_local_part: true }));
  },
  iban: (text) => matches(text, IBAN).flatMap((span) => validIban(text, span)),
  tax_id: (text) => matches(text, TAX_ID).filter(({ start, end }) => validator.isTaxID(digitsOf(text.slice(start, end)), "de-DE")),
  phone: (text, { country }) =>
    matches(text, PHONE_LIKE).flatMap((span, index) =>
      index < MAX_JUDGED_PHONES ? validPhones(text, span, country as CountryCode) : [span],
    ),
  name: (text, { names }) => names.flatMap((name) => (name.trim() === "" ? [] : matches(text, nameOf(name)))),
};

function validPhones(text: string, span: Span, country: CountryCode): Span[] {
  return findPhoneNumbersInText(text.slice(span.start, span.end), country)
    .map(({ startsAt, endsAt }) => ({ start: span.start + startsAt, end: span.start + endsAt }))
    .filter(({ start }) => /[+(0]/.test(text[start]!));
}

/** Words that follow an IBAN look as if they belonged to it: the longest beginning that is valid is it. */
function validIban(text: string, { start, end }: Span): Span[] {
  for (let last = end; last - start >= SHORTEST_IBAN; last--) {
    const candidate = text.slice(start, last);
    if (!/\s$/.test(candidate) && validator.isIBAN(candidate.replaceAll(" ", ""))) return [{ start, end: last }];
  }
  return [];
}

function matches(text: string, pattern: RegExp): Span[] {
  return [...text.matchAll(pattern)].map((match) => ({ start: match.index, end: match.index + match[0].length }));
}

function nameOf(name: string): RegExp {
  const words = name
    .trim()
    .split(/\s+/)
    .map((word) => word.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
  return new RegExp(`(?<![\\p{L}\\p{N}])${words.join("\\s+")}(?:s|’s|'s)?(?![\\p{L}\\p{N}])`, "giu");
}

function digitsOf(text: string): string {
  return text.replace(/\D/g, "");
}

function comparable(text: string): string {
  return text.replace(/\s/g, "").toLowerCase();
}
