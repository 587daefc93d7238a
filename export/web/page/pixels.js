// Prepares pictures for engines, with the same arithmetic as st.runtime.painting.frames and
// st.runtime.style_encoder.
// A picture is {data, width, height}: data holds RGB bytes, row by row.

const SHORT_SIDE = 512; // pixels: larger style pictures are scaled down to it, as in training
const LONG_SIDE = 4 * SHORT_SIDE;

/** Convert the RGBA bytes of a canvas to a picture. */
export function fromCanvas(rgba, width, height) {
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    data[to] = rgba[from];
    data[to + 1] = rgba[from + 1];
    data[to + 2] = rgba[from + 2];
  }
  return { data, width, height };
}

/** Copy the top left of a picture into RGBA bytes of this size; alpha does not change. */
export function intoCanvas(picture, rgba, width, height) {
  for (let y = 0; y < height; y++) {
    let from = y * picture.width * 3;
    for (let to = y * width * 4; to < (y + 1) * width * 4; to += 4, from += 3) {
      rgba[to] = picture.data[from];
      rgba[to + 1] = picture.data[from + 1];
      rgba[to + 2] = picture.data[from + 2];
    }
  }
}

/** The largest [height, width] that the engine accepts, or null for no limit. */
export function largest(metadata) {
  return metadata.fixed_size ?? metadata.sizes?.[1] ?? null;
}

/** The smallest [height, width] that the engine accepts and that contains this size. */
export function fittedSize(metadata, height, width) {
  const most = largest(metadata);
  if (most && (height > most[0] || width > most[1])) {
    throw new Error(`This engine takes pictures up to ${most[1]}×${most[0]}.`);
  }
  if (metadata.fixed_size) return metadata.fixed_size;
  const step = metadata.multiple;
  const least = metadata.sizes?.[0] ?? [metadata.min_size, metadata.min_size];
  return [height, width].map((side, i) => Math.ceil(Math.max(side, least[i]) / step) * step);
}

/** Pad at the bottom and right by reflection, or by edge replication if the side is too small. */
export function pad(picture, height, width) {
  if (picture.height === height && picture.width === width) return picture;
  const data = new Uint8Array(height * width * 3);
  const rows = origins(picture.height, height);
  const columns = origins(picture.width, width);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += 3) {
      const from = (rows[y] * picture.width + columns[x]) * 3;
      data[to] = picture.data[from];
      data[to + 1] = picture.data[from + 1];
      data[to + 2] = picture.data[from + 2];
    }
  }
  return { data, width, height };
}

/** For each of `padded` pixels, the index of its source pixel in 0..side - 1. */
function origins(side, padded) {
  const reflect = padded - side < side;
  return Int32Array.from({ length: padded }, (_, at) => {
    if (at < side) return at;
    return reflect ? 2 * side - 2 - at : side - 1;
  });
}

/** A copy of the top left of a picture. */
export function crop(picture, height, width) {
  const data = new Uint8Array(height * width * 3);
  for (let y = 0; y < height; y++) {
    const from = y * picture.width * 3;
    data.set(picture.data.subarray(from, from + width * 3), y * width * 3);
  }
  return { data, width, height };
}

/** Set `painted` to strength * painted + (1 - strength) * source, rounded. Equal sizes. */
export function mix(source, painted, strength) {
  const kept = 1 - strength;
  for (let i = 0; i < painted.data.length; i++) {
    painted.data[i] = rounded(kept * source.data[i] + strength * painted.data[i]);
  }
}

/** Round half to even, as Python and OpenCV do. */
function rounded(value) {
  const near = Math.round(value);
  return near - value === 0.5 && near % 2 ? near - 1 : near;
}

/**
 * Fit a style picture to a size that the encoder accepts. It is scaled down and cropped, because
 * padding would change the style's statistics; it is padded only if it is too small.
 */
