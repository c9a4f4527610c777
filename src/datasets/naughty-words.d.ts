/** The package ships no types. */
declare module "naughty-words" {
  const words: { readonly de: readonly string[]; readonly en: readonly string[] };
  export default words;
}
