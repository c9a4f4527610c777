/** `clara-sdk/openai`: the official `openai` client, answered by CLARA. */
export { type ClaraFetch, claraFetch } from "./clara-fetch.js";
