// The viewer: what is shown, what is asked of Lexor, and its answers.

import * as api from "./api.js";
import { Gestures } from "./gestures.js";
import { Objects } from "./objects.js";
import { Stage } from "./stage.js";
import { Tiles } from "./tiles.js";
import { HINTS, Tool } from "./tools.js";

const at = (id) => document.getElementById(id);
const SLOW = 300; // milliseconds until a sign of progress is shown
const VIEWS = ["all", "axial", "coronal", "sagittal", "render"];

let info, stage, tiles, tool, gestures, objects;
let state = { objects: [], current: 1, revision: -1 };
let queue = Promise.resolve();
let waiting = []; // clicks that are not answered yet
let masksHidden = false;

// --- what is told

function say(text, kind = "error") {
  const toast = at("toast");
  toast.textContent = text;
  toast.className = kind;
  toast.hidden = false;
  clearTimeout(say.timer);
  if (kind !== "lost") say.timer = setTimeout(() => (toast.hidden = true), kind === "error" ? 9000 : 4000);
}

function busy(text, longer = "") {
  const began = performance.now();
  const show = () => {
    const seconds = (performance.now() - began) / 1000;
    at("busy").hidden = false;
    at("busy-text").textContent = [text, `${seconds.toFixed(1)} s`, seconds > 2 && longer].filter(Boolean).join(" · ");
  };
  const timer = setTimeout(show, SLOW);
  const more = setInterval(() => performance.now() - began > SLOW && show(), 100);
  return () => {
    clearTimeout(timer);
    clearInterval(more);
    at("busy").hidden = true;
  };
}

// --- steps: one after the other, in the order in which they were asked for

function step(act, text, after = () => {}, longer = "") {
  queue = queue.then(async () => {
    const done = busy(text, longer);
    try {
      const update = await act();
      if (update.before !== state.revision && update.after !== state.revision) take(await api.labels());
      else take(update);
      if (at("toast").className === "lost") at("toast").hidden = true;
      after();
    } catch (problem) {
      if (problem instanceof api.Lost) {
        say(`${problem.message} Start lexor view again: what was done is kept.`, "lost");
      } else {
        say(problem.message);
        if (!(problem instanceof api.Refused)) console.error(problem);
      }
    } finally {
      done();
    }
  });
  return queue;
}

function take(update) {
  if (update.labels) stage.setLabels(update.first, update.shape, update.labels);
  const colours = JSON.stringify(objects.colours(state.objects));
  state = update.state;
  if (JSON.stringify(objects.colours(state.objects)) !== colours) stage.setColours(objects.colours(state.objects));
  show();
}

function ask(kind, value) {
  const current = state.objects.find((each) => each.number === state.current);
  const text = `Segmenting ${current?.name ?? ""}`;
  const longer = current?.box ? "" : "Lexor looks for its size: a box is faster";
  if (kind === "click") {
    const click = { ...value, waiting: true };
    waiting.push(click);
    step(() => api.click(value.at, value.positive), text, undefined, longer).then(() => {
      waiting = waiting.filter((each) => each !== click);
      stage.mark();
    });
  } else if (kind === "box") {
    step(() => api.box(value.first, value.last, value.drawnOn), text);
  } else if (value.points.length > info.mostScribbled) {
    say(`This scribble has ${value.points.length} voxels; paint less than ${info.mostScribbled}, or a smaller brush`);
  } else {
    step(() => api.scribble(value), text, undefined, longer);
  }
}

// --- what is shown

function marks() {
  const current = state.objects.find((each) => each.number === state.current);
  const found = { boxes: [], clicks: [...waiting], stroke: tool.stroke, brush: null };
  if (current?.box) found.boxes.push({ first: current.box[0], last: current.box[1], kind: "given" });
  for (const [x, y, z, positive] of current?.clicks ?? []) found.clicks.push({ at: [x, y, z], positive });
  if (tool.box) found.boxes.push({ ...tool.box, kind: "open" });
  if (tool.dragged) found.boxes.push({ ...tool.bounds(tool.dragged), open: undefined, kind: "dragged" });
  if (tool.name === "scribble" && gestures.at && !tool.stroke) {
    found.brush = { name: gestures.over, at: gestures.at, radius: tool.brush };
  }
  return found;
}

