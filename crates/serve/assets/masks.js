// Masks as they come, and as they are drawn.

/** Okabe and Ito's colors: mask, truth, unsure. */
export const MASK = [86, 180, 233];
export const TRUTH = [240, 228, 66];
const UNSURE = [204, 121, 167];

/** Probabilities between these are unsure, of 255: a quarter to three quarters. */
const UNSURE_FROM = 64;
const UNSURE_TO = 191;

/** A mask of a byte per pixel from the lengths of its runs, off and on by turns. */
export function decode({ width, height, runs }) {
  const pixels = new Uint8Array(width * height);
  let at = 0;
  let on = false;
  for (const length of runs) {
    if (on) pixels.fill(1, at, at + length);
    at += length;
    on = !on;
  }
  return { width, height, pixels };
}

const values = (map) => Uint8Array.from(atob(map.values), (c) => c.charCodeAt(0));

function canvasOf(width, height, paint) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  // What it shows is said in words beside it.
  canvas.setAttribute("aria-hidden", "true");
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  paint(image.data);
  context.putImageData(image, 0, 0);
  return canvas;
}

/** The mask as an opaque region in one color. */
export function region({ width, height, pixels }, [r, g, b]) {
  return canvasOf(width, height, (data) => {
    for (let i = 0; i < pixels.length; i++) {
      if (pixels[i]) data.set([r, g, b, 255], 4 * i);
    }
  });
}

/** The outline as a path along pixel edges, in pixels of the image. The edge of the image is no outline. */
export function outline({ width, height, pixels }) {
  const path = new Path2D();
  for (let y = 0; y < height; y++) {
    let from = -1;
    for (let x = 0; x <= width; x++) {
      const differs = x < width && y > 0 && pixels[y * width + x] !== pixels[(y - 1) * width + x];
      if (differs && from < 0) from = x;
      if (!differs && from >= 0) {
        path.moveTo(from, y);
        path.lineTo(x, y);
        from = -1;
      }
    }
  }
  for (let x = 1; x < width; x++) {
    let from = -1;
    for (let y = 0; y <= height; y++) {
      const differs = y < height && pixels[y * width + x] !== pixels[y * width + x - 1];
      if (differs && from < 0) from = y;
      if (!differs && from >= 0) {
        path.moveTo(x, from);
        path.lineTo(x, y);
        from = -1;
      }
    }
  }
  return path;
}

/** Where the mask is unsure, as stripes: also seen without colors. */
export function unsure(map) {
  const sure = values(map);
  return canvasOf(map.width, map.height, (data) => {
    for (let i = 0; i < sure.length; i++) {
      if (sure[i] < UNSURE_FROM || sure[i] > UNSURE_TO) continue;
      const stripe = ((i % map.width) + Math.floor(i / map.width)) % 4 < 2;
      data.set([...UNSURE, stripe ? 235 : 120], 4 * i);
    }
  });
}

/** A small picture of a mask. */
export function preview(map) {
  const soft = values(map);
  return canvasOf(map.width, map.height, (data) => {
    for (let i = 0; i < soft.length; i++) {
      const on = soft[i] > 127;
      data.set(on ? [...MASK, 255] : [40, 40, 40, 255], 4 * i);
    }
  });
}
