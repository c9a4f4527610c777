/**
 * Type-checks every example that the public reference and the guides show, as a reader would run it:
 * each `@example` in src, and each block marked ts in README.md, CONTRIBUTING.md and docs.
 * Names each exported function and each public method of an exported class that has no example.
 *
 *   node scripts/check-examples.ts
 *
 * An example may leave out the imports of this package; names that it does not declare itself (`clara`, `signal`, …) are those
 * of scripts/example-context.d.ts.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

interface Example {
  file: string;
  /** Of its first line of code. */
  line: number;
  code: string;
  /** The source file that it stands in; what that file exports may be used as well. */
  source?: ts.SourceFile;
}

const root = fileURLToPath(new URL("..", import.meta.url));
const packageEntries: Record<string, string> = {
  "clara-sdk": "src/index.ts",
  "clara-sdk/testing": "src/testing/index.ts",
  "clara-sdk/openai": "src/integrations/openai.ts",
  "clara-sdk/ai-sdk": "src/integrations/ai-sdk.ts",
  "clara-sdk/uds3": "src/uds3/index.ts",
};
const contextFile = join(root, "scripts/example-context.d.ts");

const config = ts.parseJsonConfigFileContent(ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile).config, ts.sys, root);
// an example that shows what a call gives need not use it, and statements may stand for a file's top level
const options: ts.CompilerOptions = { ...config.options, isolatedModules: false, verbatimModuleSyntax: false };
const entries = Object.values(packageEntries).map((path) => join(root, path));

const declarations = ts.createProgram([...entries, contextFile], options);
const checker = declarations.getTypeChecker();
const exportedNames = new Map<string, string>();
const missing: string[] = [];
for (const [specifier, path] of Object.entries(packageEntries)) {
  const module = checker.getSymbolAtLocation(declarations.getSourceFile(join(root, path)) as ts.SourceFile);
  for (const symbol of checker.getExportsOfModule(module as ts.Symbol)) {
    if (!exportedNames.has(symbol.name)) exportedNames.set(symbol.name, specifier);
    missing.push(...withoutExample(symbol));
  }
}

const examples = [...sourceExamples(), ...["README.md", "CONTRIBUTING.md", ...markdownFiles("docs")].flatMap(markdownExamples)];
const virtual = new Map(examples.map((example, index) => [join(root, `example-${index}.ts`), { example, ...asModule(example) }]));
const host = ts.createCompilerHost(options);
const { fileExists, readFile, getSourceFile } = host;
host.fileExists = (path) => virtual.has(path) || fileExists(path);
host.readFile = (path) => virtual.get(path)?.text ?? readFile(path);
host.getSourceFile = (path, language, ...rest) => {
  const made = virtual.get(path);
  if (made) return ts.createSourceFile(path, made.text, language);
  return declarations.getSourceFile(path) ?? getSourceFile(path, language, ...rest);
};
const program = ts.createProgram({ rootNames: [...virtual.keys(), contextFile], options, host });

let failures = 0;
for (const [path, { example, before }] of virtual) {
  const source = program.getSourceFile(path) as ts.SourceFile;
  for (const found of [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)]) {
    failures += 1;
    const at = source.getLineAndCharacterOfPosition(found.start ?? 0).line;
    const text = source.text.split("\n")[at]?.trim();
    const message = ts.flattenDiagnosticMessageText(found.messageText, "\n");
    process.stderr.write(`${example.file}:${example.line + Math.max(0, at - before)}: ${message}\n    ${text}\n`);
  }
}
for (const name of missing) process.stderr.write(`${name} has no @example\n`);
process.stdout.write(`${examples.length} examples, ${failures} type errors, ${missing.length} public functions without an example\n`);
if (failures + missing.length > 0 || examples.length === 0) process.exitCode = 1;

