// Requests to Lexor. A step is answered with the labels that it changed; see `packed` in viewer.py.

export class Refused extends Error {}
export class Lost extends Error {}

async function send(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let reply;
  try {
    reply = await fetch(path, options);
  } catch {
    throw new Lost("Lexor does not answer: its window may have been closed.");
  }
  if (!reply.ok) {
    let detail = `Lexor refused this (${reply.status})`;
    try {
      detail = (await reply.json()).detail ?? detail;
    } catch { /* no JSON: the status says enough */ }
    throw new Refused(detail);
  }
  return reply;
}

export async function scan() {
  return (await send("GET", "/api/scan")).json();
}

/** The volume's bytes; `progress` is told how many of how many have come. */
export async function volume(progress) {
  const reply = await send("GET", "/api/volume.nii");
  const total = Number(reply.headers.get("Content-Length"));
  if (!total || !reply.body) return reply.arrayBuffer();
  const found = new Uint8Array(total);
  const reader = reply.body.getReader();
  let done = 0;
  for (;;) {
    const part = await reader.read();
    if (part.done) break;
    found.set(part.value, done);
    done += part.value.length;
    progress(done, total);
  }
  return found.buffer;
}

function unpacked(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return { ...head, labels: head.shape && new Uint8Array(buffer, 4 + length) };
}

async function step(method, path, body) {
  return unpacked(await (await send(method, path, body)).arrayBuffer());
}

export const labels = () => step("GET", "/api/labels");
export const click = (at, positive) => step("POST", "/api/click", { at, positive });
export const box = (first, last, drawnOn) => step("POST", "/api/box", { first, last, drawn_on: drawnOn });
export const scribble = (stroke) => step("POST", "/api/scribble", stroke);
export const undo = () => step("POST", "/api/undo");
export const clear = () => step("POST", "/api/clear");
export const save = () => step("POST", "/api/save");
export const newObject = () => step("POST", "/api/objects");
export const select = (number) => step("POST", `/api/objects/${number}/select`);
export const change = (number, what) => step("PATCH", `/api/objects/${number}`, what);
