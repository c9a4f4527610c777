/**
 * Shows how much personal data the firewall finds: seeded sentences with one e-mail address, IBAN, tax id, phone number or name each, in
 * the forms that people write them in, and sentences with numbers that are none.
 *
 *   npm run measure:personal-data
 */
import { measureRecall } from "../test/pipeline/support/personal-data-set.js";

const COUNT = 5_000;
const { recall, falseAlarms } = measureRecall(COUNT);
console.log(`${COUNT} sentences each\n`);
for (const [kind, share] of Object.entries(recall)) console.log(`${kind.padEnd(8)} recall ${(100 * share).toFixed(1)} %`);
console.log(`harmless numbers taken for personal data: ${(100 * falseAlarms).toFixed(1)} %`);
