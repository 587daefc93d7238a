// The page's controls. The stream itself is in stream.js.

import { openCamera, showCameras } from "./cameras.js";
import {
  Memory,
  at,
  download,
  onKeys,
  onStyleFiles,
  sharedKeys,
  stamp,
  switchFullScreen,
} from "./page_tools.js";
import { RecordButton, drawRow, drawWhole } from "./recorder.js";
import { Refused, Stream, ask } from "./stream.js";
import { Styles } from "./styles.js";

const STYLE_SIDE = 512; // pixels of a style picture; the server uses no more
const RETRIES = [500, 1000, 2000, 4000]; // milliseconds before each new try; the last repeats

const styles = new Styles({ names: at("names"), blend: at("blend"), rows: at("weights") }, changed);
const memory = new Memory("st-live");
const kept = memory.read();

let info = null;
let camera = null; // MediaStream
let stream = null; // Stream
let wanted = false; // whether the visitor wants to be painted now
let tries = 0;
let waiting = 0; // timer of the next try
const recording = new RecordButton(at("record"), (film, suffix) =>
  download(film, `painted-${stamp()}.${suffix}`),
);
const pictures = []; // {name, blob, data, style}: style.value is its number on the server
const touched = new Set();

// Startup

async function begin() {
  try {
    info = await ask("/info");
  } catch (error) {
    tell(error.message);
    waiting = setTimeout(begin, 2000);
    return;
  }
  tell("");
  info.styles.forEach((label, number) => {
    const image = new Image(144, 144);
    Object.assign(image, { alt: "", loading: "lazy", src: `/styles/${number}` });
    styles.add(label, number, image);
  });
  at("add-style").hidden = !info.pictures;
  at("blend").hidden = !info.blends;
  const start = info.begin;
  at("strength").value = Math.round(100 * (kept.strength ?? start.strength));
  at("color").value = kept.color ?? start.color;
  at("quality").value = kept.quality ?? (start.sharp ? "sharp" : "smooth");
  for (const id of ["mirror", "beside"]) {
    if (typeof kept[id] !== "boolean") continue;
    at(id).checked = kept[id];
    touched.add(id);
  }
  if (info.pictures) {
    for (const { name, data } of kept.pictures ?? []) await keepPicture(name, data).catch(() => {});
  }
  const labels = Object.entries(start.weights).map(([n, w]) => [info.styles[n], w]);
  if (!styles.take(kept.weights ?? {})) styles.take(Object.fromEntries(labels));
  at("styles").hidden = !styles.count && !info.pictures;
  arrange();
  changed();
}

// Settings

function settings() {
  const numbers = styles.weights.filter(([number]) => number !== null);
  return {
    weights: Object.fromEntries(numbers),
    strength: Number(at("strength").value) / 100,
    color: at("color").value,
    sharp: at("quality").value === "sharp",
  };
}

function changed() {
  if (!info) return;
  at("strength-shown").value = `${at("strength").value} %`;
  remember();
  if (styles.count && !styles.weights.length) {
    tell("All styles are at 0: raise one of them.", { mild: true, of: "style" });
    return;
  }
  if (at("notice").dataset.of === "style") tell("");
  if (!styles.count && info.pictures) {
    tell("Add a style picture to paint with.", { mild: true, of: "style" });
  }
  stream?.set(settings());
}

function remember() {
  const values = {
    weights: styles.named,
    strength: Number(at("strength").value) / 100,
    color: at("color").value,
    quality: at("quality").value,
  };
  for (const id of touched) values[id] = at(id).checked;
  const given = pictures.map(({ name, data }) => ({ name, data }));
  if (!memory.write({ ...values, pictures: given })) memory.write(values);
}

/** Show a message over the picture. cancel: called by its button; null for no button. */
function tell(text, { cancel = null, mild = false, of = "" } = {}) {
  at("message").textContent = text;
  at("notice").hidden = !text;
  at("notice").dataset.of = of;
  at("notice").classList.toggle("mild", mild);
  at("cancel").hidden = !cancel;
  at("cancel").onclick = cancel;
}

function arrange() {
  at("stage").classList.toggle("mirrored", at("mirror").checked);
  at("stage").classList.toggle("beside", at("beside").checked);
  at("own").hidden = !at("beside").checked;
}

// The camera

/** Open a camera in the format that the server wants. */
function open(device) {
  const { width, height, rate } = info.camera;
  const size = { width: { ideal: width }, height: { ideal: height } };
  return openCamera({ ...size, frameRate: { ideal: rate } }, device);
}

function use(opened) {
  camera = opened;
  at("camera").srcObject = camera;
  const track = camera.getVideoTracks()[0];
  track.contentHint = "motion";
  track.onended = () => {
    stop();
    tell("The camera was disconnected.");
  };
  // People expect the camera that faces them to be mirrored.
  if (!touched.has("mirror")) {
    at("mirror").checked = track.getSettings().facingMode !== "environment";
    arrange();
  }
}

async function changeCamera() {
  try {
    const before = camera;
    before.getVideoTracks()[0].onended = null;
    before.getTracks().forEach((track) => track.stop()); // many phones open only one at a time
    use(await open(at("device").value));
    await stream?.replaceCamera(camera);
  } catch (error) {
    stop();
    tell(error.message);
  }
}

// The connection

async function start() {
  if (!info || wanted) return;
  tell("");
  at("start").disabled = true;
  try {
    use(await open());
    await showCameras(camera.getVideoTracks()[0].getSettings().deviceId);
  } catch (error) {
    tell(error.message);
    at("start").disabled = false;
    return;
  }
  wanted = true;
  tries = 0;
  at("curtain").hidden = true;
  for (const id of ["full", "stop"]) at(id).disabled = false;
  at("stop").focus();
  await connect();
}

