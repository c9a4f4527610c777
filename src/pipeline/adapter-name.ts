/** The adapter name of a domain's cycles: the domain; adapters must begin with a letter or a digit. */
export function adapterNameOf(domain: string): string {
  return domain.replace(/^[_-]+/, "") || "domain";
}

/** The parts of `name@vN`. */
export function parseAdapterId(id: string): { name: string; version: number } {
  const at = id.lastIndexOf("@v");
  return { name: id.slice(0, at), version: Number(id.slice(at + 2)) };
}
