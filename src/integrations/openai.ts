/** `clara-sdk/openai`: the official `openai` client, answered by CLARA. */
export { type ClaraFetch, type ClaraFetchOptions, claraFetch } from "./clara-fetch.js";
