// The visitor's camera; returns the newest frame on request.

import { openCamera } from "./cameras.js";

const FORMAT = { width: { ideal: 1280 }, height: { ideal: 720 } };

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

  /** Start a camera, see `openCamera`. */
  async start(device = "") {
    this.stop();
    this.#stream = await openCamera(FORMAT, device);
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