export function asStyle(picture, metadata) {
  if (metadata.fixed_size) {
    const [height, width] = metadata.fixed_size;
    const rows = Math.max(1, Math.min(picture.height, rounded((picture.width / width) * height)));
    const columns = Math.max(1, Math.min(picture.width, rounded(picture.height * (width / height))));
    return resized(middle(picture, rows, columns), height, width);
  }
  let sides = [picture.height, picture.width];
  const scale = Math.min(
    1,
    SHORT_SIDE / Math.min(...sides),
    LONG_SIDE / Math.max(...sides),
    ...(metadata.sizes ? sides.map((side, i) => metadata.sizes[1][i] / side) : []),
  );
  if (scale < 1) {
    sides = sides.map((side) => Math.max(1, rounded(side * scale)));
    picture = resized(picture, ...sides);
  }
  const step = metadata.multiple;
  const least = Math.ceil(metadata.min_size / step) * step;
  const [height, width] = sides.map((s) => (s >= least ? Math.floor(s / step) * step : s));
  return pad(middle(picture, height, width), ...fittedSize(metadata, height, width));
}

function middle(picture, height, width) {
  const top = (picture.height - height) >> 1;
  const left = (picture.width - width) >> 1;
  const data = new Uint8Array(height * width * 3);
  for (let y = 0; y < height; y++) {
    const from = ((top + y) * picture.width + left) * 3;
    data.set(picture.data.subarray(from, from + width * 3), y * width * 3);
  }
  return { data, width, height };
}

/** Resize as OpenCV does: area averaging to shrink, bicubic interpolation to enlarge. */
export function resized(picture, height, width) {
  if (picture.height === height && picture.width === width) return picture;
  const smaller = height < picture.height || width < picture.width;
  const taps = smaller ? covered : cubic;
  const across = taps(picture.width, width);
  const down = taps(picture.height, height);
  const line = width * 3;
  const lines = new Float64Array(picture.height * line);
  for (let y = 0, to = 0; y < picture.height; y++) {
    for (const { from, weights } of across) {
      for (let channel = 0; channel < 3; channel++, to++) {
        for (let i = 0; i < from.length; i++) {
          lines[to] += weights[i] * picture.data[(y * picture.width + from[i]) * 3 + channel];
        }
      }
    }
  }
  const data = new Uint8ClampedArray(height * line);
  down.forEach(({ from, weights }, y) => {
    for (let x = 0; x < line; x++) {
      let sum = 0;
      for (let i = 0; i < from.length; i++) sum += weights[i] * lines[from[i] * line + x];
      data[y * line + x] = sum;
    }
  });
  return { data: new Uint8Array(data.buffer), width, height };
}

/** For each of `to` output pixels, the input pixels it covers and their weights. */
function covered(side, to) {
  const scale = side / to;
  return Array.from({ length: to }, (_, at) => {
    const [start, end] = [at * scale, Math.min((at + 1) * scale, side)];
    const first = Math.floor(start + 1e-9);
    const count = Math.min(Math.ceil(end - 1e-9), side) - first;
    const from = Array.from({ length: count }, (_, i) => first + i);
    const parts = from.map((pixel) => Math.min(end, pixel + 1) - Math.max(start, pixel));
    const total = parts.reduce((a, b) => a + b);
    return { from, weights: parts.map((part) => part / total) };
  });
}

/** For each of `to` output pixels, the four nearest inputs, weighted by Keys' cubic (a = -3/4). */
function cubic(side, to) {
  return Array.from({ length: to }, (_, at) => {
    const place = ((at + 0.5) * side) / to - 0.5;
    const first = Math.floor(place);
    const d = place - first;
    const outer = (x) => -0.75 * (((x - 5) * x + 8) * x - 4);
    const inner = (x) => (1.25 * x - 2.25) * x * x + 1;
    return {
      from: [-1, 0, 1, 2].map((i) => Math.min(side - 1, Math.max(0, first + i))),
      weights: [outer(d + 1), inner(d), inner(1 - d), outer(2 - d)],
    };
  });
}
