// Color transfer, with the same arithmetic as st.runtime.painting.color_transfer.
// Pictures are {data, width, height}: RGB bytes, row by row.

const LUMA = [0.2126, 0.7152, 0.0722];
const SAMPLE = 1 << 16; // pixels sampled for mean and covariance
const NOISE = 1 / 12; // variance of a channel due to rounding

/** Recolor the painting in place. content: the source picture, of the same size. */
export function recolor(painted, content, color) {
  if (color === "luminance") lumaAndChroma(painted.data, painted.data, content.data);
  else if (color === "only") lumaAndChroma(painted.data, content.data, painted.data);
  else if (color === "histogram") match(painted.data, content.data);
}

/** Luma of one picture with chroma of another; chroma is scaled down where RGB would clip. */
function lumaAndChroma(out, light, color) {
  for (let i = 0; i < out.length; i += 3) {
    const luma = LUMA[0] * light[i] + LUMA[1] * light[i + 1] + LUMA[2] * light[i + 2];
    const own = LUMA[0] * color[i] + LUMA[1] * color[i + 1] + LUMA[2] * color[i + 2];
    const [r, g, b] = [color[i] - own, color[i + 1] - own, color[i + 2] - own];
    const above = Math.max(r, g, b, 1e-6);
    const below = Math.max(-r, -g, -b, 1e-6);
    const room = Math.min(1, (255 - luma) / above, luma / below);
    out[i] = clamp(luma + room * r);
    out[i + 1] = clamp(luma + room * g);
    out[i + 2] = clamp(luma + room * b);
  }
}

/** The linear map that matches the painting's color mean and covariance to the content's. */
function match(painted, content) {
  const [own, wanted] = [moments(painted), moments(content)];
  const turn = transport(own.covariance, wanted.covariance);
  const shift = wanted.mean.map((m, i) => m - dot(turn[i], own.mean));
  for (let i = 0; i < painted.length; i += 3) {
    const pixel = [painted[i], painted[i + 1], painted[i + 2]];
    for (let c = 0; c < 3; c++) painted[i + c] = clamp(dot(turn[c], pixel) + shift[c]);
  }
}

function moments(data) {
  const step = 3 * (Math.floor(data.length / 3 / SAMPLE) | 1);
  const mean = [0, 0, 0];
  let count = 0;
  for (let i = 0; i < data.length; i += step, count++) {
    for (let c = 0; c < 3; c++) mean[c] += data[i + c];
  }
  for (let c = 0; c < 3; c++) mean[c] /= count;
  const covariance = [[0, 0, 0], [0, 0, 0], [0, 0, 0]];
  for (let i = 0; i < data.length; i += step) {
    for (let a = 0; a < 3; a++) {
      for (let b = 0; b < 3; b++) {
        covariance[a][b] += ((data[i + a] - mean[a]) * (data[i + b] - mean[b])) / count;
      }
    }
  }
  return { mean, covariance };
}

/** The symmetric matrix T with T · own · T = wanted. */
function transport(own, wanted) {
  const noisy = (m) => m.map((row, a) => row.map((v, b) => v + (a === b ? NOISE : 0)));
  const [root, inverse] = roots(noisy(own), NOISE);
  const middle = roots(times(root, times(noisy(wanted), root)), NOISE ** 2)[0];
  return times(inverse, times(middle, inverse));
}

/** The square root of a symmetric matrix, and the inverse of that root. */
function roots(matrix, least) {
  const [values, vectors] = eigen(matrix);
  const sides = values.map((value) => Math.sqrt(Math.max(value, least)));
  const made = (f) =>
    [0, 1, 2].map((a) =>
      [0, 1, 2].map((b) => sides.reduce((sum, s, k) => sum + vectors[a][k] * f(s) * vectors[b][k], 0)),
    );
  return [made((s) => s), made((s) => 1 / s)];
}

/** Eigenvalues and eigenvectors (in columns) of a symmetric 3×3 matrix, by Jacobi rotations. */
function eigen(matrix) {
  let m = matrix.map((row) => [...row]);
  let vectors = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
  for (let sweep = 0; sweep < 12; sweep++) {
    for (const [p, q] of [[0, 1], [0, 2], [1, 2]]) {
      if (Math.abs(m[p][q]) < 1e-12) continue;
      const angle = 0.5 * Math.atan2(2 * m[p][q], m[q][q] - m[p][p]);
      const [c, s] = [Math.cos(angle), Math.sin(angle)];
      const turn = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
      turn[p][p] = turn[q][q] = c;
      turn[p][q] = s;
      turn[q][p] = -s;
      const back = turn.map((_, a) => turn.map((row) => row[a]));
      m = times(back, times(m, turn));
      vectors = times(vectors, turn);
    }
  }
  return [[m[0][0], m[1][1], m[2][2]], vectors];
}

function times(a, b) {
  return a.map((row) => [0, 1, 2].map((c) => row.reduce((sum, v, k) => sum + v * b[k][c], 0)));
}

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const clamp = (value) => Math.min(255, Math.max(0, Math.round(value)));
