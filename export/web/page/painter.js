// Client of the worker: sends requests and returns promises.

export class Painter {
  #worker;
  #asked = new Map(); // id -> [resolve, reject]
  #last = 0;

  /** told: progress callback (loaded, total), in bytes, while the engine loads. */
  constructor(told) {
    // A worker started from a blob inherits the page's Content-Security-Policy. Started from its
    // own URL, it would have none.
    const code = `import ${JSON.stringify(new URL("worker.js", import.meta.url).href)};`;
    const blob = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    this.#worker = new Worker(blob, { type: "module", name: "st" });
    this.#worker.onmessage = ({ data }) => {
      if ("loaded" in data) return told(data.loaded, data.total);
      const [resolve, reject] = this.#asked.get(data.id);
      this.#asked.delete(data.id);
      return "error" in data ? reject(new Error(data.error)) : resolve(data.result);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(event.message || "The page's own files could not be loaded: serve the folder anew.");
    };
    this.#worker.onmessageerror = () => this.#fail("The browser could not pass the picture on.");
  }

  /** Load the engine. wanted: "auto", "webgpu" or "wasm" -> {about, provider, threads}. */
  open(wanted) {
    return this.#ask("open", { wanted });
  }

  /** Returns the painted RGBA bytes. frame: {rgba, width, height}; transfers its buffer. */
  paint({ rgba, width, height }, style, controls) {
    return this.#ask("paint", { rgba, width, height, style, controls }, [rgba.buffer]);
  }

  /** Returns the style code of a style picture; transfers its buffer. */
  encode({ rgba, width, height }) {
    return this.#ask("encode", { rgba, width, height }, [rgba.buffer]);
  }

  close() {
    this.#worker.terminate();
    this.#fail("closed");
  }

  #ask(ask, given, transfer = []) {
    const id = ++this.#last;
    const answer = new Promise((resolve, reject) => this.#asked.set(id, [resolve, reject]));
    this.#worker.postMessage({ id, ask, ...given }, transfer);
    return answer;
  }

  #fail(why) {
    for (const [, reject] of this.#asked.values()) reject(new Error(why));
    this.#asked.clear();
  }
}
