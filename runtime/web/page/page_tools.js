// Small things that both pages need.

export const at = (id) => document.getElementById(id);

export function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

/** Hand a file to the visitor. */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** "2026-11-28T03-15-00", for names of files. */
export function stamp() {
  return new Date().toISOString().slice(0, 19).replaceAll(":", "-");
}

/** Settings that outlive a reload; a browser that forbids them forgets. */
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

  /** False when there is no room for it. */
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
  else video?.webkitEnterFullscreen?.(); // Safari on a phone
}

/** keys: {name of a key: function}. Keys that a focused control needs for itself are left to it. */
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

/** Move a slider by `by`, as a hand would. */
export function nudge(slider, by) {
  slider.value = Number(slider.value) + by;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
}
