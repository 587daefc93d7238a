// How large to paint when the visitor leaves it to the page.

const SIDES = [240, 320, 480, 640, 960, 1280]; // pixels, the longer side
const SLOW = 100; // milliseconds a frame: below ten frames a second a film stutters
const QUICK = 60; // what the next larger size may be expected to take

export const PICTURE_SIDE = 1280; // of a picture, which may take its time
export const FIRST_SIDE = { webgpu: 640, wasm: 320 }; // of a camera

/** The side to go on with after frames of `side` took `milliseconds` each. */
export function nextSide(side, milliseconds) {
  const at = SIDES.indexOf(side);
  if (milliseconds > SLOW) return SIDES[Math.max(0, at - 1)];
  const larger = SIDES[Math.min(SIDES.length - 1, at + 1)];
  return milliseconds * (larger / side) ** 2 < QUICK ? larger : side;
}
