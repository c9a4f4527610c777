import { hashOf } from "../support/hash-of.js";
import { normaliseText } from "./text-normalisation.js";

/** Answers that unrelated questions share; they say nothing about which fact is meant. */
const GENERIC_ANSWERS = new Set([
  ..."yes no ja nein true false wahr falsch ok okay none nothing nichts maybe vielleicht unknown unbekannt right wrong richtig".split(" "),
  ..."i don t know|not sure|no idea|das weiß ich nicht|weiß ich nicht|keine ahnung".split("|"),
]);

/** Key of an answer: samples with the same normalised answer state the same fact and share it. */
export function groupKeyOf(response: string): string {
  return hashOf("answer", normaliseText(response)).slice(0, 32);
}

/** True for answers such as "yes", after which two questions need not be phrasings of one. */
export function isGenericAnswer(response: string): boolean {
  return GENERIC_ANSWERS.has(normaliseText(response));
}
