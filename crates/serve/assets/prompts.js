// The prompts of one image, with undo. Coordinates are pixels of the image; the center of the first pixel is (0.5, 0.5).

export class Prompts {
  /** `automatic`: whether what a module proposes is used. */
  constructor(automatic = true) {
    this.automatic = automatic;
    /** { x, y, label: "foreground" | "background", automatic } */
    this.points = [];
    /** { corners: [x0, y0, x1, y1], automatic } or nothing */
    this.box = null;
    /** What was before, latest last. */
    this.former = [];
    /** Whether automatic prompts were changed by hand, so that they are not proposed again. */
    this.edited = false;
  }

  get isEmpty() {
    return this.points.length === 0 && this.box === null;
  }

  get canUndo() {
    return this.former.length > 0;
  }

  remember() {
    const { points, box, edited, automatic } = this;
    this.former.push({ points: points.map((point) => ({ ...point })), box: box && { ...box }, edited, automatic });
  }

  undo() {
    const former = this.former.pop();
    if (!former) return;
    Object.assign(this, former);
    if (!this.automatic) this.withdraw();
  }

  add(x, y, label) {
    this.remember();
    this.points.push({ x, y, label, automatic: false });
  }

  setBox([x0, y0, x1, y1]) {
    this.remember();
    const corners = [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)];
    this.box = { corners, automatic: false };
  }

  /** Moves a point; the first move of a drag is remembered by whoever drags. */
  move(index, x, y) {
    const point = this.points[index];
    if (!point) return;
    // What a person moves is that person's: turning automatic prompts off leaves it.
    if (point.automatic) this.edited = true;
    Object.assign(point, { x, y, automatic: false });
  }

  remove(index) {
    this.remember();
    if (this.points[index].automatic) this.edited = true;
    this.points.splice(index, 1);
  }

  /** Puts the box elsewhere, as `move` does with a point. */
  moveBox(corners) {
    if (!this.box) return;
    if (this.box.automatic) this.edited = true;
    this.box = { corners, automatic: false };
  }

  removeBox() {
    this.remember();
    if (this.box?.automatic) this.edited = true;
    this.box = null;
  }

  /** Nothing is left, and nothing is proposed anew until somebody asks for it. */
  clear() {
    this.remember();
    this.points = [];
    this.box = null;
    this.automatic = false;
    this.edited = false;
  }

  /** Puts what a module proposes in place of what it proposed before, which is no step to undo. */
  propose(points, corners) {
    const own = this.points.filter((point) => !point.automatic);
    this.points = [...points.map((point) => ({ ...point, automatic: true })), ...own];
    if (this.box === null || this.box.automatic) this.box = corners && { corners, automatic: true };
  }

  /** Whether proposals are used, from now on and after whatever is undone. What comes is proposed anew. */
  useAutomatic(automatic) {
    Object.assign(this, { automatic, edited: false });
    for (const former of this.former) former.automatic = automatic;
    this.withdraw();
  }

  withdraw() {
    this.points = this.points.filter((point) => !point.automatic);
    if (this.box?.automatic) this.box = null;
  }
}
