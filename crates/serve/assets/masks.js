// Masks as they come, and as they are drawn. A mask may have tens of millions of pixels, and its runs are few: whatever can be
// made of the runs is.

/** Okabe and Ito's colors: mask, truth, unsure. */
export const MASK = [86, 180, 233];
export const TRUTH = [240, 228, 66];
const UNSURE = [204, 121, 167];
const NOTHING = [40, 40, 40];

/** Probabilities between these are unsure, of 255: a quarter to three quarters. */
const UNSURE_FROM = 64;
const UNSURE_TO = 191;

/** A color as the 32 bits of a pixel, whatever the order of bytes in this machine is. */
const pixel = ([r, g, b], alpha = 255) => new Uint32Array(Uint8Array.of(r, g, b, alpha).buffer)[0];

function values(map) {
  const text = atob(map.values);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** `paint` fills an array of 32 bits for each pixel. */
function canvasOf(width, height, paint) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  // What it shows is said in words beside it.
  canvas.setAttribute("aria-hidden", "true");
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  paint(new Uint32Array(image.data.buffer));
  context.putImageData(image, 0, 0);
  return canvas;
}

/** A mask, which comes as the lengths of its runs, off and on by turns, as an opaque region in one color. */
export function region({ width, height, runs }, color) {
  const on = pixel(color);
  return canvasOf(width, height, (pixels) => {
    let at = 0;
    runs.forEach((length, turn) => {
      if (turn % 2 === 1) pixels.fill(on, at, at + length);
      at += length;
    });
  });
}

/**
 * The outline of a mask as pieces `x0, y0, x1, y1` along pixel edges, one after the other. The edge of the image is no outline.
 *
 * Each row is where it turns on and off. What turns in one of two neighbors only begins or ends an upright piece, and between
 * every two such places the rows differ, so there is a level piece.
 */
export function segments({ width, height, runs }) {
  const pieces = [];
  const since = new Int32Array(width + 1);
  const level = (x0, x1, y) => pieces.push(x0, y, x1, y);
  const upright = (x, y) => {
    if (x > 0 && x < width && y > since[x]) pieces.push(x, since[x], x, y);
  };
  let [run, left, on] = [0, runs[0] ?? 0, false];
  let [above, here] = [[], []];
  for (let y = 0; y < height; y++) {
    here.length = 0;
    let x = 0;
    let before = false;
    while (x < width) {
      while (left === 0 && run + 1 < runs.length) {
        run += 1;
        left = runs[run];
        on = !on;
      }
      if (on !== before) {
        here.push(x);
        before = on;
      }
      // Runs that end too early leave the rest as it is.
      const taken = left === 0 ? width - x : Math.min(left, width - x);
      left -= Math.min(left, taken);
      x += taken;
    }
    if (before) here.push(width);
    let from = -1;
    for (let a = 0, b = 0; a < above.length || b < here.length; ) {
      const [one, other] = [above[a] ?? Infinity, here[b] ?? Infinity];
      const at = Math.min(one, other);
      if (one === at) a += 1;
      if (other === at) b += 1;
      if (one === other) continue;
      if (one === at) upright(at, y);
      else since[at] = y;
      if (y === 0) continue;
      if (from >= 0) level(from, at, y);
      from = from >= 0 ? -1 : at;
    }
    [above, here] = [here, above];
  }
  for (const x of above) upright(x, height);
  return pieces;
}

/** The outline as a path, in pixels of the image. */
export function outline(mask) {
  const path = new Path2D();
  const pieces = segments(mask);
  for (let i = 0; i < pieces.length; i += 4) {
    path.moveTo(pieces[i], pieces[i + 1]);
    path.lineTo(pieces[i + 2], pieces[i + 3]);
  }
  return path;
}

/** Where the mask is unsure, as stripes: also seen without colors. */
export function unsure(map) {
  const sure = values(map);
  const [strong, weak] = [pixel(UNSURE, 235), pixel(UNSURE, 120)];
  return canvasOf(map.width, map.height, (pixels) => {
    for (let i = 0; i < sure.length; i++) {
      if (sure[i] < UNSURE_FROM || sure[i] > UNSURE_TO) continue;
      const stripe = ((i % map.width) + Math.floor(i / map.width)) % 4 < 2;
      pixels[i] = stripe ? strong : weak;
    }
  });
}

/** The region of a small mask in one color, on nothing. */
function spot(map, color) {
  const soft = values(map);
  const on = pixel(color);
  return canvasOf(map.width, map.height, (pixels) => {
    for (let i = 0; i < soft.length; i++) if (soft[i] > 127) pixels[i] = on;
  });
}

/** A small image with the region of a mask and a line around it. */
export function onImage(small, map) {
  const { width, height } = small;
  const all = canvasOf(width, height, () => {});
  const context = all.getContext("2d");
  context.drawImage(small, 0, 0);
  if (!map) return all;
  const inside = spot(map, MASK);
  context.globalAlpha = 0.35;
  context.drawImage(inside, 0, 0, width, height);
  context.globalAlpha = 1;
  // A line is what a region that is shifted a little covers beyond itself; a dark one beside it is seen on any image.
  for (const [region, far] of [[spot(map, [0, 0, 0]), 4], [inside, 2.5]]) {
    const ring = canvasOf(width, height, () => {});
    const around = ring.getContext("2d");
    for (let turn = 0; turn < 8; turn++) {
      const angle = (turn * Math.PI) / 4;
      around.drawImage(region, far * Math.cos(angle), far * Math.sin(angle), width, height);
    }
    around.globalCompositeOperation = "destination-out";
    around.drawImage(region, 0, 0, width, height);
    context.drawImage(ring, 0, 0);
  }
  return all;
}

/** A small picture of a mask. */
export function preview(map) {
  const soft = values(map);
  const [on, off] = [pixel(MASK), pixel(NOTHING)];
  return canvasOf(map.width, map.height, (pixels) => {
    for (let i = 0; i < soft.length; i++) pixels[i] = soft[i] > 127 ? on : off;
  });
}