async function connect() {
  clearTimeout(waiting);
  if (!tries) tell("Connecting …", { cancel: stop, mild: true });
  const opened = new Stream(camera, {
    painted: (media) => {
      at("painted").srcObject = media;
      opened.time(at("painted"));
    },
    measured: ({ rate, delay, width, height }) => {
      tries = 0;
      figures(`${rate.toFixed(0)} frames/s · ${delay.toFixed(0)} ms · ${width}×${height}`);
    },
    message: (text) => tell(text, { of: "server" }),
    silent: (yes) => {
      if (yes) tell("The server does not answer. Waiting for it …", { cancel: stop });
      else changed(), tell("");
    },
    ended: () => lost(opened),
  });
  stream = opened;
  try {
    await opened.open();
    for (const picture of pictures) await sendPicture(picture);
    tell("");
    changed();
    running(true);
  } catch (error) {
    opened.why = error;
    opened.close();
  }
}

/** Called once for each stream, when it has ended for any reason. */
function lost(ended) {
  if (stream === ended) stream = null;
  figures("");
  running(false);
  if (!wanted) return;
  const { why } = ended;
  if (why instanceof Refused && ![0, 502, 503, 504].includes(why.status)) {
    stop();
    const again = "Open the address that it printed last.";
    tell(why.status === 401 ? `The server was restarted. ${again}` : why.message);
    return;
  }
  const pause = RETRIES[Math.min(tries++, RETRIES.length - 1)];
  const what = why?.message ?? "The connection to the server was lost.";
  tell(`${what} Trying again …`, { cancel: stop });
  if (!document.hidden) waiting = setTimeout(() => wanted && !stream && connect(), pause);
}

function stop() {
  wanted = false;
  clearTimeout(waiting);
  recording.stop();
  stream?.close();
  camera?.getTracks().forEach((track) => track.stop());
  camera = null;
  at("camera").srcObject = at("painted").srcObject = null;
  running(false);
  for (const id of ["full", "stop"]) at(id).disabled = true;
  at("curtain").hidden = false;
  at("start").disabled = false;
  tell("");
  changed();
  at("start").focus();
}

function running(yes) {
  for (const id of ["save", "record"]) at(id).disabled = !yes;
  if (!yes) recording.stop();
}

function figures(text) {
  at("figures").textContent = text;
  at("figures").hidden = !text;
}

// Style pictures

async function addPicture(file) {
  try {
    const style = await keepPicture(file.name.replace(/\.[^.]*$/, ""), await small(file));
    styles.choose(style);
  } catch (error) {
    tell(error.message, { of: "picture" });
  }
}

/** Add a style picture, a data URL; it is sent at once if there is a connection. */
async function keepPicture(name, data) {
  const bytes = Uint8Array.from(atob(data.split(",")[1]), (letter) => letter.charCodeAt(0));
  const image = new Image(144, 144);
  Object.assign(image, { alt: "", src: data });
  const picture = { name, data, blob: new Blob([bytes], { type: "image/jpeg" }) };
  if (stream?.session) picture.number = await stream.sendPicture(picture.blob);
  picture.style = styles.add(name, picture.number ?? null, image);
  pictures.push(picture);
  return picture.style;
}

async function sendPicture(picture) {
  picture.style.value = await stream.sendPicture(picture.blob);
}

/** The file as a small JPEG, as a data URL. */
async function small(file) {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name}: not a picture that this browser can read.`);
  });
  const scale = Math.min(1, STYLE_SIDE / Math.min(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(scale * bitmap.width));
  canvas.height = Math.max(1, Math.round(scale * bitmap.height));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.92);
}

// Saving

/** Save a full-size frame of the camera, painted by the server. */
async function save() {
  if (at("save").disabled) return;
  at("save").disabled = true;
  tell("Painting the full picture …", { mild: true });
  const video = at("camera");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const mirror = at("mirror").checked;
  const context = canvas.getContext("2d");
  drawWhole(context, video, 0, 0, canvas.width, canvas.height, mirror);
  try {
    const frame = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
    download(await stream.paint(frame), `painted-${stamp()}.png`);
    tell("");
  } catch (error) {
    tell(`Not saved: ${error.message}`);
  }
  at("save").disabled = !stream;
}

function record() {
  if (recording.running) {
    recording.stop();
    return;
  }
  if (at("record").disabled) return;
  const [width, height] = [at("camera").videoWidth, at("camera").videoHeight];
  const shown = at("beside").checked ? [at("camera"), at("painted")] : [at("painted")];
  const draw = (context, across, down) =>
    drawRow(context, shown, across, down, at("mirror").checked);
  try {
    recording.start(shown.length * width, height, draw);
  } catch (error) {
    tell(error.message);
  }
}

function flip(id) {
  touched.add(id);
  arrange();
  remember();
}

const fullScreen = () => switchFullScreen(at("stage"), at("painted"));

for (const id of ["strength", "color", "quality"]) at(id).addEventListener("input", changed);
for (const id of ["mirror", "beside"]) at(id).addEventListener("change", () => flip(id));
at("start").addEventListener("click", start);
at("stop").addEventListener("click", stop);
onStyleFiles(addPicture);
at("save").addEventListener("click", save);
at("record").addEventListener("click", record);
at("full").addEventListener("click", fullScreen);
at("device").addEventListener("change", changeCamera);
at("controls").addEventListener("submit", (event) => event.preventDefault());
onKeys({
  ...sharedKeys(styles, { save, record, full: fullScreen }),
  " ": () => (wanted ? stop() : start()),
  m: () => at("mirror").click(),
});
addEventListener("pagehide", () => {
  wanted = false;
  stream?.close();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden || !wanted || stream) return;
  tries = 0;
  connect();
});
begin();
