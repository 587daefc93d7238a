// The page: from its controls to paintings.

import { Camera } from "./camera.js";
import { Painter } from "./painter.js";
import { decoded, fillHidden, pixels } from "./picture.js";
import { largest } from "./pixels.js";
import { FIRST_SIDE, PICTURE_SIDE, nextSide } from "./size.js";
import { Styles } from "./styles.js";

const at = (id) => document.getElementById(id);
const canvas = at("canvas");
const context = canvas.getContext("2d");
const camera = new Camera(at("video"), () => {
  showCamera();
  say("The camera went away.");
});
const styles = new Styles({ names: at("names"), blend: at("blend"), rows: at("weights") }, repaint);

let painter;
let engine; // what the painter said of itself: {about, provider, threads}
let picture = null; // the bitmap being painted; null while the camera is
let side; // of the camera's frames under "Automatic"

// Loading

async function load() {
  painter?.close();
  engine = null;
  say("");
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
    if (mine === painter) say(error.message);
  }
  if (mine === painter) at("loading").hidden = true;
}

/** Show what engine.json says; once. */
function introduce() {
  const { about } = engine;
  const { metadata } = about;
  document.title = at("name").textContent = about.name;
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
  if (styles.count) return;
  metadata.styles.forEach((name, i) => {
    styles.add(name, Float32Array.from(metadata.styles, (_, j) => Number(i === j)));
  });
  for (const { name, values } of about.codes) styles.add(name, fromBase64(values));
  if (styles.count) styles.choose();
}

// Painting

const SLOWEST = 300; // milliseconds a frame that soon call for a smaller size

let painting = false; // one at a time
let again = false; // and once more, since something changed meanwhile

/** Paint the picture anew; the camera's frames take every change by themselves. */
async function repaint() {
  if (!picture || !engine) return;
  if (painting) {
    again = true;
    return;
  }
  painting = true;
  canvas.setAttribute("aria-busy", "true");
  try {
    do {
      again = false;
      const frame = pixels(picture, chosenSide() || PICTURE_SIDE, limits());
      fillHidden(frame.rgba);
      const began = performance.now();
      if (await paint(frame)) {
        showStatus(`${frame.width}×${frame.height} in ${Math.round(performance.now() - began)} ms`);
      }
    } while (again && picture && engine);
  } catch (error) {
    say(error.message);
  }
  painting = false;
  canvas.setAttribute("aria-busy", "false");
}

let turns = 0; // of the camera: only the last goes on

/** Paint the camera until it is off. */
async function live() {
  const turn = ++turns;
  const shown = []; // when the last paintings were shown
  let times = []; // milliseconds of this size's
  while (camera.on && turn === turns) {
    await camera.frame();
    if (!camera.on || turn !== turns) break;
    if (!engine) continue;
    const began = performance.now();
    const frame = pixels(at("video"), chosenSide() || side, limits(), at("mirror").checked);
    if (!(await paint(frame))) {
      await new Promise((resolve) => setTimeout(resolve, 300)); // until something changes
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
    // The first of a size are slow: memory is sought, and WebGPU compiles.
    if (times.length >= 12 || (times.length >= 3 && now - began > SLOWEST)) {
      if (!chosenSide()) side = nextSide(side, Math.min(...times));
      times = [];
    }
  }
}

/** Paint one frame onto the canvas; false when it could not be done, and the page says why. */
async function paint(frame) {
  const style = styles.vector;
  const { width, height } = frame;
  try {
    if (needsStyle() && !style) {
      say(styles.count ? "Give one style more than 0." : "Add a style picture to paint with.", "paint");
      show(frame.rgba, width, height);
      return false;
    }
    show(await painter.paint(frame, style, at("strength").value / 100), width, height);
    if (at("alert").dataset.of === "paint") say(""); // not what was said of something else
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
  at("welcome").hidden = true;
  at("save").disabled = false;
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
    const devices = await camera.devices();
    at("device").replaceChildren(...devices.map((d) => new Option(d.label, d.id)));
    at("device").value = camera.device;
    at("which-camera").hidden = devices.length < 2;
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
  at("camera-settings").hidden = !camera.on;
}

async function addStyle(file) {
  at("loading").hidden = false; // the encoder is loaded for the first
  try {
    const bitmap = await decoded(file);
    const thumbnail = document.createElement("canvas");
    thumbnail.width = thumbnail.height = 64;
    thumbnail.getContext("2d").drawImage(bitmap, 0, 0, 64, 64);
    const frame = pixels(bitmap, Infinity);
    fillHidden(frame.rgba);
    const name = (file.name || "style").replace(/\.[^.]*$/, "");
    styles.choose(styles.add(name, await painter.encode(frame), thumbnail));
    bitmap.close();
  } catch (error) {
    say(error.message);
  }
  at("loading").hidden = engine !== null;
}

function save() {
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${[engine.about.name, styles.title].filter(Boolean).join("-")}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }, "image/png");
}

// What the visitor does

const doings = {
  camera: () => {
    if (!camera.on) return switchCamera();
    camera.stop();
    return showCamera();
  },
  open: () => at("file").click(),
  save,
  "add-style": () => at("style-file").click(),
};

for (const button of document.querySelectorAll("[data-do]")) {
  button.addEventListener("click", () => doings[button.dataset.do]());
}
at("controls").addEventListener("submit", (event) => event.preventDefault());
at("file").addEventListener("change", ({ target }) => {
  if (target.files[0]) openPicture(target.files[0]);
  target.value = ""; // so that the same file may be opened again
});
at("style-file").addEventListener("change", async ({ target }) => {
  const files = [...target.files];
  target.value = "";
  for (const file of files) await addStyle(file);
});
at("strength").addEventListener("input", ({ target }) => {
  at("strength-shown").value = `${target.value} %`;
  repaint();
});
at("size").addEventListener("change", repaint);
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

// What the visitor is told

/** of: what it is about, so that its success may take it back. */
function say(text, of = "") {
  at("alert").textContent = text;
  at("alert").hidden = !text;
  at("alert").dataset.of = of;
}

function showStatus(text = "") {
  const { provider, threads } = engine;
  const where = provider === "webgpu" ? "WebGPU" : `WASM, ${threads} thread${threads > 1 ? "s" : ""}`;
  at("status").textContent = [text, where].filter(Boolean).join(" · ");
}

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function megabytes(bytes) {
  return (bytes / 1e6).toFixed(1);
}

function fromBase64(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

load();
