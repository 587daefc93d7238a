// Chooses the paint size when the visitor selects "Automatic".

const SIDES = [240, 320, 480, 640, 960, 1280]; // pixels, the longer side
const SLOW = 100; // milliseconds per frame: below ten frames per second, video stutters
const QUICK = 60; // maximum predicted milliseconds per frame at the next larger size

export const PICTURE_SIDE = 1280; // for a still picture, where speed matters less
export const FIRST_SIDE = { webgpu: 640, wasm: 320 }; // for a camera

/** The next side to use, after frames of `side` took `milliseconds` each. */
export function nextSide(side, milliseconds) {
  const at = SIDES.indexOf(side);
  if (milliseconds > SLOW) return SIDES[Math.max(0, at - 1)];
  const larger = SIDES[Math.min(SIDES.length - 1, at + 1)];
  return milliseconds * (larger / side) ** 2 < QUICK ? larger : side;
}
