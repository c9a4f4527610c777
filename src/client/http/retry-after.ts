/** Milliseconds that a `retry-after` header asks for (RFC 9110, 10.2.3: seconds or an HTTP date); null where it says nothing usable. */
export function parseRetryAfter(header: string | null, now: number = Date.now()): number | null {
  if (header === null) return null;
  const text = header.trim();
  if (/^\d+(\.\d+)?$/.test(text)) return Math.ceil(Number(text) * 1_000);
  // every HTTP date begins with the day's name; Date.parse alone takes "-3" for a year
  const date = /^[A-Z][a-z]+,? /.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(date) ? null : Math.max(0, date - now);
}
