// The page's controls. The stream itself is in stream.js.

import { ask, Refused, Stream } from "./stream.js";

const LARGEST_STYLE = 1024; // pixels; the server scales style pictures down to less
const RETRIES = [500, 1000, 2000, 4000, 8000]; // milliseconds before each new try
const $ = (id) => document.getElementById(id);

let info = null;
let camera = null; // MediaStream
let stream = null; // Stream
let wanted = false; // whether the visitor wants to be painted now
let tries = 0;
let pictures = []; // {blob, option numbers} that were sent, to send again after a lost connection

async function begin() {
  try {
    info = await ask("/info");
  } catch (error) {
    say(error.message);
    return;
  }
  info.styles.forEach((label, number) => addStyle(label.replaceAll("_", " "), number));
  $("style").value = info.begin.style;
  $("second").value = info.begin.second;
  if ($("second").value === $("style").value && info.styles.length > 1) {
    $("second").value = info.begin.style === 0 ? 1 : 0;
  }
  $("blend").value = Math.round(100 * info.begin.blend);
  $("strength").value = Math.round(100 * info.begin.strength);
  $("color").value = info.begin.color;
  $("picture-field").hidden = !info.pictures;
  showStyles();
  showValues();
}

function addStyle(label, number) {
  for (const id of ["style", "second"]) $(id).add(new Option(label, number));
}

function showStyles() {
  const many = $("style").options.length;
  $("style-field").hidden = many < 1;
  $("blend-field").hidden = many < 2 || !info.blends;
}

function showValues() {
  $("strength-shown").value = `${$("strength").value} %`;
  $("blend-shown").value = `${$("blend").value} %`;
}

function settings() {
  const values = { strength: Number($("strength").value) / 100, color: $("color").value };
  if ($("style").options.length) {
    values.style = Number($("style").value);
    values.second = Number($("second").value);
    values.blend = Number($("blend").value) / 100;
  }
  return values;
}

function changed() {
  showValues();
  stream?.set(settings());
}

function say(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}

async function openCamera(device) {
  if (!navigator.mediaDevices) {
    throw new Error("Browsers give a page the camera on localhost or over https only.");
  }
  const { width, height, rate } = info.camera;
  const which = device ? { deviceId: { exact: device } } : { facingMode: "user" };
  const size = { width: { ideal: width }, height: { ideal: height } };
  const video = { ...which, ...size, frameRate: { ideal: rate } };
  try {
    return await navigator.mediaDevices.getUserMedia({ video, audio: false });
  } catch (error) {
    const why = {
      NotAllowedError: "The camera was not allowed: allow it beside the address, then start again.",
      NotFoundError: "There is no camera here.",
      NotReadableError: "The camera is used by another program: close that one, then start again.",
    };
    throw new Error(why[error.name] || error.message, { cause: error });
  }
}

async function listCameras() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  const cameras = devices.filter(({ kind, deviceId }) => kind === "videoinput" && deviceId);
  $("device").replaceChildren(
    ...cameras.map(({ label, deviceId }, n) => new Option(label || `Camera ${n + 1}`, deviceId)),
  );
  $("device").value = camera.getVideoTracks()[0].getSettings().deviceId;
  $("device-field").hidden = cameras.length < 2;
}

function use(opened) {
  camera = opened;
  $("camera").srcObject = camera;
  const track = camera.getVideoTracks()[0];
  track.contentHint = "motion";
  track.onended = () => {
    say("The camera was taken away.");
    stop();
  };
  // A mirror is what people expect of the camera that looks at them.
  if (!touched.has("mirror")) {
    $("mirror").checked = track.getSettings().facingMode !== "environment";
    arrange();
  }
}

async function start() {
  say("");
  $("start").disabled = true;
  try {
    use(await openCamera());
    await listCameras();
  } catch (error) {
    say(error.message);
    $("start").disabled = false;
    return;
  }
  wanted = true;
  tries = 0;
  figures("connecting …");
  await connect();
}

