// Pictures from files, as RGBA bytes of the size that is painted.

const MOST_PIXELS = 9_000_000; // as in st.runtime: more are not painted in one run

/** Decode a file. Throws Error: not a picture, in words for the visitor. */
export async function decoded(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error(`${file.name || "This"} is no picture that this browser can read.`);
  }
}

/**
 * A bitmap or a video's frame as {rgba, width, height, reduced}, its longer side at most `longest`.
 * reduced: it is smaller than was asked for, since the page or the engine takes no more.
 * limits: [height, width] that an engine of one size takes.
 */
export function pixels(source, longest, limits = null, mirror = false) {
  const [across, down] = [source.videoWidth ?? source.width, source.videoHeight ?? source.height];
  const scale = Math.min(
    1,
    longest / Math.max(across, down),
    Math.sqrt(MOST_PIXELS / (across * down)),
    ...(limits ? [limits[0] / down, limits[1] / across] : []),
  );
  const width = Math.max(1, Math.floor(across * scale + 1e-6));
  const height = Math.max(1, Math.floor(down * scale + 1e-6));
  const canvas = scratch(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.clearRect(0, 0, width, height);
  context.setTransform(mirror ? -1 : 1, 0, 0, 1, mirror ? width : 0, 0);
  context.drawImage(source, 0, 0, width, height);
  const { data: rgba } = context.getImageData(0, 0, width, height);
  return { rgba, width, height, reduced: width < across && longest >= Math.max(across, down) };
}

let kept;
function scratch(width, height) {
  if (kept?.width !== width || kept.height !== height) {
    kept = document.createElement("canvas");
    kept.width = width;
    kept.height = height;
  }
  return kept;
}

/** Give wholly transparent pixels the mean visible color: theirs is arbitrary. In place. */
export function fillHidden(rgba) {
  const sums = [0, 0, 0];
  let visible = 0;
  for (let i = 0; i < rgba.length; i += 4) {
    if (!rgba[i + 3]) continue;
    visible++;
    for (let c = 0; c < 3; c++) sums[c] += rgba[i + c];
  }
  if (visible * 4 === rgba.length) return;
  const mean = sums.map((sum) => (visible ? Math.round(sum / visible) : 128));
  for (let i = 0; i < rgba.length; i += 4) {
    if (!rgba[i + 3]) rgba.set(mean, i);
  }
}
