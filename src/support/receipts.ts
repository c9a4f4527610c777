import { createHmac, timingSafeEqual } from "node:crypto";

/** What proves that an answer was given to somebody: HMAC-SHA256 over the generation's id and the person, base64url. */
export function signReceipt(secret: string, generationId: string, subjectId: string | undefined): string {
  const signed = `${generationId.length}:${generationId}${subjectId === undefined ? "-" : `+${subjectId}`}`;
  return createHmac("sha256", secret).update(signed).digest("base64url");
}

/** True for the receipt that `signReceipt` gives; takes the same time for every wrong one. */
export function isReceipt(receipt: string, secret: string, generationId: string, subjectId: string | undefined): boolean {
  const right = Buffer.from(signReceipt(secret, generationId, subjectId));
  const given = Buffer.from(receipt);
  return given.length === right.length && timingSafeEqual(given, right);
}
