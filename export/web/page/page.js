// The page: connects the controls with the painter.

import { Camera } from "./camera.js";
import { showCameras } from "./cameras.js";
import { serveOffline } from "./offline.js";
import {
  Memory,
  at,
  download,
  element,
  onKeys,
  onStyleFiles,
  sharedKeys,
  stamp,
  switchFullScreen,
} from "./page_tools.js";
import { Painter } from "./painter.js";
import { decoded, fillHidden, pixels } from "./picture.js";
import { largest } from "./pixels.js";
import { RecordButton, drawRow } from "./recorder.js";
import { FIRST_SIDE, PICTURE_SIDE, nextSide } from "./size.js";
import { Styles } from "./styles.js";

const canvas = at("canvas");
const context = canvas.getContext("2d");
const camera = new Camera(at("video"), () => {
  showCamera();
  say("The camera was disconnected.");
});
const styles = new Styles({ names: at("names"), blend: at("blend"), rows: at("weights") }, changed);

let painter;
let engine = null; // the loaded engine: {about, provider, threads}
let picture = null; // the bitmap to paint; null while the camera is used
let side; // longer side of camera frames under "Automatic", in pixels
let memory; // the Memory that stores the settings of this engine
const recording = new RecordButton(at("record"), (film, suffix) =>
  download(film, `${fileName()}-${stamp()}.${suffix}`),
);

// Loading

async function load() {
  painter?.close();
  engine = null;
  say("");
  document.body.dataset.state = "loading";
  at("loading").hidden = false;
  painter = new Painter((loaded, total) => {
    Object.assign(at("progress"), { max: total, value: loaded });
    at("loading-text").textContent = `Loading: ${megabytes(loaded)} of ${megabytes(total)} MB`;
  });
  const mine = painter;
  try {
    const opened = await mine.open(at("provider").value);
    if (mine !== painter) return;
    engine = opened;
    introduce();
    repaint();
  } catch (error) {
    if (mine === painter) say(error.message, "engine");
  }
  if (mine !== painter) return;
  at("loading").hidden = true;
  document.body.dataset.state = engine ? "ready" : "failed";
}

/** Show the contents of engine.json. Adds the styles only once. */
function introduce() {
  const { about } = engine;
  const { metadata } = about;
  document.title = `${about.name}: painted in your browser`;
  at("name").textContent = about.name;
  const facts = { method: metadata.method, ...metadata.card };
  at("card").replaceChildren(
    ...Object.entries(facts).flatMap(([key, value]) => [
      element("dt", key.replaceAll("_", " ")),
      element("dd", String(value)),
    ]),
  );
  side = FIRST_SIDE[engine.provider];
  at("add-style").hidden = !about.encoder;
  at("styles").hidden = !needsStyle();
  at("blend").hidden = !metadata.blends;
  showStatus();
  if (memory) return;
  memory = new Memory(`st-page-${about.name}`);
  metadata.styles.forEach((name, i) => {
    const vector = Float32Array.from(metadata.styles, (_, j) => Number(i === j));
    styles.add(name, vector, preview(i));
  });
  about.codes.forEach(({ name, values }, i) => styles.add(name, fromBase64(values), preview(i)));
  const kept = memory.read();
  for (const id of KEPT) {
    if (typeof kept[id] === "string") at(id).value = kept[id];
  }
  if (typeof kept.beside === "boolean") at("beside").checked = kept.beside;
  showValues();
  if (styles.count && !styles.take(kept.styles ?? {})) styles.choose();
}

function preview(number) {
  if (number >= engine.about.previews) return null;
  const image = new Image(144, 144);
  return Object.assign(image, { alt: "", loading: "lazy", src: `styles/${number}.jpg` });
}

// Controls

const KEPT = ["strength", "color", "scale", "paint-size", "size"];

/** On a change of a control: save the settings and repaint the picture. */
function changed() {
  showValues();
  if (memory) {
    const values = Object.fromEntries(KEPT.map((id) => [id, at(id).value]));
    memory.write({ ...values, beside: at("beside").checked, styles: styles.named });
  }
  repaint();
}

function showValues() {
  at("strength-shown").value = `${at("strength").value} %`;
  at("scale-shown").value = `× ${Number(strokeScale().toFixed(2))}`;
  at("source-figure").hidden = !at("beside").checked;
  at("stage").classList.toggle("beside", at("beside").checked);
}

const strokeScale = () => 2 ** Number(at("scale").value);

function controls() {
  return {
    strength: at("strength").value / 100,
    color: at("color").value,
    scale: strokeScale(),
    paintSize: Number(at("paint-size").value),
  };
}