function figures(text) {
  $("figures").textContent = text;
  $("figures").hidden = !text;
}

async function connect() {
  stream = new Stream(camera, {
    painted: (media) => {
      $("painted").srcObject = media;
      stream.time($("painted"));
    },
    measured: ({ rate, delay, width, height }) => {
      tries = 0;
      figures(`${rate.toFixed(0)} frames/s · ${delay.toFixed(0)} ms · ${width}×${height}`);
    },
    message: say,
    ended: lost,
  });
  const opened = stream;
  try {
    await opened.open();
    for (const picture of pictures) picture.number = await opened.sendPicture(picture.blob);
    opened.set(settings());
    say("");
    running(true);
  } catch (error) {
    if (error instanceof Refused && error.status !== 503) wanted = false;
    say(error.message);
    opened.close();
  }
}

// Called once for each stream, when it has ended for whatever reason.
function lost() {
  stream = null;
  figures("");
  if (wanted && tries < RETRIES.length && !document.hidden) {
    setTimeout(() => wanted && !stream && connect(), RETRIES[tries++]);
  } else if (!document.hidden) {
    stop();
  }
}

function stop() {
  wanted = false;
  stream?.close();
  camera?.getTracks().forEach((track) => track.stop());
  camera = null;
  $("camera").srcObject = $("painted").srcObject = null;
  running(false);
}

function running(yes) {
  $("curtain").hidden = yes;
  $("start").disabled = false;
  for (const id of ["snapshot", "full", "stop", "picture"]) $(id).disabled = !yes;
}

const touched = new Set();

function arrange() {
  $("stage").classList.toggle("mirrored", $("mirror").checked);
  $("stage").classList.toggle("beside", $("beside").checked);
  $("own").hidden = !$("beside").checked;
}

async function sendPicture() {
  const [file] = $("picture").files;
  if (!file || !stream) return;
  say("");
  $("picture").disabled = true;
  try {
    const blob = await smaller(file);
    const number = await stream.sendPicture(blob);
    pictures.push({ blob, number });
    addStyle(file.name, number);
    showStyles();
    $("style").value = number;
    $("blend").value = 0;
    changed();
  } catch (error) {
    say(error.message);
  }
  $("picture").disabled = false;
  $("picture").value = "";
}

async function smaller(file) {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error("That is no picture that this browser can read.");
  });
  const scale = Math.min(1, LARGEST_STYLE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(scale * bitmap.width));
  canvas.height = Math.max(1, Math.round(scale * bitmap.height));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}

function snapshot() {
  const video = $("painted");
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  const context = canvas.getContext("2d");
  if ($("mirror").checked) context.setTransform(-1, 0, 0, 1, canvas.width, 0);
  context.drawImage(video, 0, 0);
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `painted-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
}

async function fullScreen() {
  if (document.fullscreenElement) await document.exitFullscreen();
  else if ($("stage").requestFullscreen) await $("stage").requestFullscreen();
  else $("painted").webkitEnterFullscreen?.(); // Safari on a phone
}

async function changeCamera() {
  try {
    const before = camera;
    before.getVideoTracks()[0].onended = null;
    before.getTracks().forEach((track) => track.stop()); // many phones open one at a time only
    use(await openCamera($("device").value));
    await stream?.replaceCamera(camera);
  } catch (error) {
    say(error.message);
    stop();
  }
}

for (const id of ["style", "second", "blend", "strength", "color"]) {
  $(id).addEventListener("input", changed);
}
for (const id of ["mirror", "beside"]) {
  $(id).addEventListener("change", () => {
    touched.add(id);
    arrange();
  });
}
$("start").addEventListener("click", start);
$("stop").addEventListener("click", stop);
$("picture").addEventListener("change", sendPicture);
$("snapshot").addEventListener("click", snapshot);
$("full").addEventListener("click", fullScreen);
$("device").addEventListener("change", changeCamera);
$("controls").addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("pagehide", () => {
  wanted = false;
  stream?.close();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && wanted && !stream) {
    tries = 0;
    connect();
  }
});
begin();
