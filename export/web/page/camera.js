// The visitor's camera; returns the newest frame on request.

const REFUSALS = {
  NotAllowedError: "The camera was not allowed. Allow it beside the address, then try again.",
  NotFoundError: "There is no camera here.",
  NotReadableError: "Another program holds the camera.",
  OverconstrainedError: "This camera is not here any more.",
};

export class Camera {
  #video;
  #stream = null;
  #lost;

  /** lost: called when the active camera is disconnected. */
  constructor(video, lost) {
    this.#video = video;
    this.#lost = lost;
  }

  get on() {
    return this.#stream !== null;
  }

  /** Whether this is a rear camera, such as the back camera of a phone. */
  get outward() {
    return this.#track()?.getSettings().facingMode === "environment";
  }

  get device() {
    return this.#track()?.getSettings().deviceId ?? "";
  }

  /** Start. device: an id from `devices`, "" for any. Throws Error with a message for the visitor. */
  async start(device = "") {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("Browsers give their camera only to pages from https or from localhost.");
    }
    this.stop();
    const size = { width: { ideal: 1280 }, height: { ideal: 720 } };
    const choice = device ? { deviceId: { exact: device } } : { facingMode: "user" };
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({
        video: { ...size, ...choice },
        audio: false,
      });
    } catch (error) {
      throw new Error(REFUSALS[error.name] ?? `The camera failed: ${error.message}`);
    }
    const stream = this.#stream;
    this.#track().addEventListener("ended", () => {
      if (this.#stream === stream) {
        this.stop();
        this.#lost();
      }
    });
    this.#video.srcObject = stream;
    await this.#video.play();
  }

  stop() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.#video.srcObject = null;
  }

  /** The cameras as [{id, label}]. Labels are empty until the visitor has allowed a camera. */
  async devices() {
    const all = await navigator.mediaDevices.enumerateDevices();
    const cameras = all.filter((device) => device.kind === "videoinput");
    return cameras.map((d, i) => ({ id: d.deviceId, label: d.label || `Camera ${i + 1}` }));
  }

  /** Wait for a new frame; the video element then shows it. */
  frame() {
    return new Promise((resolve) => {
      if (this.#video.requestVideoFrameCallback) this.#video.requestVideoFrameCallback(resolve);
      else requestAnimationFrame(resolve);
    });
  }

  #track() {
    return this.#stream?.getVideoTracks()[0];
  }
}
