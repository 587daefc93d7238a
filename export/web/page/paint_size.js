// Paints at a size other than the picture's, as st.runtime.painting.paint_size does. The detail lost
// by scaling down is added again, times the local slope of the painting's gray over the picture's.

import { resized } from "./pixels.js";

const FLAT = 5; // variance below which a window has little influence
const MAX_SLOPE = 1.5;
const REACH = 2; // radius of a window, in pixels

/** [height, width] to paint at. size: the longer side in pixels; 0 keeps the picture's size. */
export function paintingSize(height, width, size, scale) {
  const longest = Math.max(height, width);
  const factor = (size || longest) / longest / scale;
  if (factor === 1) return [height, width];
  return [height, width].map((side) => Math.max(1, Math.round(side * factor)));
}

/** Scale a painting up to the size of its picture. small: the scaled-down picture. */
export function restoreSize(painted, small, picture) {
  const { height, width } = picture;
  if (painted.height >= height && painted.width >= width) return resized(painted, height, width);
  const out = resized(painted, height, width);
  const large = resized(small, height, width);
  const slope = slopes(gray(painted), gray(small), small.width, small.height);
  const [down, across] = [small.height / height, small.width / width];
  for (let y = 0, i = 0; y < height; y++) {
    const row = Math.min(small.height - 1, Math.floor((y + 0.5) * down)) * small.width;
    for (let x = 0; x < width; x++, i += 3) {
      const lost =
        0.299 * (picture.data[i] - large.data[i]) +
        0.587 * (picture.data[i + 1] - large.data[i + 1]) +
        0.114 * (picture.data[i + 2] - large.data[i + 2]);
      const added = lost * slope[row + Math.min(small.width - 1, Math.floor((x + 0.5) * across))];
      for (let c = 0; c < 3; c++) {
        out.data[i + c] = Math.min(255, Math.max(0, Math.round(out.data[i + c] + added)));
      }
    }
  }
  return out;
}

function gray({ data, width, height }) {
  return Float32Array.from(
    { length: width * height },
    (_, i) => 0.299 * data[3 * i] + 0.587 * data[3 * i + 1] + 0.114 * data[3 * i + 2],
  );
}

function slopes(painted, small, width, height) {
  const product = (a, b) => a.map((value, i) => value * b[i]);
  const mean = (layer) => blurred(layer, width, height);
  const [p, s, ss, ps] = [painted, small, product(small, small), product(painted, small)].map(mean);
  return s.map((value, i) => {
    const slope = (ps[i] - p[i] * value) / (ss[i] - value * value + FLAT);
    return Math.min(MAX_SLOPE, Math.max(-MAX_SLOPE, slope));
  });
}

/** Box filter with replicated edges: along rows, then along columns. */
function blurred(layer, width, height) {
  const pass = (from, count, step, lines, stride) => {
    const to = new Float32Array(from.length);
    for (let line = 0; line < lines; line++) {
      for (let at = 0; at < count; at++) {
        let sum = 0;
        for (let d = -REACH; d <= REACH; d++) {
          sum += from[line * stride + Math.min(count - 1, Math.max(0, at + d)) * step];
        }
        to[line * stride + at * step] = sum / (2 * REACH + 1);
      }
    }
    return to;
  };
  return pass(pass(layer, width, 1, height, width), height, width, width, 1);
}
