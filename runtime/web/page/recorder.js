// Records the displayed pictures to a video in the browser.

const KINDS = ["video/mp4;codecs=avc1.42E01E", "video/webm;codecs=vp9", "video/webm"];

export class Recorder {
  /** draw(context, width, height): draws the current picture. done(blob, suffix): gets the video. */
  constructor(width, height, draw, done) {
    if (!window.MediaRecorder) throw new Error("This browser cannot record.");
    const canvas = document.createElement("canvas");
    canvas.width = width & ~1;
    canvas.height = height & ~1;
    const context = canvas.getContext("2d");
    const kind = KINDS.find((one) => MediaRecorder.isTypeSupported(one));
    this.recorder = new MediaRecorder(canvas.captureStream(30), {
      mimeType: kind,
      videoBitsPerSecond: 8_000_000,
    });
    const parts = [];
    this.recorder.ondataavailable = ({ data }) => parts.push(data);
    this.recorder.onstop = () => {
      clearInterval(this.timer);
      const type = kind.split(";")[0];
      done(new Blob(parts, { type }), type.split("/")[1]);
    };
    draw(context, canvas.width, canvas.height);
    this.timer = setInterval(() => draw(context, canvas.width, canvas.height), 1000 / 30);
    this.recorder.start(1000);
  }

  stop() {
    if (this.recorder.state !== "inactive") this.recorder.stop();
  }
}

/** Connects a button with recordings. One recording runs at a time. */
export class RecordButton {
  #button;
  #done;
  #recorder = null;

  /** done(blob, suffix): called with each finished video. */
  constructor(button, done) {
    this.#button = button;
    this.#done = done;
  }

  get running() {
    return this.#recorder !== null;
  }

  /** Start recording; arguments as for Recorder. Throws an error if the browser cannot record. */
  start(width, height, draw) {
    this.#recorder = new Recorder(width, height, draw, (film, suffix) => {
      this.#recorder = null;
      this.#show();
      this.#done(film, suffix);
    });
    this.#show();
  }

  stop() {
    this.#recorder?.stop();
  }

  #show() {
    this.#button.setAttribute("aria-pressed", this.running);
    this.#button.textContent = this.running ? "Stop recording" : "Record";
  }
}

/** Draw pictures side by side, each scaled to fit into its part of the width. */
export function drawRow(context, pictures, width, height, mirror = false) {
  const each = width / pictures.length;
  pictures.forEach((picture, i) => drawWhole(context, picture, i * each, 0, each, height, mirror));
}

/** Draw a whole picture, scaled to fit into a box. */
export function drawWhole(context, source, left, top, width, height, mirror = false) {
  const across = source.videoWidth ?? source.width;
  const down = source.videoHeight ?? source.height;
  if (!across || !down) return;
  const scale = Math.min(width / across, height / down);
  const [w, h] = [across * scale, down * scale];
  context.save();
  context.translate(left + width / 2, top + height / 2);
  if (mirror) context.scale(-1, 1);
  context.drawImage(source, -w / 2, -h / 2, w, h);
  context.restore();
}
