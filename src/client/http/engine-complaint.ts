/** What an engine says about an error, in OpenAI's, vLLM's or FastAPI's shape. */
export interface EngineComplaint {
  message: string;
  type?: string;
  param?: string;
  code?: string | number;
  /** The bundled runtime's own code. */
  runtimeCode?: string;
}

/** Reads the message out of an error body of any known shape. */
export function readComplaint(text: string): EngineComplaint {
  const body = parseObject(text);
  const nested = body.error;
  const source = typeof nested === "object" && nested !== null ? (nested as Record<string, unknown>) : body;
  const message = [source.message, nested, source.detail, text].find((value) => typeof value === "string" && value !== "") as
    | string
    | undefined;
  return {
    message: (message ?? "no message").replace(/\s+/g, " ").trim().slice(0, 500),
    type: asString(source.type),
    param: asString(source.param),
    code: typeof source.code === "number" ? source.code : asString(source.code),
    runtimeCode: asString(source.clara_code),
  };
}

/** For a route that is not there vLLM says "Not Found", Ollama "404 page not found", the bundled runtime "is not a route", proxies a page. */
export function isMissingRoute({ message }: EngineComplaint): boolean {
  return /^(404 page )?not found$|is not a route|^<(!doctype|html)/i.test(message);
}

/** OpenAI says `model_not_found`, vLLM names the parameter, others only say so. */
export function isMissingModel(complaint: EngineComplaint): boolean {
  const { message } = complaint;
  return !isMissingRoute(complaint) && /model|adapter/i.test(message) && /not (exist|found)|unknown|cannot be found/i.test(message);
}

function asString(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    // an error page need not be JSON; its text is then the message
    return {};
  }
}
