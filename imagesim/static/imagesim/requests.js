// A time limit for requests: a server that never answers is one that does not answer.

const TIME_LIMIT = 60_000; // milliseconds, the answer's body included

// Return the signal of a request that ends it after the time limit, and earlier if ``controller`` is aborted.
export function withLimit(controller = new AbortController(), limit = TIME_LIMIT) {
  setTimeout(() => controller.abort(new DOMException("The server did not answer.", "TimeoutError")), limit);
  return controller.signal;
}

// Whether a request was ended by another one, or by the visitor, and not by the time limit.
export const isCancelled = ({ signal }) => signal.reason?.name === "AbortError";
