// Pictures as engines take them: the same arithmetic as st.runtime.frames and style_pictures.
// A picture is {data, width, height}: data holds RGB bytes, row by row.

const SHORT_SIDE = 512; // pixels: larger style pictures are scaled down to it, as in training
const LONG_SIDE = 4 * SHORT_SIDE;

/** RGBA as a canvas holds it -> a picture. */
export function fromCanvas(rgba, width, height) {
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    data[to] = rgba[from];
    data[to + 1] = rgba[from + 1];
    data[to + 2] = rgba[from + 2];
  }
  return { data, width, height };
}

/** The top left of a picture into RGBA of this size, whose alpha stays as it is. */
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

/** The least [height, width] that the engine takes and that holds a picture of this size. */
export function fittedSize(metadata, height, width) {
  if (metadata.fixed_size) {
    const [most, widest] = metadata.fixed_size;
    if (height > most || width > widest) {
      throw new Error(`This engine takes pictures up to ${widest}×${most}.`);
    }
    return metadata.fixed_size;
  }
  const step = metadata.multiple;
  return [height, width].map((side) => Math.ceil(Math.max(side, metadata.min_size) / step) * step);
}

/** Pad at the bottom and the right by reflection, or with the edge where that is too small. */
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

/** Which of `side` pixels each of `padded` shows. */
function origins(side, padded) {
  const reflect = padded - side < side;
  return Int32Array.from({ length: padded }, (_, at) => {
    if (at < side) return at;
    return reflect ? 2 * side - 2 - at : side - 1;
  });
}

/** strength * painted + (1 - strength) * source, rounded, into `painted`; both of one size. */
export function mix(source, painted, strength) {
  const kept = 1 - strength;
  for (let i = 0; i < painted.data.length; i++) {
    painted.data[i] = rounded(kept * source.data[i] + strength * painted.data[i]);
  }
}

/** To the nearest whole number, halves to the even one, as Python and OpenCV round. */
function rounded(value) {
  const near = Math.round(value);
  return near - value === 0.5 && near % 2 ? near - 1 : near;
}

/**
 * A style picture of a size that the encoder takes: scaled down and cropped, since padding would
 * change the style's statistics; padded only where it is too small.
 */
export function asStyle(picture, metadata) {
  let sides = [picture.height, picture.width];
  const scale = Math.min(1, SHORT_SIDE / Math.min(...sides), LONG_SIDE / Math.max(...sides));
  if (scale < 1) {
    sides = sides.map((side) => Math.max(1, rounded(side * scale)));
    picture = reduced(picture, ...sides);
  }
  const step = metadata.multiple;
  const least = Math.ceil(metadata.min_size / step) * step;
  const [height, width] = sides.map((s) => (s >= least ? Math.floor(s / step) * step : s));
  const top = (sides[0] - height) >> 1;
  const left = (sides[1] - width) >> 1;
  const data = new Uint8Array(height * width * 3);
  for (let y = 0; y < height; y++) {
    const from = ((top + y) * picture.width + left) * 3;
    data.set(picture.data.subarray(from, from + width * 3), y * width * 3);
  }
  return pad({ data, width, height }, ...fittedSize(metadata, height, width));
}

/** A smaller picture, each pixel the mean of the area that it covers (OpenCV's INTER_AREA). */
function reduced(picture, height, width) {
  const across = coverage(picture.width, width);
  const down = coverage(picture.height, height);
  const lines = new Float64Array(picture.height * width * 3);
  for (let y = 0, to = 0; y < picture.height; y++) {
    for (const { first, weights } of across) {
      for (let channel = 0; channel < 3; channel++, to++) {
        let from = (y * picture.width + first) * 3 + channel;
        for (const weight of weights) {
          lines[to] += weight * picture.data[from];
          from += 3;
        }
      }
    }
  }
  const data = new Uint8Array(height * width * 3);
  const line = width * 3;
  down.forEach(({ first, weights }, y) => {
    for (let x = 0; x < line; x++) {
      let sum = 0;
      weights.forEach((weight, i) => (sum += weight * lines[(first + i) * line + x]));
      data[y * line + x] = rounded(sum);
    }
  });
  return { data, width, height };
}

/** For each of `to` pixels, which of `from` it covers and by how much. */
function coverage(from, to) {
  const scale = from / to;
  return Array.from({ length: to }, (_, at) => {
    const [start, end] = [at * scale, Math.min((at + 1) * scale, from)];
    const first = Math.floor(start + 1e-9);
    const last = Math.min(Math.ceil(end - 1e-9), from);
    const parts = Array.from(
      { length: last - first },
      (_, i) => Math.min(end, first + i + 1) - Math.max(start, first + i),
    );
    const total = parts.reduce((a, b) => a + b);
    return { first, weights: parts.map((part) => part / total) };
  });
}
