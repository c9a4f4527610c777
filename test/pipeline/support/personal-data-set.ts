import { findPersonalData, type PersonalDataKind, type PersonalDataOptions, redact } from "../../../src/support/personal-data.js";
import { seededRandom } from "../../../src/support/seeded-random.js";

/** All kinds, and one name. */
export const PERSONAL_DATA_OPTIONS: PersonalDataOptions = {
  kinds: ["email", "iban", "tax_id", "phone", "name"],
  names: ["Erika Mustermann"],
  allow: [],
  country: "DE",
};

/** Seeded sentences with one piece of personal data each, in the forms that people use, and sentences with numbers that are none. */
export function measureRecall(count: number): { recall: Record<string, number>; falseAlarms: number } {
  const random = seededRandom(7);
  const pick = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)]!;
  const digits = (length: number) => Array.from({ length }, () => Math.floor(random() * 10)).join("");
  const sentences = ["Bitte an {} wenden.", "{}", "Meine Daten: {} (privat)", "Das ist {}, danke!", "Call me: {}\nThanks", "war „{}“"];
  const names = ["mueller", "k.schmidt", "anna-lena", "j_doe", "office", "max.mustermann.2"];
  const make: Record<PersonalDataKind, () => string> = {
    email: () => `${pick(names)}@${pick(["gmx", "web", "stadt-ulm", "mail.example"])}.${pick(["de", "com", "org", "co.uk"])}`,
    iban: () => {
      const account = digits(18);
      const check = String(98n - (BigInt(`${account}131400`) % 97n)).padStart(2, "0");
      const iban = `DE${check}${account}`;
      return pick([iban, iban.replace(/(.{4})(?=.)/g, "$1 "), iban.toLowerCase()]);
    },
    tax_id: () => {
      const id = taxId(digits, random);
      return pick([id, id.replace(/^(..)(...)(...)(...)$/, "$1 $2 $3 $4")]);
    },
    phone: () => {
      const [area, local] = [pick(["30", "89", "711", "221", "171", "160", "7531"]), `${1 + Math.floor(random() * 9)}${digits(6)}`];
      return pick([
        `0${area} ${local}`,
        `0${area}/${local}`,
        `+49 ${area} ${local}`,
        `+49${area}${local}`,
        `(0${area}) ${local}`,
        `0${area}-${local}`,
        `0049 ${area} ${local}`,
      ]);
    },
    name: () => pick(["Erika Mustermann", "ERIKA MUSTERMANN", "erika mustermann", "Erika Mustermanns"]),
  };
  const recall: Record<string, number> = {};
  for (const kind of Object.keys(make) as PersonalDataKind[]) {
    let found = 0;
    for (let index = 0; index < count; index++) {
      const datum = make[kind]();
      const text = pick(sentences).replace("{}", datum);
      if (!redact(text, findPersonalData(text, PERSONAL_DATA_OPTIONS)).includes(datum)) found++;
    }
    recall[kind] = found / count;
  }
  const harmless = [
    () => `Aktenzeichen ${digits(4)}-${digits(6)}`,
    () => `Rechnung Nr. ${1 + Math.floor(random() * 9)}${digits(7)} über ${digits(2)},${digits(2)} €`,
    () => `am ${1 + Math.floor(random() * 28)}.${1 + Math.floor(random() * 12)}.20${digits(2)} um 1${digits(1)}:${digits(2)} Uhr`,
    () => `PLZ 7${digits(4)}, Zimmer ${digits(3)}, Kundennummer 4${digits(9)}`,
    () => `Version ${digits(1)}.${digits(2)}.${digits(3)}`,
  ];
  let falseAlarms = 0;
  for (let index = 0; index < count; index++) if (findPersonalData(pick(harmless)(), PERSONAL_DATA_OPTIONS).length > 0) falseAlarms++;
  return { recall, falseAlarms: falseAlarms / count };
}

/** A right one: ten digits of which one comes twice, and the check digit of ISO 7064, MOD 11,10. */
function taxId(digits: (length: number) => string, random: () => number): string {
  const shuffled = [..."0123456789"].sort(() => random() - 0.5);
  const first = shuffled.findIndex((digit) => digit !== "0");
  [shuffled[0], shuffled[first]] = [shuffled[first]!, shuffled[0]!];
  shuffled[9] = shuffled[1 + Math.floor(random() * 8)]!;
  let product = 10;
  for (const digit of shuffled) {
    const sum = (Number(digit) + product) % 10 || 10;
    product = (sum * 2) % 11;
  }
  return shuffled.join("") + String((11 - product) % 10) + digits(0);
}
