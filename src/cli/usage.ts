import type { CommandDef } from "citty";
import { ConfigurationError } from "../errors.js";

/** Options that every command has. */
const EVERYWHERE = ["help", "version"];

/** Every value of an option that may be given more than once: `--name A --name=B`. */
export function repeatedOption(rawArgs: readonly string[], name: string): string[] {
  const values: string[] = [];
  for (const [index, argument] of rawArgs.entries()) {
    if (argument.startsWith(`--${name}=`)) values.push(argument.slice(name.length + 3));
    else if (argument === `--${name}`) {
      const value = rawArgs[index + 1];
      if (value === undefined || value.startsWith("--")) throw new ConfigurationError("config_invalid", `--${name} needs a value.`);
      values.push(value);
    }
  }
  return values;
}

/**
 * Refuses options that the command does not have: the parser would ignore them, and with them what the user meant.
 * @throws ConfigurationError `config_invalid`
 */
export function refuseUnknownOptions(command: CommandDef, rawArgs: readonly string[], path: readonly string[] = ["clara"]): void {
  const [first, ...rest] = rawArgs;
  const below = first === undefined ? undefined : (command.subCommands as Record<string, CommandDef> | undefined)?.[first];
  if (below) {
    refuseUnknownOptions(below, rest, [...path, first as string]);
    return;
  }
  const known = [...Object.keys(command.args ?? {}), ...EVERYWHERE];
  for (const argument of rawArgs) {
    if (argument === "--") return;
    const name = /^--(?:no-)?([^=]+)/.exec(argument)?.[1];
    if (name === undefined || known.includes(name)) continue;
    const called = path.join(" ");
    throw new ConfigurationError("config_invalid", `${called} has no option --${name}; \`${called} --help\` lists those it has.`);
  }
}
