// Helpers that both pages use.

export const at = (id) => document.getElementById(id);

export function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

/** Download a blob as a file. */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** The time for file names, such as "2026-11-28T03-15-00". */
export function stamp() {
  return new Date().toISOString().slice(0, 19).replaceAll(":", "-");
}

/** Settings that persist across reloads, if the browser allows storage. */
export class Memory {
  constructor(key) {
    this.key = key;
  }

  read() {
    try {
      const values = JSON.parse(localStorage.getItem(this.key));
      return values && typeof values === "object" ? values : {};
    } catch {
      return {};
    }
  }

  /** Returns false if storage is full. */
  write(values) {
    try {
      localStorage.setItem(this.key, JSON.stringify(values));
      return true;
    } catch {
      return false;
    }
  }
}

export async function switchFullScreen(stage, video) {
  if (document.fullscreenElement) await document.exitFullscreen();
  else if (stage.requestFullscreen) await stage.requestFullscreen();
  else video?.webkitEnterFullscreen?.(); // Safari on iPhone
}

/** Add shortcuts. keys: {key name: function}. A focused control still receives the keys it uses. */
export function onKeys(keys) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const own = event.target.closest?.("input, select, textarea, summary, button, a") ?? null;
    const presses = own?.matches("button, summary, input[type=checkbox]");
    if (own && !presses) return;
    if (presses && [" ", "Enter"].includes(event.key)) return;
    const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

/** The shortcuts of both pages, which keys.html lists. */
export function sharedKeys(styles, { save, record, full }) {
  return {
    f: full,
    s: save,
    r: record,
    c: () => at("beside").click(),
    ArrowLeft: () => styles.step(-1),
    ArrowRight: () => styles.step(1),
    ArrowUp: () => nudge(at("strength"), 10),
    ArrowDown: () => nudge(at("strength"), -10),
  };
}

/** Connect the button "Add a style picture". add(file): adds one; called for each in turn. */
export function onStyleFiles(add) {
  at("add-style").addEventListener("click", () => at("style-file").click());
  at("style-file").addEventListener("change", async ({ target }) => {
    const files = [...target.files];
    target.value = ""; // so that the same file can be added again
    for (const file of files) {
      at("encoding").hidden = false;
      await add(file);
      at("encoding").hidden = true;
    }
  });
}

/** Change a slider by `by` and fire its input event. */
function nudge(slider, by) {
  slider.value = Number(slider.value) + by;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
}