/** The weighted mean of the chosen styles, or null if no weight is positive. */
function styleVector() {
  const used = styles.weights;
  const total = used.reduce((sum, [, weight]) => sum + weight, 0);
  if (!total) return null;
  const mean = new Float32Array(used[0][0].length);
  for (const [vector, weight] of used) {
    vector.forEach((value, i) => (mean[i] += (weight / total) * value));
  }
  return mean;
}

// Painting

const SLOWEST = 300; // milliseconds per frame; slower frames reduce the size early

let painting = false; // only one painting runs at a time
let again = false; // something changed while painting: repaint

/** Repaint the picture. Not needed for the camera: its next frame uses the new settings. */
async function repaint() {
  if (!picture || !engine) return;
  if (painting) {
    again = true;
    return;
  }
  painting = true;
  canvas.setAttribute("aria-busy", "true");
  const spinner = setTimeout(() => (at("busy").hidden = false), 150);
  try {
    do {
      again = false;
      const frame = pixels(picture, chosenSide() || PICTURE_SIDE, limits());
      fillHidden(frame.rgba);
      const began = performance.now();
      if (await paint(frame)) {
        const size = `${frame.width}×${frame.height}`;
        const made = frame.reduced ? `reduced from ${picture.width}×${picture.height} to ${size}` : size;
        showStatus(`${made} in ${Math.round(performance.now() - began)} ms`);
      }
    } while (again && picture && engine);
  } catch (error) {
    say(error.message);
  }
  painting = false;
  clearTimeout(spinner);
  at("busy").hidden = true;
  canvas.setAttribute("aria-busy", "false");
}

let turns = 0; // number of camera loops started: only the newest one continues

/** Paint camera frames until the camera stops. */
async function live() {
  const turn = ++turns;
  const shown = []; // display times of the last paintings
  let times = []; // milliseconds per frame at this size
  while (camera.on && turn === turns) {
    await camera.frame();
    if (!camera.on || turn !== turns) break;
    if (!engine) continue;
    const began = performance.now();
    const frame = pixels(at("video"), chosenSide() || side, limits(), at("mirror").checked);
    if (!(await paint(frame))) {
      await new Promise((resolve) => setTimeout(resolve, 300)); // retry later: a setting may change
      continue;
    }
    const now = performance.now();
    shown.push(now);
    while (shown[0] < now - 2000) shown.shift();
    const rate = shown.length > 1 ? ((shown.length - 1) * 1000) / (now - shown[0]) : 0;
    showStatus(
      `${rate.toFixed(1)} frames/s · ${Math.round(now - began)} ms delay · ${frame.width}×${frame.height}`,
    );
    times.push(now - began);
    // Ignore the first frames of a size: memory allocation and WebGPU compilation slow them down.
    if (times.length >= 12 || (times.length >= 3 && now - began > SLOWEST)) {
      if (!chosenSide()) side = nextSide(side, Math.min(...times));
      times = [];
    }
  }
}

/** Paint one frame onto the canvas. On failure, shows the reason and returns false. */
async function paint(frame) {
  const style = styleVector();
  const { width, height } = frame;
  if (at("beside").checked) showSource(frame);
  try {
    if (needsStyle() && !style) {
      say(styles.count ? "All styles are at 0: raise one of them." : "Add a style picture to paint with.", "paint");
      show(frame.rgba, width, height);
      return false;
    }
    show(await painter.paint(frame, style, controls()), width, height);
    if (at("alert").dataset.of === "paint") say(""); // keep messages about other things
    return true;
  } catch (error) {
    if (error.message !== "closed") say(error.message, "paint");
    return false;
  }
}

function show(rgba, width, height) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context.putImageData(new ImageData(rgba, width, height), 0, 0);
  canvas.hidden = false;
  canvas.setAttribute("aria-label", `${picture ? "Picture" : "Camera"} painted as ${styles.title || engine.about.name}`);
  at("curtain").hidden = true;
  at("save").disabled = at("record").disabled = false;
}

function showSource({ rgba, width, height }) {
  Object.assign(at("source"), { width, height });
  const copy = new ImageData(new Uint8ClampedArray(rgba), width, height);
  at("source").getContext("2d").putImageData(copy, 0, 0);
}

const chosenSide = () => Number(at("size").value);
const needsStyle = () => Boolean(engine.about.metadata.styles.length || engine.about.metadata.code_size);
const limits = () => largest(engine.about.metadata);

// Sources

