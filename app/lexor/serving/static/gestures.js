// What the pointer does on a tile: mouse, pen, and fingers.
//
// A press that does not move is a click. Which drags do what is decided by `tool`:
//   press(name, at, button)  before a drag; says which kind it is: "draw", "browse" or "window"
// and then, for "draw": drawing(name, at), drawn(name, at), dropped(); for a click: clicked(name, at, button).

const STILL = 4; // CSS pixels

export class Gestures {
  constructor(stage, tool) {
    this.stage = stage;
    this.tool = tool;
    this.held = new Map();
    this.press = null;
    this.over = "axial";
    this.at = null;
  }

  listen(tile, name) {
    const on = (kind, act) => tile.addEventListener(kind, act, { passive: false });
    on("pointerdown", (event) => this.#down(event, tile, name));
    on("pointermove", (event) => this.#move(event, tile, name));
    on("pointerup", (event) => this.#up(event, tile, name));
    on("pointercancel", () => this.#cancel());
    on("pointerleave", () => {
      this.at = null;
      this.stage.mark();
    });
    on("contextmenu", (event) => event.preventDefault());
    on("wheel", (event) => this.#wheel(event, tile, name));
  }

  #point(event, tile) {
    const rect = tile.getBoundingClientRect();
    return [event.clientX - rect.left, event.clientY - rect.top];
  }

  #voxel(event, tile, name) {
    return this.stage.toVoxel(name, ...this.#point(event, tile));
  }

  #down(event, tile, name) {
    if (event.target.closest("input, button")) return;
    event.preventDefault();
    document.activeElement?.blur?.();
    tile.setPointerCapture(event.pointerId);
    this.held.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.held.size > 1) {
      if (this.press?.kind === "draw" && this.press.moved) this.tool.dropped();
      this.press = { name, kind: "pinch" };
      return;
    }
    const button = event.button === 0 && event.altKey ? 1 : event.button;
    const kind = name === "render" ? "turn" : button === 1 ? "pan" : null;
    this.press = { name, kind, button, start: [event.clientX, event.clientY], moved: false };
    this.press.at = name === "render" ? null : this.#voxel(event, tile, name);
  }

  #move(event, tile, name) {
    if (name !== "render") {
      this.over = name;
      this.at = this.#voxel(event, tile, name);
    }
    const before = this.held.get(event.pointerId);
    if (!before || !this.press) {
      this.stage.mark();
      return;
    }
    const [x, y] = [event.clientX - before[0], event.clientY - before[1]];
    if (this.press.kind === "pinch") {
      this.#pinch(event, tile, name, x, y);
      this.held.set(event.pointerId, [event.clientX, event.clientY]);
      return;
    }
    const far = Math.hypot(event.clientX - this.press.start[0], event.clientY - this.press.start[1]);
    if (!this.press.moved && far < STILL) return;
    if (!this.press.moved) {
      this.press.moved = true;
      this.press.kind ??= this.tool.press(name, this.press.at, this.press.button);
    }
    this.held.set(event.pointerId, [event.clientX, event.clientY]);
    const { kind } = this.press;
    if (kind === "turn") this.stage.turn(x, y);
    if (kind === "pan") this.stage.pan(name, x, y);
    if (kind === "browse") this.stage.setCursor(this.at);
    if (kind === "window") this.tool.windowed(x, -y);
    if (kind === "draw") this.tool.drawing(name, this.at);
  }

  #up(event, tile, name) {
    this.held.delete(event.pointerId);
    const press = this.press;
    if (!press || this.held.size) return;
    this.press = null;
    if (press.kind === "draw") this.tool.drawn(name, this.#voxel(event, tile, name));
    if (!press.moved && press.at && press.kind === null) this.tool.clicked(name, press.at, press.button);
  }

  #cancel() {
    this.held.clear();
    if (this.press?.kind === "draw") this.tool.dropped();
    this.press = null;
  }

  #pinch(event, tile, name, x, y) {
    const others = [...this.held.entries()].filter(([id]) => id !== event.pointerId);
    if (!others.length) return;
    const [other] = others[0].slice(1);
    const before = this.held.get(event.pointerId);
    const distance = (point) => Math.max(10, Math.hypot(point[0] - other[0], point[1] - other[1]));
    const factor = distance([event.clientX, event.clientY]) / distance(before);
    if (name === "render") {
      this.stage.zoom3D(factor);
      return;
    }
    this.stage.pan(name, x / 2, y / 2);
    const rect = tile.getBoundingClientRect();
    const middle = [(event.clientX + other[0]) / 2 - rect.left, (event.clientY + other[1]) / 2 - rect.top];
    this.stage.zoom(factor, this.stage.toVoxel(name, ...middle));
  }

  #wheel(event, tile, name) {
    event.preventDefault();
    const factor = Math.exp(-Math.sign(event.deltaY) * 0.12);
    if (name === "render") this.stage.zoom3D(factor);
    else if (event.ctrlKey || event.metaKey) this.stage.zoom(factor, this.#voxel(event, tile, name));
    else this.stage.step(name, -Math.sign(event.deltaY));
  }
}
