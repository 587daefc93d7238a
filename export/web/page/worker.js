// Runs the engine in a worker thread. A request is {id, ask, ...}; the response is {id, result} or
// {id, error}. While the engine loads, the worker posts {loaded, total}, in bytes.

import { recolor } from "./color.js";
import { paintingSize, restoreSize } from "./paint_size.js";
import { asStyle, crop, fittedSize, fromCanvas, intoCanvas, mix, pad, resized } from "./pixels.js";

const BUILDS = {
  webgpu: ["ort.webgpu.min.js", "ort-wasm-simd-threaded.asyncify"],
  wasm: ["ort.wasm.min.js", "ort-wasm-simd-threaded"],
};
const ALLOWED = 8; // of 255: above differences due to summation order, below those of a driver bug
const HERE = new URL(".", import.meta.url);

let ort; // the loaded build of onnxruntime-web
let about; // engine.json
let provider; // the execution provider in use
let frames; // the session of the engine
let encoder; // the session of the style encoder, created on first use
let busy = Promise.resolve(); // a session runs one picture at a time

const answers = { open, paint, encode };

self.onmessage = ({ data: { id, ask, ...given } }) => {
  busy = busy.then(async () => {
    try {
      const [result, transfer] = await answers[ask](given);
      self.postMessage({ id, result }, transfer ?? []);
    } catch (error) {
      self.postMessage({ id, error: plain(error) });
    }
  });
};

/** Load onnxruntime-web and the engine. wanted: "auto", "webgpu" or "wasm". */
async function open({ wanted }) {
  about = JSON.parse(new TextDecoder().decode(await fetched("engine.json")));
  if (wanted !== "wasm" && (await hasGpu(wanted))) {
    try {
      return [await start("webgpu")];
    } catch (error) {
      if (wanted === "webgpu") throw error;
      console.warn("WebGPU failed, painting on the processor instead:", error);
    }
  } else if (wanted === "webgpu") {
    throw new Error("This browser offers no WebGPU here.");
  }
  return [await start("wasm")];
}

/** Whether WebGPU runs on a real GPU: software WebGPU is slower than WASM. */
async function hasGpu(wanted) {
  try {
    const adapter = await navigator.gpu?.requestAdapter();
    return Boolean(adapter) && (wanted === "webgpu" || !adapter.info?.isFallbackAdapter);
  } catch {
    return false;
  }
}

async function start(name) {
  const [library, binary] = BUILDS[name];
  ort = await import(new URL(`ort/${library}`, HERE));
  ort.env.logLevel = "error";
  // Without cross-origin isolation there is no shared memory, and so no threads.
  const threads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 8) : 1;
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.wasmPaths = {
    mjs: new URL(`ort/${binary}.js`, HERE).href,
    wasm: new URL(`ort/${binary}.wasm`, HERE).href,
  };
  ort.env.wasm.wasmBinary = (await fetched(`ort/${binary}.wasm`, true)).buffer;
  provider = name;
  frames = await session(about.engine, about.on_processor);
  if (name === "webgpu") await compare();
  return { about, provider, threads };
}

/** onProcessor: names of nodes that need more buffers than WebGPU guarantees. */
async function session(file, onProcessor) {
  const executionProviders =
    provider === "webgpu" ? [{ name: "webgpu", forceCpuNodeNames: onProcessor }] : ["wasm"];
  return ort.InferenceSession.create(await fetched(file, true), { executionProviders, logSeverityLevel: 3 });
}

