// The three tools: click, box on two planes, scribble. They turn gestures into prompts.

import { PLANES } from "./stage.js";

export const HINTS = {
  click: "Left click adds, right click removes. Drag to move the crosshair.",
  box: "Drag a box around the object on one plane, then on another.",
  scribble: "Paint over voxels: left adds, right removes.",
};

export class Tool {
  /** ask: sends a prompt: ask(kind, value). changed: told when the box at hand or the tool has changed. */
  constructor(stage, ask, changed, window) {
    Object.assign(this, { stage, ask, changed, windowed: window });
    this.name = "click";
    this.adds = true;
    this.radius = 2; // of the brush, in pixels of the finest axis
    this.box = null; // drawn on one plane so far
    this.dragged = null;
    this.stroke = null;
  }

  choose(name) {
    this.name = name;
    this.drop();
  }

  drop() {
    this.box = this.dragged = this.stroke = null;
    this.changed();
  }

  get brush() {
    return this.radius * Math.min(...this.stage.info.spacing);
  }

  press(name, at, button) {
    if (this.name === "scribble" && button !== 1) {
      this.stroke = { name, path: [at], positive: button === 0 && this.adds, radius: this.brush };
      return "draw";
    }
    if (button === 2) return "window";
    if (this.name === "box") {
      this.dragged = { name, start: at, end: at };
      return "draw";
    }
    return "browse";
  }

  clicked(name, at, button) {
    if (!this.stage.inside(at)) return;
    const voxel = this.stage.clamped(at);
    const positive = button === 0 && this.adds;
    if (this.name === "box" && button === 0) {
      this.stage.setCursor(voxel);
    } else if (this.name === "scribble") {
      this.stroke = { name, path: [at], positive, radius: this.brush };
      this.#send();
    } else {
      this.stage.setCursor(voxel);
      this.ask("click", { at: voxel, positive });
    }
  }

  drawing(name, at) {
    if (this.stroke) this.stroke.path.push(at);
    if (this.dragged) this.dragged.end = at;
    this.changed();
  }

  dropped() {
    this.dragged = this.stroke = null;
    this.changed();
  }

  drawn(name, at) {
    this.drawing(name, at);
    if (this.stroke) this.#send();
    if (this.dragged) this.#boxed();
  }

  /** The box of a drag: [first, last] voxels; the plane's own slice across it. */
  bounds({ name, start, end }) {
    const { normal } = PLANES[name];
    const limit = this.stage.info.shape;
    const sides = [0, 1, 2].map((axis) => {
      if (axis === normal) return [this.stage.cursor[axis], this.stage.cursor[axis]];
      const ends = [start[axis], end[axis]].sort((a, b) => a - b);
      return ends.map((each) => Math.min(Math.max(Math.round(each), 0), limit[axis] - 1));
    });
    return { first: sides.map((side) => side[0]), last: sides.map((side) => side[1]), open: normal };
  }

  #boxed() {
    const found = this.bounds(this.dragged);
    const { name } = this.dragged;
    this.dragged = null;
    if (this.box === null || this.box.name === name) {
      // The crosshair goes to its middle, so that other planes show what is to be boxed next.
      const middle = found.first.map((at, axis) => (at + found.last[axis]) / 2);
      this.box = { name, drawnOn: [...this.stage.clamped(middle)], ...found };
      this.stage.setCursor(middle);
      this.changed();
      return;
    }
    // The second plane tells the extent across the first; what both show stays as on the first.
    const { open } = this.box;
    this.box.first[open] = found.first[open];
    this.box.last[open] = found.last[open];
    this.useBox();
  }

  /** Sends the box as far as it is drawn. */
  useBox() {
    if (this.box === null) return;
    const { first, last, drawnOn } = this.box;
    const wide = first.filter((at, axis) => last[axis] > at).length;
    this.box = null;
    this.changed();
    if (wide >= 2) this.ask("box", { first, last, drawnOn });
  }

  #send() {
    const { name, path, positive, radius } = this.stroke;
    const { normal, across, up } = PLANES[name];
    const { spacing, shape } = this.stage.info;
    const [stepA, stepB] = [spacing[across], spacing[up]];
    const found = new Map();
    const dab = (a, b) => {
      const [reachA, reachB] = [radius / stepA, radius / stepB];
      for (let i = Math.ceil(a - Math.max(reachA, 0.5)); i <= a + Math.max(reachA, 0.5); i++) {
        for (let j = Math.ceil(b - Math.max(reachB, 0.5)); j <= b + Math.max(reachB, 0.5); j++) {
          const near = Math.hypot((i - a) * stepA, (j - b) * stepB) <= radius || (i === Math.round(a) && j === Math.round(b));
          if (near && i >= 0 && j >= 0 && i < shape[across] && j < shape[up]) found.set(i * shape[up] + j, [i, j]);
        }
      }
    };
    path.forEach((point, n) => {
      const before = path[Math.max(0, n - 1)];
      const steps = Math.ceil(2 * Math.hypot(point[across] - before[across], point[up] - before[up])) || 1;
      for (let k = 1; k <= steps; k++) {
        const part = k / steps;
        dab(before[across] + part * (point[across] - before[across]), before[up] + part * (point[up] - before[up]));
      }
    });
    this.stroke = null;
    this.changed();
    if (found.size) {
      this.ask("scribble", { axis: normal, slice: this.stage.cursor[normal], points: [...found.values()], positive });
    }
  }
}
