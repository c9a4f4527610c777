import { describe, expect, it } from "vitest";
import { findPersonalData, type PersonalDataOptions, redact } from "../../src/support/personal-data.js";
import { measureRecall, PERSONAL_DATA_OPTIONS as options } from "./support/personal-data-set.js";

const redacted = (text: string, over: Partial<PersonalDataOptions> = {}) => redact(text, findPersonalData(text, { ...options, ...over }));

describe("personal data", () => {
  it.each([
    ["Schreiben Sie an erika.mustermann+amt@stadt-musterstadt.de.", "Schreiben Sie an [EMAIL]."],
    ["Meine IBAN ist DE89 3704 0044 0532 0130 00 und bleibt es.", "Meine IBAN ist [IBAN] und bleibt es."],
    ["Konto: DE89370400440532013000", "Konto: [IBAN]"],
    ["AT61 1904 3002 3457 3201, bitte", "[IBAN], bitte"],
    ["Steuer-ID 86 095 742 719", "Steuer-ID [TAX_ID]"],
    ["Rückruf unter +49 171 1234567 oder 030 1234567", "Rückruf unter [PHONE] oder [PHONE]"],
    ["(0711) 685-1234 ist besetzt", "[PHONE] ist besetzt"],
    ["Frag Erika  Mustermann, erika mustermanns Büro ist offen.", "Frag [NAME], [NAME] Büro ist offen."],
  ])("is taken out of %j", (text, expected) => {
    expect(redacted(text)).toBe(expected);
  });

  it.each([
    "Die Gebühr beträgt 12,50 Euro, fällig am 12.05.2024 um 10:30 Uhr.",
    "Aktenzeichen 2024-1234567, Haus 17, Raum 3.204, PLZ 70173",
    "DE88 3704 0044 0532 0130 00 hat falsche Prüfziffern.",
    "Steuer-ID 86 095 742 718 hat eine falsche Prüfziffer.",
    "Say hi @ the front desk, or v1.2.3@latest.",
    "Mustermann Erika und Erikas Mustermann-Haus",
  ])("is not seen in %j", (text) => {
    expect(redacted(text)).toBe(text);
  });

  it("stays where it is the host's own", () => {
    const allow = ["amt@stadt.de", "+49 711 216-0"];
    expect(
      redacted("Schreiben Sie an Amt@Stadt.de oder rufen Sie +49 711 2160 oder +497112161 an", { allow: [...allow, "+49 711 2160"] }),
    ).toBe("Schreiben Sie an Amt@Stadt.de oder rufen Sie +49 711 2160 oder [PHONE] an");
    expect(redacted("erika@stadt.de, 030 1234567", { kinds: ["phone"] })).toBe("erika@stadt.de, [PHONE]");
  });

  it("is found in nearly all forms that people write it in, and little else is", () => {
    const { recall, falseAlarms } = measureRecall(2_000);
    for (const [kind, share] of Object.entries(recall))
      expect([kind, share]).toEqual([kind, expect.toSatisfy((value: number) => value >= 0.95)]);
    expect(falseAlarms).toBeLessThan(0.05);
  });

  it("is looked for in a megabyte of anything within a second of CPU", () => {
    for (const piece of ["a", "a@", "0", "DE89", "+49 ", "1 ", "@@@@", "Erika "]) {
      const text = piece.repeat(Math.ceil(1_000_000 / piece.length));
      const before = process.cpuUsage();
      findPersonalData(text, options);
      const { user, system } = process.cpuUsage(before);
      expect([piece, (user + system) / 1_000]).toEqual([piece, expect.toSatisfy((ms: number) => ms < 1_000)]);
    }
  });
});