function place() {
  const voxel = gestures.at && stage.inside(gestures.at) ? stage.clamped(gestures.at) : stage.cursor;
  const value = stage.valueAt(voxel);
  const number = Number.isInteger(value) ? value : value.toPrecision(4);
  const [x, y, z] = stage.millimetres(voxel);
  const side = (mm, plus, minus) => `${mm < 0 ? minus : plus} ${Math.abs(mm).toFixed(1)}`;
  const where = info.placed
    ? `${side(x, "R", "L")}  ${side(y, "A", "P")}  ${side(z, "S", "I")} mm`
    : `voxel ${voxel.join(" ")}`;
  const label = stage.labelAt(voxel);
  const name = label ? state.objects[label - 1]?.name : "";
  at("where").textContent = [where, `${number} ${info.unit}`.trim(), name].filter(Boolean).join("   ");
}

function changed() {
  if (!tiles) return;
  tiles.draw(marks());
  place();
}

function show() {
  objects.draw(state, info.spacing);
  for (const button of document.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", button.dataset.tool === tool.name);
  for (const button of document.querySelectorAll("[data-sign]")) button.setAttribute("aria-pressed", (button.dataset.sign === "add") === tool.adds);
  for (const button of document.querySelectorAll("[data-view]")) button.setAttribute("aria-pressed", button.dataset.view === stage.view);
  at("stage").dataset.tool = tool.name;
  at("hint").textContent = HINTS[tool.name];
  at("pending").hidden = tool.box === null;
  at("pending-text").textContent = "Now drag on another plane to give its depth.";
  const kept = at("kept");
  kept.className = state.problem ? "problem" : "";
  kept.textContent = state.problem || (!state.saved ? "not saved; kept for next time" : state.objects.some((each) => each.voxels) ? "saved" : "");
  kept.title = `Output: ${state.output}${state.kept ? `\nKept in: ${state.kept}` : ""}`;
  stage.mark();
}

/** After another object was chosen: the crosshair goes to where it was pointed at. */
function chosen() {
  tool.drop();
  const { box, clicks } = state.objects[state.current - 1];
  if (box) stage.setCursor(box[0].map((first, axis) => (first + box[1][axis]) / 2));
  else if (clicks.length) stage.setCursor(clicks[0].slice(0, 3));
}

// --- what can be done

const does = {
  tool: (name) => tool.choose(name),
  sign: (adds) => {
    tool.adds = adds;
    show();
  },
  undo: () => step(api.undo, "Undoing"),
  clear: () => step(api.clear, "Clearing"),
  newObject: () => step(api.newObject, "New object", () => tool.drop()),
  select: (number) => number >= 1 && number <= state.objects.length && step(() => api.select(number), "Selecting", chosen),
  change: (number, what) => step(() => api.change(number, what), "Changing"),
  hide: (number) => {
    if (!objects.hidden.delete(number)) objects.hidden.add(number);
    stage.setColours(objects.colours(state.objects));
    show();
  },
  save: () => step(api.save, "Saving", () => say(`Saved: ${state.output}`, "good")),
  view: (name) => {
    stage.layout(name);
    if (name !== "all" && name !== "render") gestures.over = name;
    show();
  },
  opacity: (value) => {
    at("opacity").value = Math.min(Math.max(value, 0), 100);
    at("opacity").dispatchEvent(new Event("input"));
  },
  hideMasks: () => {
    masksHidden = !masksHidden;
    stage.setOpacity(masksHidden ? 0 : at("opacity").value / 100);
  },
};

function setWindow(low, high, name = "") {
  stage.setWindow(low, high);
  at("windows").value = name;
  at("level").value = Number(((low + high) / 2).toPrecision(5));
  at("width").value = Number((high - low).toPrecision(5));
}

function windowed(x, y) {
  const width = stage.high - stage.low;
  const level = (stage.high + stage.low) / 2;
  const full = info.windows.find((each) => each.name === "Full range");
  const unit = Math.max(width, (full.high - full.low) / 20) / 300;
  const wider = Math.max(width + x * unit, unit);
  const moved = level - y * unit;
  setWindow(moved - wider / 2, moved + wider / 2);
}

function nextWindow() {
  const chosen = info.windows.findIndex((each) => each.name === at("windows").value);
  const { name, low, high } = info.windows[(chosen + 1) % info.windows.length];
  setWindow(low, high, name);
}

const KEYS = {
  c: () => does.tool("click"),
  b: () => does.tool("box"),
  s: () => does.tool("scribble"),
  x: () => does.sign(!tool.adds),
  n: () => does.newObject(),
  ",": () => does.select(state.current - 1),
  ".": () => does.select(state.current + 1),
  w: nextWindow,
  h: does.hideMasks,
  r: () => stage.wholeImage(),
  "[": () => does.opacity(Number(at("opacity").value) - 10),
  "]": () => does.opacity(Number(at("opacity").value) + 10),
  "?": () => at("help").showModal(),
  ArrowUp: () => stage.step(gestures.over, 1),
  ArrowDown: () => stage.step(gestures.over, -1),
  PageUp: () => stage.step(gestures.over, 10),
  PageDown: () => stage.step(gestures.over, -10),
  Enter: () => tool.useBox(),
  Escape: () => tool.drop(),
};
VIEWS.forEach((name, i) => (KEYS[i] = () => does.view(name)));

function pressed(event) {
  if (at("help").open) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const act = event.ctrlKey || event.metaKey ? { z: does.undo, s: does.save }[key] : event.altKey ? null : KEYS[key];
  const typing = event.target.matches("input:not([type=range]), select");
  // A slider has its own arrows, a button its own Enter.
  const own = event.target.matches("input[type=range]") ? /Arrow|Page/ : event.target.matches("button") ? /Enter/ : /^$/;
  if (!act || typing || own.test(key)) return;
  event.preventDefault();
  act();
}

function listen() {
  document.addEventListener("keydown", pressed);
  for (const button of document.querySelectorAll("[data-tool]")) button.addEventListener("click", () => does.tool(button.dataset.tool));
  for (const button of document.querySelectorAll("[data-sign]")) button.addEventListener("click", () => does.sign(button.dataset.sign === "add"));
  for (const button of document.querySelectorAll("[data-view]")) button.addEventListener("click", () => does.view(button.dataset.view));
  at("undo").addEventListener("click", does.undo);
  at("save").addEventListener("click", does.save);
  at("clear").addEventListener("click", does.clear);
  at("new-object").addEventListener("click", does.newObject);
  at("help-button").addEventListener("click", () => at("help").showModal());
  at("pending-go").addEventListener("click", () => tool.useBox());
  at("pending-cancel").addEventListener("click", () => tool.drop());
  for (const { name } of info.windows) at("windows").add(new Option(name, name));
  const own = new Option("Own", "");
  own.hidden = true;
  at("windows").add(own);
  at("windows").addEventListener("change", () => {
    const chosen = info.windows.find((each) => each.name === at("windows").value);
    if (chosen) setWindow(chosen.low, chosen.high, chosen.name);
  });
  for (const id of ["level", "width"]) {
    at(id).addEventListener("change", () => {
      const [level, width] = [Number(at("level").value), Math.max(Number(at("width").value), 1e-6)];
      setWindow(level - width / 2, level + width / 2);
    });
  }
  const slider = (id, unit, act) => {
    const input = at(id);
    const told = () => {
      input.parentElement.querySelector("output").textContent = `${input.value}${unit}`;
      act(Number(input.value));
    };
    input.addEventListener("input", told);
    told();
  };
  slider("opacity", "%", (value) => {
    masksHidden = false;
    stage.setOpacity(value / 100);
  });
  slider("body", "%", (value) => stage.setBody(value / 100));
  slider("brush", " px", (value) => (tool.radius = value));
}

async function start() {
  const loading = (text) => (at("loading-text").textContent = text);
  try {
    info = await api.scan();
    at("scan-name").textContent = info.name;
    document.title = `${info.name} · Lexor`;
    at("scan-kind").hidden = !info.modality;
    at("scan-kind").textContent = info.modality ?? "";
    const megabytes = (bytes) => (bytes / 1e6).toFixed(0);
    const bytes = await api.volume((done, total) => loading(`Loading ${megabytes(done)} of ${megabytes(total)} MB`));
    loading("Preparing the image");
    stage = new Stage(at("gl"), changed);
    await stage.open(info, bytes);
    tool = new Tool(stage, ask, show, windowed);
    gestures = new Gestures(stage, tool);
    objects = new Objects(at("objects"), does);
    tiles = new Tiles(at("tiles"), stage, gestures, (name) => does.view(stage.view === name ? "all" : name));
    listen();
    setWindow(info.windows[0].low, info.windows[0].high, info.windows[0].name);
    const labels = await api.labels();
    // Nothing is what is drawn already.
    if (labels.state.objects.every((each) => !each.voxels)) labels.labels = null;
    take(labels);
    if (stage.flat) info.notes.push("Without a graphics card 3D takes seconds for a scan of this size. It is shown alone, by key 4.");
    at("notes-section").hidden = !info.notes.length;
    at("notes").replaceChildren(...info.notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })));
    if (info.restored) say(info.restored, "good");
    at("loading").hidden = true;
    document.body.dataset.ready = "yes";
  } catch (problem) {
    console.error(problem);
    at("loading").className = "failed";
    loading(/webgl/i.test(problem.message) ? "This browser has no WebGL2; open the address in a recent Firefox or Chrome." : problem.message);
  }
}

start();
