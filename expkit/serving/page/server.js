// Asking the server. Of questions that follow each other quickly only the newest matters.

export async function ask(body, type, show) {
  const headers = type ? { "Content-Type": type } : {};
  let answer;
  try {
    answer = await fetch(`/api/predict${show ? "?show=input" : ""}`, { method: "POST", headers, body });
  } catch {
    throw new Error("The server does not answer. Does `expkit serve` still run?");
  }
  let found;
  try {
    found = await answer.json();
  } catch {
    throw new Error(`The server answers ${answer.status} ${answer.statusText}.`);
  }
  if (!found.items) throw new Error(found.error || `The server answers ${answer.status}.`);
  return found.items;
}

// Calls `work` at once, or when the call before has ended; calls in between are left out, but for the last one.
export function newest(work, pause) {
  let running = false, wanted = false, last = 0;
  async function go() {
    if (running) { wanted = true; return; }
    running = true;
    do {
      wanted = false;
      const rest = last + pause - performance.now();
      if (rest > 0) await new Promise((done) => setTimeout(done, rest));
      last = performance.now();
      await work();
    } while (wanted);
    running = false;
  }
  return go;
}
