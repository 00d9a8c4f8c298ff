// The image on its canvas: what is drawn, and what hands do to it.

import { keyOf } from "./dom.js";
import { MASK, TRUTH } from "./masks.js";

const FOREGROUND = "#009e73";
const BACKGROUND = "#d55e00";
const BOX = "#e69f00";
const LARGEST_SCALE = 40;
/** Reach of a marker for a pointer, in pixels of the screen. */
const REACH = 12;
/** Reach of an edge of the box, which is long: what lies beside it can still be clicked on. */
const EDGE_REACH = 5;
/** A drag begins after so many pixels of the screen. */
const DRAG = 4;

const rgb = ([r, g, b]) => `rgb(${r} ${g} ${b})`;

export class View {
  /** `hands`: addPoint, setBox, beginMove, move, moveBox, endMove, remove, removeBox, selected, hover; `prompts()`, `tool()` */
  constructor(canvas, hands) {
    this.canvas = canvas;
    this.hands = hands;
    this.image = null;
    this.overlay = {};
    this.scale = 1;
    this.left = 0;
    this.top = 0;
    this.fitted = true;
    this.cursor = null;
    /** The chosen marker; the number after those of all points is the box. */
    this.selected = -1;
    this.boxStart = null;
    this.drag = null;
    this.spaceDown = false;
    new ResizeObserver(() => (this.fitted ? this.fit() : this.draw())).observe(canvas.parentElement);
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", () => this.cancel());
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("dblclick", (event) => this.removeAt(event));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("keyup", (event) => {
      if (event.key === " ") this.spaceDown = false;
    });
    canvas.addEventListener("focus", () => this.draw());
    canvas.addEventListener("blur", () => {
      this.spaceDown = false;
      this.draw();
    });
  }

  show(image) {
    this.image = image;
    this.overlay = {};
    this.selected = -1;
    this.boxStart = null;
    this.drag = null;
    this.cursor = image ? { x: image.width / 2, y: image.height / 2 } : null;
    this.fit();
  }

  fit() {
    this.fitted = true;
    if (!this.image) return this.draw();
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    const margin = 12;
    this.scale = Math.min((width - margin) / this.image.width, (height - margin) / this.image.height);
    this.left = (width - this.image.width * this.scale) / 2;
    this.top = (height - this.image.height * this.scale) / 2;
    this.draw();
  }

  zoom(factor, at = { x: this.canvas.clientWidth / 2, y: this.canvas.clientHeight / 2 }) {
    if (!this.image) return;
    const least = Math.min(1, this.canvas.clientWidth / this.image.width / 4);
    const scale = Math.min(LARGEST_SCALE, Math.max(least, this.scale * factor));
    this.left = at.x - ((at.x - this.left) / this.scale) * scale;
    this.top = at.y - ((at.y - this.top) / this.scale) * scale;
    this.scale = scale;
    this.fitted = false;
    this.draw();
  }

  toImage({ x, y }) {
    return { x: (x - this.left) / this.scale, y: (y - this.top) / this.scale };
  }

  toScreen({ x, y }) {
    return { x: x * this.scale + this.left, y: y * this.scale + this.top };
  }

  clamp({ x, y }) {
    const { width, height } = this.image;
    return { x: Math.min(width, Math.max(0, x)), y: Math.min(height, Math.max(0, y)) };
  }

  isInside({ x, y }) {
    return x >= 0 && y >= 0 && x <= this.image.width && y <= this.image.height;
  }

  /** The marker at a place of the screen, or -1. */
  markerAt(at) {
    const points = this.hands.prompts().points;
    for (let i = points.length - 1; i >= 0; i--) {
      const marker = this.toScreen(points[i]);
      if (Math.hypot(marker.x - at.x, marker.y - at.y) <= REACH) return i;
    }
    return -1;
  }

  /**
   * What of the box is at a place of the screen: `{ x, y }`, the numbers of the coordinates of a corner; `{}`, an edge; or
   * nothing.
   */
  boxAt(at) {
    const box = this.hands.prompts().box;
    if (!box) return null;
    const [x0, y0, x1, y1] = box.corners;
    const [a, b] = [this.toScreen({ x: x0, y: y0 }), this.toScreen({ x: x1, y: y1 })];
    const apart = [at.x - a.x, at.y - a.y, at.x - b.x, at.y - b.y].map(Math.abs);
    for (const y of [3, 1]) {
      for (const x of [2, 0]) if (Math.hypot(apart[x], apart[y]) <= REACH) return { x, y };
    }
    const along = (value, from, to) => value >= from - EDGE_REACH && value <= to + EDGE_REACH;
    const upright = Math.min(apart[0], apart[2]) <= EDGE_REACH && along(at.y, a.y, b.y);
    const level = Math.min(apart[1], apart[3]) <= EDGE_REACH && along(at.x, a.x, b.x);
    return upright || level ? {} : null;
  }

