// Requests to the page's own server. A refusal is an ApiError with its message for people.

export class ApiError extends Error {
  constructor(status, body) {
    super(body.message || "The page's server refused it. Is `clipflow review` still running?");
    this.status = status;
    this.body = body;
  }
}

async function request(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new ApiError(0, { message: "clipflow review does not answer: start it again." });
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new ApiError(answer.status, body);
  return body;
}

export const readState = () => request("api/state");

export const readProgress = (run) => request(`api/progress/${run}`);

export const startRun = () => request("api/render", { method: "POST" });

export const saveEdits = (edits, etag) =>
  request("api/edits", {
    method: "PUT",
    headers: { "Content-Type": "application/json", ...(etag ? { "If-Match": etag } : {}) },
    body: JSON.stringify(edits),
  });
