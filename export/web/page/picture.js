// Decodes pictures to RGBA bytes at the size to paint.

const MAX_PIXELS = 9_000_000; // limit of one engine run, as in st.runtime

/** Decode a file. Throws Error with a message for the visitor if it is not a picture. */
export async function decoded(file) {
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error(`${file.name || "This"} is no picture that this browser can read.`);
  }
}

/**
 * A bitmap or video frame as {rgba, width, height, reduced}, its longer side at most `longest`.
 * reduced: whether the size was reduced further, to the limit of the page or the engine.
 * limits: the largest [height, width] that the engine accepts.
 */
export function pixels(source, longest, limits = null, mirror = false) {
  const [across, down] = [source.videoWidth ?? source.width, source.videoHeight ?? source.height];
  const scale = Math.min(
    1,
    longest / Math.max(across, down),
    Math.sqrt(MAX_PIXELS / (across * down)),
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

/** Set fully transparent pixels, whose color is arbitrary, to the mean visible color. In place. */
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