  /** Says by its shape what the pointer would take hold of. */
  point(at) {
    const held = this.image && this.hands.tool() !== "pan" && this.markerAt(at) < 0 ? this.boxAt(at) : null;
    let shape = "";
    if (held) shape = held.x === undefined ? "move" : (held.x === 0) === (held.y === 1) ? "nwse-resize" : "nesw-resize";
    this.canvas.style.cursor = shape;
  }

  /** The box as a hand that holds it has moved it. */
  dragged({ held, corners, from }, at) {
    const [start, now] = [this.toImage(from), this.toImage(at)];
    if (held.x === undefined) return this.shifted(corners, now.x - start.x, now.y - start.y, false);
    const to = this.clamp({ x: corners[held.x] + now.x - start.x, y: corners[held.y] + now.y - start.y });
    // The corner across stays where it is.
    const [x, y] = [corners[2 - held.x], corners[4 - held.y]];
    if (Math.abs(to.x - x) < 1 || Math.abs(to.y - y) < 1) return null;
    return [Math.min(to.x, x), Math.min(to.y, y), Math.max(to.x, x), Math.max(to.y, y)];
  }

  down(event) {
    if (!this.image || this.drag) return;
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    const at = { x: event.offsetX, y: event.offsetY };
    const tool = this.hands.tool();
    const pan = event.button === 1 || this.spaceDown || tool === "pan";
    const marker = event.button === 0 && !pan ? this.markerAt(at) : -1;
    const { box } = this.hands.prompts();
    const held = pan || event.altKey || event.shiftKey ? null : this.boxAt(at);
    let kind = "point";
    if (pan) kind = "pan";
    else if (marker >= 0) kind = "marker";
    else if (held) kind = event.button === 2 ? "no box" : "hold";
    else if (event.button === 0 && (tool === "box" || event.altKey)) kind = "box";
    const background = event.button === 2 || event.shiftKey || tool === "background";
    this.drag = { kind, marker, held, corners: held && box.corners, from: at, last: at, begun: false, background };
    event.preventDefault();
  }

  moved(event) {
    const at = { x: event.offsetX, y: event.offsetY };
    if (this.image) this.hands.hover(this.isInside(this.toImage(at)) ? this.toImage(at) : null);
    const drag = this.drag;
    if (!drag) return this.point(at);
    if (!drag.begun && Math.hypot(at.x - drag.from.x, at.y - drag.from.y) < DRAG) return;
    if (["marker", "hold"].includes(drag.kind) && !drag.begun) this.hands.beginMove();
    drag.begun = true;
    if (drag.kind === "pan") {
      this.left += at.x - drag.last.x;
      this.top += at.y - drag.last.y;
      this.fitted = false;
    } else if (drag.kind === "marker") {
      const { x, y } = this.clamp(this.toImage(at));
      this.hands.move(drag.marker, x, y);
    } else if (drag.kind === "hold") {
      const corners = this.dragged(drag, at);
      if (corners) this.hands.moveBox(corners);
    }
    drag.last = at;
    this.draw();
  }

  up(event) {
    const drag = this.drag;
    this.drag = null;
    if (!drag || !this.image) return;
    const at = this.toImage({ x: event.offsetX, y: event.offsetY });
    if (["marker", "hold"].includes(drag.kind) && drag.begun) this.hands.endMove();
    if (drag.kind === "hold" && !drag.begun) {
      // Delete removes it then, and arrows move it.
      this.selected = this.hands.prompts().points.length;
      this.hands.selected(this.selected);
    }
    if (drag.kind === "no box" && !drag.begun) this.removeBox();
    if (drag.kind === "point" && this.isInside(this.toImage(drag.from))) {
      // A hand that shakes still clicks where it began.
      const { x, y } = this.toImage(drag.from);
      this.cursor = { x, y };
      this.hands.addPoint(x, y, drag.background ? "background" : "foreground");
    }
    if (drag.kind === "box" && drag.begun) this.finishBox(this.toImage(drag.from), at);
    this.draw();
  }

