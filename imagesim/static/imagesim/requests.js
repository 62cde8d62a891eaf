// Requests with a time limit: a server that takes too long counts as one that does not answer.

import { retryAfter } from "./refusals.js";

const TIME_LIMIT = 60_000; // milliseconds, the answer's body included
const TRIES = 3; // of a request that finds the server busy

// Return a signal that aborts a request after the time limit, or earlier if ``controller`` is aborted.
export function withLimit(controller = new AbortController(), limit = TIME_LIMIT) {
  setTimeout(() => controller.abort(new DOMException("The server did not answer.", "TimeoutError")), limit);
  return controller.signal;
}

// Whether a request was cancelled by another one or by the visitor, not by the time limit.
export const isCancelled = ({ signal }) => signal.reason?.name === "AbortError";

// Return the page at a URL as a document; null if the server refuses it. Does not use DOMParser, which a
// Content-Security-Policy that requires trusted types forbids.
export function getPage(url) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", url);
    request.responseType = "document";
    request.timeout = TIME_LIMIT;
    request.addEventListener("load", () => resolve(request.status < 300 ? request.responseXML : null));
    for (const type of ["error", "abort", "timeout"]) request.addEventListener(type, () => reject(new Error(type)));
    request.send();
  });
}

// Return the header with the CSRF token of a form; ``data-header`` has its name in the project (``CSRF_HEADER_NAME``).
export function csrfHeaderOf(form) {
  const field = form.elements.namedItem("csrfmiddlewaretoken");
  return field ? { [field.dataset.header ?? "X-CSRFToken"]: field.value } : {};
}

// Return name and value of the fields of a form that are not empty, without files.
export function fieldsOf(form) {
  const fields = [];
  for (const [name, value] of new FormData(form)) {
    if (typeof value === "string" && value.trim() && name !== "csrfmiddlewaretoken") fields.push([name, value.trim()]);
  }
  return fields;
}

// Post a form to the REST API, again if the server is busy with other photos. Return the answer with ``ok``, ``status`` (0
// without an answer) and ``wait``, the seconds to wait; null if ``request``, its AbortController, was cancelled. A
// refusal by a proxy in HTML has no other fields.
export async function post(url, body, csrfHeader, request) {
  const headers = { Accept: "application/json", ...csrfHeader };
  const options = { method: "POST", body, headers, signal: withLimit(request) };
  for (let tries = 1; ; tries++) {
    const answer = await postOnce(url, options);
    if (answer.code !== "busy" || tries === TRIES) return isCancelled(request) ? null : answer;
    await new Promise((resolve) => setTimeout(resolve, 1000 * (answer.wait + Math.random())));
  }
}

async function postOnce(url, options) {
  let response;
  let answer;
  try {
    response = await fetch(url, options);
    answer = await response.json();
  } catch {
    // without an answer
  }
  return { ...answer, ok: Boolean(response?.ok && answer), status: response?.status ?? 0, wait: retryAfter(response) };
}
