const NAMES = new Set([
  "PATH",
  "HOME",
  "USER",
  "LOGNAME",
  "LANG",
  "LANGUAGE",
  "TZ",
  "TMPDIR",
  "TEMP",
  "TMP",
  "SYSTEMROOT",
  "COMSPEC",
  "PATHEXT",
  "USERPROFILE",
  "APPDATA",
  "LOCALAPPDATA",
  "LD_LIBRARY_PATH",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
  "REQUESTS_CA_BUNDLE",
  "CURL_CA_BUNDLE",
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "ALL_PROXY",
  "NO_PROXY",
  "XDG_CACHE_HOME",
  "OMP_NUM_THREADS",
  "MKL_NUM_THREADS",
  "CLARA_RUNTIME_MODELS",
]);
const PREFIXES = [
  "LC_",
  "CUDA_",
  "NVIDIA_",
  "NCCL_",
  "HIP_",
  "ROCR_",
  "PIP_",
  "UV_",
  "HF_",
  "TORCH_",
  "PYTORCH_",
  "TRANSFORMERS_",
  "VLLM_",
];

/**
 * What a child process may see of this one's environment: what it needs to find programs, devices, mirrors and models, and
 * no key of any provider.
 */
export function childEnvironment(extra: Record<string, string> = {}, source: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const [name, value] of Object.entries(source)) {
    const upper = name.toUpperCase();
    if (value !== undefined && (NAMES.has(upper) || PREFIXES.some((prefix) => upper.startsWith(prefix)))) environment[name] = value;
  }
  return { ...environment, ...extra };
}

/** Runs a module of the bundled package in an isolated interpreter: no PYTHONPATH, no user site, no module of the current folder. */
const BOOTSTRAP =
  "import runpy, sys; sys.path.insert(0, sys.argv[1]); module = sys.argv[2]; del sys.argv[1:3]; runpy.run_module(module, run_name='__main__', alter_sys=True)";

/** The arguments that make a Python interpreter run a module of `sourceFolder`. */
export function moduleArguments(sourceFolder: string, module: string, args: readonly string[]): string[] {
  return ["-I", "-X", "utf8", "-c", BOOTSTRAP, sourceFolder, module, ...args];
}
