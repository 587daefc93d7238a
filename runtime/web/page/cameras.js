// Opens and lists cameras.

import { at } from "./page_tools.js";

const REFUSALS = {
  NotAllowedError: "The camera was not allowed. Allow it next to the address, then try again.",
  NotFoundError: "No camera was found.",
  NotReadableError: "Another program uses the camera. Close it, then try again.",
  OverconstrainedError: "This camera is no longer connected.",
};

/**
 * Open a camera and return its MediaStream. Throws an Error with a message for the visitor.
 * format: constraints on size and rate. device: a device ID; "" selects the front camera.
 */
export async function openCamera(format, device = "") {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("Browsers allow the camera only on pages from localhost or over https.");
  }
  const choice = device ? { deviceId: { exact: device } } : { facingMode: "user" };
  try {
    const video = { ...format, ...choice };
    return await navigator.mediaDevices.getUserMedia({ video, audio: false });
  } catch (error) {
    const text = REFUSALS[error.name] ?? `The camera failed: ${error.message}`;
    throw new Error(text, { cause: error });
  }
}

/** Fill the list of cameras, which is hidden if there is only one. current: its device ID. */
export async function showCameras(current) {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const cameras = devices.filter(({ kind, deviceId }) => kind === "videoinput" && deviceId);
  at("device").replaceChildren(
    ...cameras.map(({ label, deviceId }, i) => new Option(label || `Camera ${i + 1}`, deviceId)),
  );
  at("device").value = current;
  at("device-field").hidden = cameras.length < 2;
}
