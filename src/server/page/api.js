// The server's API: requests with the user's key, errors as sentences, streams as objects.

const KEY = "anser-key"; // in sessionStorage: gone with the tab

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
};

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status; // 0: the server could not be reached
  }
}

async function error_of(response) {
  const text = await response.text();
  try {
    return new ApiError(response.status, JSON.parse(text).error.message);
  } catch {
    return new ApiError(response.status, `the server answered ${response.status}`);
  }
}

// A Response whose status is good. `body`: an object goes as JSON, a Blob as it is.
export async function request(method, path, body, signal) {
  const headers = {};
  if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
  if (body instanceof Blob) {
    headers["Content-Type"] = "application/octet-stream";
  } else if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, { method, headers, body, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "the server cannot be reached");
  }
  if (!response.ok) throw await error_of(response);
  return response;
}

export async function ask(method, path, body, signal) {
  return (await request(method, path, body, signal)).json();
}

// The objects of an answer that is streamed, as they come. Who reads no further ends it.
export async function* stream(path, body, signal) {
  const response = await request("POST", path, { ...body, stream: true }, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const part = await reader.read();
      if (part.done) throw new ApiError(0, "the answer broke off");
      const events = (rest + part.value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        const data = event.replace(/^data: /, "");
        if (data === "[DONE]") return;
        const object = JSON.parse(data);
        if (object.error) throw new ApiError(500, object.error.message);
        yield object;
      }
    }
  } catch (error) {
    if (error.name === "AbortError" || error instanceof ApiError) throw error;
    throw new ApiError(0, "the connection broke off");
  } finally {
    reader.cancel().catch(() => {});
  }
}
