// Return why a request was refused: in the server's words or, if a proxy in front of it answered, in the template's.
export function explainRefusal(text, { status, detail, wait }) {
  if (status === 429) return text.textThrottled.replace("{seconds}", wait || "60");
  return detail || (status === 413 ? text.textSize : text.textFailed);
}

// Return the seconds to wait; 0 if the answer names none, or a date.
export const retryAfter = (response) => Number(response?.headers.get("Retry-After")) || 0;