/** Throws if the trial picture differs from the result at export: graphics drivers have bugs. */
async function compare() {
  const { metadata, trial } = about;
  const { width, height } = trial;
  const rgba = new Uint8ClampedArray(width * height * 4);
  for (let i = 0, to = 0; to < rgba.length; i++) {
    rgba[to++] = ((Math.floor(i / 3) % width) * 3 + Math.floor(i / (3 * width)) * 2 + (i % 3) * 40 + (i % 7) * 4) % 256;
    if (i % 3 === 2) rgba[to++] = 255;
  }
  const style = metadata.code_size
    ? new Float32Array(metadata.code_size).fill(0.5)
    : Float32Array.from(metadata.styles, (_, i) => Number(i === 0));
  const [painted] = await paint({ rgba, width, height, style, controls: { strength: 1 } });
  const expected = Uint8Array.from(atob(trial.painted), (letter) => letter.charCodeAt(0));
  let worst = 0;
  expected.forEach((value, i) => {
    worst = Math.max(worst, Math.abs(value - painted[Math.floor(i / 3) * 4 + (i % 3)]));
  });
  if (worst > ALLOWED) throw new Error(`This graphics card paints wrong, by ${worst} of 255.`);
}

/** Load a file of the page as bytes. */
async function fetched(file, tell = false) {
  const digest = about?.digests[file];
  const answer = await fetch(new URL(digest ? `${file}?v=${digest}` : file, HERE)).catch(() => null);
  if (!answer) throw new Error(`${file} could not be loaded: is the server still there?`);
  if (!answer.ok) throw new Error(`${file} is missing from this page's folder.`);
  if (!tell || !answer.body) return new Uint8Array(await answer.arrayBuffer());
  const total = about.bytes[file];
  const data = new Uint8Array(total);
  const reader = answer.body.getReader();
  let loaded = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (loaded + value.length > total) break;
    data.set(value, loaded);
    loaded += value.length;
    self.postMessage({ loaded, total });
  }
  if (loaded !== total) throw new Error(`${file} is damaged: export the page anew.`);
  return data;
}

/**
 * Paint RGBA bytes in place. style: style weights or a style code; null for a single-style engine.
 * controls: {strength, color, scale, paintSize}, as in st.runtime.Stylizer.
 */
async function paint({ rgba, width, height, style, controls }) {
  const { strength, color = "style", scale = 1, paintSize = 0 } = controls;
  const { metadata } = about;
  const own = metadata.inputs.includes("strength"); // the engine applies the strength itself
  if (own || strength > 0) {
    const source = fromCanvas(rgba, width, height);
    const small = resized(source, ...paintingSize(height, width, paintSize, scale));
    let painted = await run(small, style, strength);
    if (small !== source) painted = restoreSize(painted, small, source);
    recolor(painted, source, color);
    if (!own && strength < 1) mix(source, painted, strength);
    intoCanvas(painted, rgba, width, height);
  }
  return [rgba, [rgba.buffer]];
}

/** Run a picture through the engine, padded to an accepted size. */
async function run(picture, style, strength) {
  const { metadata } = about;
  const { height, width } = picture;
  const content = pad(picture, ...fittedSize(metadata, height, width));
  const feeds = { content: tensor(content) };
  for (const name of ["weights", "code"]) {
    if (metadata.inputs.includes(name)) {
      feeds[name] = new ort.Tensor("float32", style, [1, style.length]);
    }
  }
  if (metadata.inputs.includes("strength")) {
    feeds.strength = new ort.Tensor("float32", [strength], [1]);
  }
  const { stylized } = await frames.run(feeds);
  const painted = crop({ ...content, data: stylized.data }, height, width);
  stylized.dispose();
  return painted;
}

/** The style code of a style picture, given as RGBA bytes. */
async function encode({ rgba, width, height }) {
  encoder ??= await session(about.encoder, about.encoder_on_processor);
  const style = asStyle(fromCanvas(rgba, width, height), about.encoder_metadata);
  const { code } = await encoder.run({ style: tensor(style) });
  return [code.data];
}

function tensor(picture) {
  return new ort.Tensor("uint8", picture.data, [1, picture.height, picture.width, 3]);
}

function plain(error) {
  const text = String(error?.message ?? error);
  // WebAssembly reports this with many messages, or only as the number of a C++ exception.
  if (/alloc|memory|out of bounds|^\d+$/i.test(text)) {
    return "Out of memory: choose a smaller size.";
  }
  return text;
}
