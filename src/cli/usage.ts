import { ConfigurationError } from "../errors.js";

/** What citty leaves to us. */
export const usage = {
  /** Every value of an option that may be given more than once: `--name A --name=B`. */
  repeated(rawArgs: readonly string[], name: string): string[] {
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
  },
};