async function openPicture(file) {
  canvas.setAttribute("aria-busy", "true");
  try {
    const bitmap = await decoded(file);
    camera.stop();
    showCamera();
    picture?.close();
    picture = bitmap;
    say("");
    if (engine) {
      const frame = pixels(picture, chosenSide() || PICTURE_SIDE, limits());
      show(frame.rgba, frame.width, frame.height); // show the source until the painting is ready
    }
    await repaint();
  } catch (error) {
    say(error.message);
  }
  canvas.setAttribute("aria-busy", painting);
}

async function switchCamera(device = "") {
  try {
    await camera.start(device);
    picture?.close();
    picture = null;
    at("mirror").checked = !camera.outward;
    await showCameras(camera.device);
    say("");
    showCamera();
    live();
  } catch (error) {
    showCamera();
    say(error.message);
  }
}

function showCamera() {
  at("camera").setAttribute("aria-pressed", camera.on);
  at("mirror-field").hidden = !camera.on;
  if (!camera.on) at("device-field").hidden = true;
}

async function addStyle(file) {
  try {
    const bitmap = await decoded(file);
    const thumbnail = document.createElement("canvas");
    thumbnail.width = thumbnail.height = 144;
    const short = Math.min(bitmap.width, bitmap.height);
    const corner = [(bitmap.width - short) / 2, (bitmap.height - short) / 2];
    thumbnail.getContext("2d").drawImage(bitmap, ...corner, short, short, 0, 0, 144, 144);
    const frame = pixels(bitmap, Infinity);
    fillHidden(frame.rgba);
    const name = (file.name || "style").replace(/\.[^.]*$/, "");
    styles.choose(styles.add(name, await painter.encode(frame), thumbnail));
    bitmap.close();
  } catch (error) {
    say(error.message);
  }
}

const fileName = () => [engine.about.name, styles.title].filter(Boolean).join("-");

function save() {
  if (at("save").disabled) return;
  canvas.toBlob((blob) => download(blob, `${fileName()}.png`), "image/png");
}

function record() {
  if (recording.running) return recording.stop();
  if (at("record").disabled) return;
  const beside = at("beside").checked;
  const of = camera.on ? at("video") : canvas;
  const [width, height] = [of.videoWidth ?? of.width, of.videoHeight ?? of.height];
  const shown = beside ? [at("source"), canvas] : [canvas];
  const draw = (target, across, down) => drawRow(target, shown, across, down);
  try {
    recording.start(shown.length * width, height, draw);
  } catch (error) {
    say(error.message);
  }
}

// Event handlers

const doings = {
  camera: () => {
    if (!camera.on) return switchCamera();
    camera.stop();
    return showCamera();
  },
  open: () => at("file").click(),
  save,
  record,
  full: () => switchFullScreen(at("stage")),
};

for (const button of document.querySelectorAll("[data-do]")) {
  button.addEventListener("click", () => doings[button.dataset.do]());
}
at("controls").addEventListener("submit", (event) => event.preventDefault());
at("file").addEventListener("change", ({ target }) => {
  if (target.files[0]) openPicture(target.files[0]);
  target.value = ""; // so that the same file can be opened again
});
onStyleFiles(addStyle);
for (const id of [...KEPT, "beside"]) at(id).addEventListener("input", changed);
onKeys({
  ...sharedKeys(styles, { save, record, full: doings.full }),
  " ": doings.camera,
  o: doings.open,
  m: () => camera.on && at("mirror").click(),
});
at("device").addEventListener("change", ({ target }) => switchCamera(target.value));
at("provider").addEventListener("change", load);

addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  if (file) openPicture(file);
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const file = event.dataTransfer.files[0];
  if (!file) return;
  if (engine?.about.encoder && at("styles").contains(event.target)) addStyle(file);
  else openPicture(file);
});

// Messages

/** Show a message. of: its topic. A successful painting clears a message about "paint"; a message
 * about the engine stays until the engine is loaded. */
function say(text, of = "") {
  if (at("alert").dataset.of === "engine" && of !== "engine" && !engine && at("loading").hidden) return;
  at("alert").textContent = text;
  at("notice").hidden = !text;
  at("alert").dataset.of = of;
}

function showStatus(text = "") {
  const { provider, threads } = engine;
  const where = provider === "webgpu" ? "WebGPU" : `WASM, ${threads} thread${threads > 1 ? "s" : ""}`;
  at("status").textContent = [text, where].filter(Boolean).join(" · ");
}

function megabytes(bytes) {
  return (bytes / 1e6).toFixed(1);
}

function fromBase64(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

at("as-file").hidden = true;
at("welcome").hidden = at("hint").hidden = false;
await serveOffline();
load();
