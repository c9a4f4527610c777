/** What `onProgress` of `installRuntime` gets. */
export interface InstallStep {
  step: "python" | "waiting" | "environment" | "installer" | "packages" | "check" | "done";
  message: string;
  /** 0..100, never falling within one installation. */
  percent: number;
}

const PACKAGES_FROM = 10;
const PACKAGES_TO = 97;
const INSTALLING_FROM = 90;
const UNITS: Record<string, number> = { KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** Turns uv's lines (`Downloading torch (506.1MiB)`, ` Downloaded torch`, `Prepared …`, ` + name==1.0`) into percent. */
export class InstallProgress {
  readonly #onProgress: ((step: InstallStep) => void) | undefined;
  #percent = 0;
  #sizes = new Map<string, number>();
  #done = 0;

  constructor(onProgress: ((step: InstallStep) => void) | undefined) {
    this.#onProgress = onProgress;
  }

  step(step: InstallStep["step"], message: string, percent: number): void {
    this.#percent = Math.max(this.#percent, percent);
    this.#onProgress?.({ step, message, percent: Math.round(this.#percent) });
  }

  /** A run of uv begins. */
  begin(): void {
    this.#sizes = new Map();
    this.#done = 0;
  }

  line(line: string): void {
    const started = /^\s*Downloading (\S+) \(([\d.]+)(KiB|MiB|GiB)\)/.exec(line);
    if (started) {
      const [, name = "", size = "0", unit = "KiB"] = started;
      this.#sizes.set(name, Number(size) * (UNITS[unit] ?? 1));
      this.step("packages", `downloading ${name} (${size} ${unit})`, this.#share());
      return;
    }
    const finished = /^\s*Downloaded (\S+)/.exec(line)?.[1];
    if (finished !== undefined) {
      this.#done += this.#sizes.get(finished) ?? 0;
      this.step("packages", `downloaded ${finished}`, this.#share());
      return;
    }
    if (/^\s*Prepared \d+/.test(line)) this.step("packages", "installing the packages", INSTALLING_FROM);
    else if (/^\s*Installed \d+/.test(line)) this.step("packages", line.trim().toLowerCase(), PACKAGES_TO);
  }

  #share(): number {
    const total = [...this.#sizes.values()].reduce((sum, size) => sum + size, 0);
    return total === 0 ? PACKAGES_FROM : PACKAGES_FROM + (INSTALLING_FROM - PACKAGES_FROM) * (this.#done / total);
  }
}