  cancel() {
    if (["marker", "hold"].includes(this.drag?.kind) && this.drag.begun) this.hands.endMove();
    this.drag = null;
    this.draw();
  }

  finishBox(from, to) {
    const [a, b] = [this.clamp(from), this.clamp(to)];
    if (Math.abs(a.x - b.x) >= 1 && Math.abs(a.y - b.y) >= 1) this.hands.setBox([a.x, a.y, b.x, b.y]);
  }

  removeAt(event) {
    if (!this.image) return;
    const at = { x: event.offsetX, y: event.offsetY };
    const marker = this.markerAt(at);
    if (marker >= 0) this.hands.remove(marker);
    else if (this.boxAt(at)) this.removeBox();
  }

  removeBox() {
    this.selected = -1;
    this.hands.removeBox();
  }

  wheel(event) {
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / 400), { x: event.offsetX, y: event.offsetY });
  }

  /** Moves a zoomed image so that a place of it is seen. */
  reveal({ x, y }) {
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    const margin = 24;
    const into = (at, size) => Math.min(Math.max(at, margin), size - margin) - at;
    this.left += into(this.left + x * this.scale, width);
    this.top += into(this.top + y * this.scale, height);
  }

  key(event) {
    if (!this.image || event.metaKey) return;
    const pressed = keyOf(event);
    const step = event.ctrlKey ? 1 : Math.max(1, Math.round(Math.max(this.image.width, this.image.height) / 50));
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const { points, box } = this.hands.prompts();
    const markers = points.length + (box ? 1 : 0);
    if (this.selected >= markers) this.selected = -1;
    const isBox = this.selected === points.length;
    if (event.key in moves) {
      const [dx, dy] = moves[event.key];
      if (isBox) {
        const corners = this.shifted(box.corners, dx, dy, event.shiftKey);
        if (corners) {
          this.hands.beginMove();
          this.hands.moveBox(corners);
          this.hands.endMove();
        }
      } else if (this.selected >= 0) {
        const { x, y } = this.clamp({ x: points[this.selected].x + dx, y: points[this.selected].y + dy });
        this.hands.beginMove();
        this.hands.move(this.selected, x, y);
        this.hands.endMove();
      } else {
        this.cursor = this.clamp({ x: this.cursor.x + dx, y: this.cursor.y + dy });
        this.reveal(this.cursor);
        this.hands.hover(this.cursor);
      }
    } else if (event.key === "Enter") {
      this.hands.addPoint(this.cursor.x, this.cursor.y, event.shiftKey ? "background" : "foreground");
    } else if (event.key === " ") {
      this.spaceDown = true;
    } else if (pressed === "b" && !event.ctrlKey) {
      if (this.boxStart) {
        this.finishBox(this.boxStart, this.cursor);
        this.boxStart = null;
      } else {
        this.boxStart = { ...this.cursor };
      }
    } else if (pressed === "m" && !event.ctrlKey) {
      this.selected = this.selected + 1 >= markers ? -1 : this.selected + 1;
      this.hands.selected(this.selected);
    } else if (event.key === "Escape") {
      this.selected = -1;
      this.boxStart = null;
    } else if ((event.key === "Delete" || event.key === "Backspace") && this.selected >= 0) {
      if (isBox) this.hands.removeBox();
      else this.hands.remove(this.selected);
      this.selected = -1;
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    this.draw();
  }

  /** The box moved as far as it stays on the image, or with its last corner moved; nothing if nothing would be left of it. */
  shifted([x0, y0, x1, y1], dx, dy, corner) {
    const { width, height } = this.image;
    if (corner) {
      const to = this.clamp({ x: x1 + dx, y: y1 + dy });
      return to.x - x0 >= 1 && to.y - y0 >= 1 ? [x0, y0, to.x, to.y] : null;
    }
    const [right, down] = [Math.min(width - x1, Math.max(-x0, dx)), Math.min(height - y1, Math.max(-y0, dy))];
    return [x0 + right, y0 + down, x1 + right, y1 + down];
  }

  draw() {
    const { canvas } = this;
    const { clientWidth: width, clientHeight: height } = canvas.parentElement;
    const dense = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * dense) || canvas.height !== Math.round(height * dense)) {
      canvas.width = Math.round(width * dense);
      canvas.height = Math.round(height * dense);
    }
    const c = canvas.getContext("2d");
    c.setTransform(dense, 0, 0, dense, 0, 0);
    c.clearRect(0, 0, width, height);
    if (!this.image) return;
    c.save();
    c.translate(this.left, this.top);
    c.scale(this.scale, this.scale);
    c.imageSmoothingEnabled = this.scale < 3;
    const { image, overlay } = this;
    c.drawImage(image, 0, 0);
    c.imageSmoothingEnabled = false;
    if (overlay.region && overlay.opacity > 0) {
      c.globalAlpha = overlay.opacity;
      c.drawImage(overlay.region, 0, 0, image.width, image.height);
      c.globalAlpha = 1;
    }
    if (overlay.unsure) c.drawImage(overlay.unsure, 0, 0, image.width, image.height);
    if (overlay.outline) this.line(c, overlay.outline, rgb(MASK), []);
    if (overlay.truth) this.line(c, overlay.truth, rgb(TRUTH), [6, 4]);
    c.restore();
    const prompts = this.hands.prompts();
    if (prompts.box) this.drawBox(c, prompts.box.corners, prompts.box.automatic, this.selected === prompts.points.length);
    const drag = this.drag;
    if (drag?.kind === "box" && drag.begun) {
      const [a, b] = [this.clamp(this.toImage(drag.from)), this.clamp(this.toImage(drag.last))];
      this.drawBox(c, [a.x, a.y, b.x, b.y], false);
    }
    if (this.boxStart) this.drawBox(c, [this.boxStart.x, this.boxStart.y, this.cursor.x, this.cursor.y], false);
    prompts.points.forEach((point, index) => this.drawPoint(c, point, index === this.selected));
    if (document.activeElement === canvas && canvas.matches(":focus-visible")) this.drawCursor(c);
  }

  /** A line of a width of the screen over a dark one, so that it is seen on any image. */
  line(c, path, color, dash) {
    for (const [style, wide] of [["rgb(0 0 0 / 60%)", 3.4], [color, 1.8]]) {
      c.lineWidth = wide / this.scale;
      c.setLineDash(dash.map((length) => length / this.scale));
      c.strokeStyle = style;
      c.stroke(path);
    }
    c.setLineDash([]);
  }

  drawBox(c, [x0, y0, x1, y1], automatic, selected = false) {
    const [a, b] = [this.toScreen({ x: x0, y: y0 }), this.toScreen({ x: x1, y: y1 })];
    const lines = [["rgb(0 0 0 / 70%)", 4], [BOX, 2]];
    for (const [style, wide] of selected ? [["#000", 8], ["#fff", 6], ...lines] : lines) {
      c.strokeStyle = style;
      c.lineWidth = wide;
      c.setLineDash(automatic ? [5, 4] : []);
      c.strokeRect(a.x, a.y, b.x - a.x, b.y - a.y);
    }
    c.setLineDash([]);
  }

  /** A disc with a plus is foreground, a square with a minus background; automatic ones are smaller with a dashed rim. */
  drawPoint(c, point, selected) {
    const { x, y } = this.toScreen(point);
    const radius = point.automatic ? 5.5 : 8;
    c.beginPath();
    if (point.label === "foreground") c.arc(x, y, radius, 0, 2 * Math.PI);
    else c.rect(x - radius, y - radius, 2 * radius, 2 * radius);
    c.fillStyle = point.label === "foreground" ? FOREGROUND : BACKGROUND;
    c.globalAlpha = point.automatic ? 0.9 : 1;
    c.fill();
    c.globalAlpha = 1;
    c.lineWidth = 2;
    c.strokeStyle = "#fff";
    c.stroke();
    c.beginPath();
    const arm = radius - 3;
    c.moveTo(x - arm, y);
    c.lineTo(x + arm, y);
    if (point.label === "foreground") {
      c.moveTo(x, y - arm);
      c.lineTo(x, y + arm);
    }
    c.stroke();
    if (selected) {
      c.beginPath();
      c.arc(x, y, radius + 5, 0, 2 * Math.PI);
      c.strokeStyle = "#000";
      c.lineWidth = 4;
      c.stroke();
      c.strokeStyle = "#fff";
      c.lineWidth = 2;
      c.stroke();
    }
  }

  drawCursor(c) {
    const { x, y } = this.toScreen(this.cursor);
    for (const [style, wide] of [["#000", 3.5], ["#fff", 1.5]]) {
      c.strokeStyle = style;
      c.lineWidth = wide;
      c.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        c.moveTo(x + 4 * dx, y + 4 * dy);
        c.lineTo(x + 14 * dx, y + 14 * dy);
      }
      c.stroke();
    }
  }
}
