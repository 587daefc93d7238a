// One visit: the camera to the server, its painting back, settings and figures beside them.

const GATHERING = 2000; // milliseconds to wait for the browser's own addresses
const PATIENCE = 10000; // to wait for a connection before another is tried
const BEAT = 500; // between two pings; the server ends a session after ten seconds of silence
const SILENT = 1300; // without an answer to a ping, after which the visitor is told
const DEAD = 5000; // without one, after which a new connection is tried

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

// A request to this server. Throws `Refused`: it answered with an error, or (status 0) not at all.
export async function send(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch {
    throw new Refused("The server cannot be reached.", 0);
  }
  if (answer.ok) return answer;
  const values = await answer.json().catch(() => ({}));
  throw new Refused(values.error || answer.statusText, answer.status);
}

export async function ask(path, options = {}) {
  return (await send(path, options)).json();
}

export class Stream {
  // camera: a MediaStream. on: {painted(MediaStream), measured({…}), message(text), silent(yes), ended()}
  constructor(camera, on) {
    this.on = on;
    this.server = { delay: null };
    this.counted = null;
    this.shown = []; // milliseconds from a frame's last packet to the screen
    this.ended = false;
    this.peer = new RTCPeerConnection({ iceServers: [] });
    this.channel = this.peer.createDataChannel("controls");
    this.channel.onmessage = (event) => {
      this.last = performance.now();
      if (this.silent) on.silent((this.silent = false));
      this.#heard(JSON.parse(event.data));
    };
    this.sender = this.peer.addTrack(camera.getVideoTracks()[0], camera);
    this.peer.ontrack = ({ track, streams, receiver }) => {
      // Paint it as soon as it is there: a live picture has nothing to gain from a buffer.
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
      else if ("playoutDelayHint" in receiver) receiver.playoutDelayHint = 0;
      on.painted(streams[0] || new MediaStream([track]));
    };
    this.peer.onconnectionstatechange = () => {
      if (["failed", "closed"].includes(this.peer.connectionState)) this.close();
    };
  }

  // Connect; resolves when settings can be sent.
  async open() {
    await this.peer.setLocalDescription(await this.peer.createOffer());
    await this.#gathered();
    const answer = await ask("/offer", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ sdp: this.peer.localDescription.sdp }),
    });
    this.session = answer.session;
    await this.peer.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    await new Promise((resolve, reject) => {
      this.channel.onopen = resolve;
      this.channel.onclose = () => {
        reject(new Error("The connection was lost."));
        this.close();
      };
      this.failed = reject;
      setTimeout(reject, PATIENCE, new Error("The connection was not made in time."));
    });
    this.last = performance.now();
    this.beats = 0;
    this.beat = setInterval(() => this.#tick(), BEAT);
  }

  set(settings) {
    this.#send({ settings });
  }

  // Time what this video element shows, where the browser tells.
  time(video) {
    if (!video.requestVideoFrameCallback) return;
    const note = (_now, frame) => {
      if (frame.receiveTime) this.shown.push(frame.expectedDisplayTime - frame.receiveTime);
      if (!this.ended) video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
  }

  // One frame, painted whole with this visitor's settings -> a PNG file.
  async paint(blob) {
    const path = `/sessions/${this.session}/stylize?format=png`;
    return (await send(path, { method: "POST", body: blob })).blob();
  }

  // A style picture, to the number that settings name it by.
  async sendPicture(blob) {
    const path = `/sessions/${this.session}/pictures`;
    return (await ask(path, { method: "POST", body: blob })).style;
  }

  async replaceCamera(camera) {
    await this.sender.replaceTrack(camera.getVideoTracks()[0]);
  }

  close() {
    if (this.ended) return;
    this.ended = true;
    clearInterval(this.beat);
    this.peer.close();
    this.failed?.(new Error("The connection was lost."));
    if (this.session) {
      const leave = { method: "DELETE", keepalive: true, credentials: "same-origin" };
      fetch(`/sessions/${this.session}`, leave).catch(() => {});
    }
    this.on.ended();
  }

  #tick() {
    const quiet = performance.now() - this.last;
    if (quiet > DEAD) return this.close();
    if (quiet > SILENT && !this.silent) this.on.silent((this.silent = true));
    this.#send({ ping: Math.round(performance.now()) });
    if (this.beats++ % 2 === 0) this.#measure();
  }

  #send(values) {
    if (this.channel.readyState === "open") this.channel.send(JSON.stringify(values));
  }

  #heard(values) {
    if ("error" in values) this.on.message(values.error);
    if ("delay" in values) this.server = values;
  }

  #gathered() {
    return new Promise((resolve) => {
      const done = () => this.peer.iceGatheringState === "complete" && resolve();
      this.peer.addEventListener("icegatheringstatechange", done);
      setTimeout(resolve, GATHERING);
      done();
    });
  }

  // Shown frames a second, and the delay from camera to screen: the browser's encoder, the network
  // there and back, the server's own time, the browser's buffer and decoder.
  async #measure() {
    let round = 0;
    const now = {};
    for (const entry of (await this.peer.getStats()).values()) {
      if (entry.type === "candidate-pair" && entry.nominated) {
        round = entry.currentRoundTripTime || 0;
      } else if (entry.type === "inbound-rtp" && entry.kind === "video") {
        now.time = entry.timestamp;
        now.frames = entry.framesDecoded || 0;
        now.buffered = (entry.jitterBufferDelay || 0) + (entry.totalDecodeTime || 0);
      } else if (entry.type === "outbound-rtp" && entry.kind === "video") {
        now.encoded = entry.framesEncoded || 0;
        now.encoding = entry.totalEncodeTime || 0;
      }
    }
    const before = this.counted;
    this.counted = now;
    const shown = this.shown.splice(0);
    if (this.ended || !before || !(now.time > before.time) || this.server.delay === null) return;
    const each = (what, many) => (now[what] - before[what]) / Math.max(1, now[many] - before[many]);
    const screen = shown.length
      ? shown.reduce((sum, one) => sum + one, 0) / shown.length
      : 1000 * each("buffered", "frames");
    this.on.measured({
      rate: (1000 * (now.frames - before.frames)) / (now.time - before.time),
      delay: 1000 * (each("encoding", "encoded") + round) + this.server.delay + screen,
      width: this.server.width,
      height: this.server.height,
    });
  }
}