/** The example as a module: its imports, those it left out, and the rest in a function, so that `await` and `return` are fine. */
function asModule({ code, source }: Example): { text: string; before: number } {
  const parsed = ts.createSourceFile("example.ts", code, ts.ScriptTarget.Latest, true);
  const imports = parsed.statements.filter(ts.isImportDeclaration);
  const imported = new Set(imports.flatMap(namesOf));
  const body = blanked(code, imports);
  const used = new Set([...body.matchAll(/[A-Za-z_$][\w$]*/g)].map(([name]) => name));
  const added = [...exportedNames, ...ownExports(source)].filter(([name]) => used.has(name) && !imported.has(name));
  const head = [
    ...added.map(([name, specifier]) => `import { ${name} } from "${specifier}";`),
    ...imports.map((one) => one.getText(parsed).replaceAll(/\s*\n\s*/g, " ")),
    "export async function example() {",
  ];
  return { text: `${head.join("\n")}\n${body}\n}\n`, before: head.length };
}

/** What the example's own file exports and the package does not. */
function ownExports(source: ts.SourceFile | undefined): [name: string, specifier: string][] {
  const module = source && checker.getSymbolAtLocation(source);
  if (!source || !module) return [];
  const names = checker.getExportsOfModule(module).map(({ name }) => name);
  return names.filter((name) => !exportedNames.has(name)).map((name) => [name, source.fileName]);
}

function namesOf({ importClause }: ts.ImportDeclaration): string[] {
  const bindings = importClause?.namedBindings;
  const named = bindings === undefined ? [] : ts.isNamespaceImport(bindings) ? [bindings.name] : bindings.elements.map(({ name }) => name);
  return [...(importClause?.name ? [importClause.name] : []), ...named].map(({ text }) => text);
}

/** The code with these statements as spaces, so that lines keep their numbers. */
function blanked(code: string, statements: readonly ts.Statement[]): string {
  let text = code;
  for (const { pos, end } of statements) text = text.slice(0, pos) + text.slice(pos, end).replaceAll(/[^\n]/g, " ") + text.slice(end);
  return text;
}

function sourceExamples(): Example[] {
  const found: Example[] = [];
  for (const source of declarations.getSourceFiles()) {
    const file = relative(root, source.fileName);
    if (!file.startsWith("src/")) continue;
    for (const comment of source.text.matchAll(/\/\*\*[\s\S]*?\*\//g)) {
      // the fence's content without the comment's stars
      for (const fence of comment[0].matchAll(/^[ \t]*\* ?```ts\n([\s\S]*?)^[ \t]*\* ?```/gm)) {
        const start = comment.index + fence.index;
        const code = (fence[1] as string).replaceAll(/^[ \t]*\* ?/gm, "");
        found.push({ file, line: source.getLineAndCharacterOfPosition(start).line + 2, code, source });
      }
    }
  }
  return found;
}

function markdownFiles(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md") && !name.startsWith("api/"))
    .map((name) => join(folder, name));
}

function markdownExamples(file: string): Example[] {
  const text = readFileSync(resolve(root, file), "utf8");
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map((fence) => ({
    file,
    line: text.slice(0, fence.index).split("\n").length + 1,
    code: fence[1] as string,
  }));
}

/** What of an export, and of its public methods, shows no example. */
function withoutExample(exported: ts.Symbol): string[] {
  const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
  const isShown = (one: ts.Symbol) => one.getJsDocTags(checker).some(({ name }) => name === "example");
  if (symbol.flags & ts.SymbolFlags.Function) return isShown(symbol) ? [] : [symbol.name];
  if (!(symbol.flags & ts.SymbolFlags.Class)) return [];
  const statics = [...(symbol.exports?.values() ?? [])];
  const methods = [...(symbol.members?.values() ?? []), ...statics].filter((member) => member.flags & ts.SymbolFlags.Method);
  return methods.filter((method) => isPublic(method) && !isShown(method)).map((method) => `${symbol.name}.${method.name}`);
}

function isPublic(method: ts.Symbol): boolean {
  // well-known symbols (`Symbol.asyncDispose`) and private names have no plain one
  if (!/^[a-z]/i.test(method.name)) return false;
  return (method.declarations ?? []).every((declaration) => {
    const isHidden = ts.getCombinedModifierFlags(declaration) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected);
    const isInternal = ts.getJSDocTags(declaration).some(({ tagName }) => tagName.text === "internal");
    return !isHidden && !isInternal;
  });
}
