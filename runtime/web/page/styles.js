// The list of styles: a button for each, and a slider for its weight in a blend.

export class Styles {
  #names;
  #rows;
  #blend;
  #changed;
  #styles = []; // {name, value, weight, button, slider}

  /** changed: called after every change. names, blend, rows: parents of the buttons and sliders. */
  constructor({ names, blend, rows }, changed) {
    this.#names = names;
    this.#blend = blend;
    this.#rows = rows;
    this.#changed = changed;
    blend.addEventListener("toggle", () => this.#fill());
  }

  get count() {
    return this.#styles.length;
  }

  /** value: the page's own identifier of the style. picture: a preview element, or null. */
  add(name, value, picture = null) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.style = name;
    if (picture) button.append(picture);
    const label = document.createElement("span");
    label.textContent = shown(name);
    button.append(label);
    const style = { name, value, weight: 0, button, slider: null };
    button.addEventListener("click", () => this.choose(style));
    this.#names.append(button);
    this.#styles.push(style);
    this.#fill();
    return style;
  }

  choose(style = this.#styles[0]) {
    for (const other of this.#styles) other.weight = other === style ? 1 : 0;
    this.#show();
    this.#changed();
  }

  /** Select the next style (1) or the previous one (-1), without a blend. */
  step(by) {
    if (!this.count) return;
    const at = this.#styles.findIndex((style) => style.weight > 0);
    this.choose(this.#styles[(at + by + this.count) % this.count]);
  }

  /** [[value, weight]] of the styles in use. */
  get weights() {
    return this.#styles.filter((s) => s.weight > 0).map((s) => [s.value, s.weight]);
  }

  /** {name: weight} of the styles in use, for saving. */
  get named() {
    return Object.fromEntries(this.#styles.filter((s) => s.weight > 0).map((s) => [s.name, s.weight]));
  }

  /** Set weights by name. Returns false if none of these styles exists. */
  take(named) {
    if (!this.#styles.some((style) => named[style.name] > 0)) return false;
    for (const style of this.#styles) {
      style.weight = Math.min(1, Math.max(0, Number(named[style.name]) || 0));
    }
    this.#show();
    this.#changed();
    return true;
  }

  /** The styles for file names: "wave" or "wave-and-udnie". */
  get title() {
    const used = this.#styles.filter((style) => style.weight > 0);
    return used.slice(0, 3).map((style) => style.name).join("-and-");
  }

  /** Create the sliders when they are first shown: an engine may have thousands of styles. */
  #fill() {
    if (!this.#blend.open) return;
    for (const style of this.#styles.filter((one) => !one.slider)) {
      const label = document.createElement("label");
      label.className = "slider";
      const output = document.createElement("output");
      const slider = document.createElement("input");
      Object.assign(slider, { type: "range", min: 0, max: 100 });
      slider.id = label.htmlFor = `weight-${this.#styles.indexOf(style)}`;
      slider.dataset.weight = style.name;
      label.append(shown(style.name), output, slider);
      this.#rows.append(label);
      slider.addEventListener("input", () => {
        style.weight = slider.valueAsNumber / 100;
        this.#show();
        this.#changed();
      });
      Object.assign(style, { slider, output });
    }
    this.#show();
  }

  #show() {
    for (const { button, slider, output, weight } of this.#styles) {
      button.setAttribute("aria-pressed", weight > 0);
      if (!slider) continue;
      slider.value = Math.round(weight * 100);
      output.value = `${Math.round(weight * 100)} %`;
    }
  }
}

export function shown(name) {
  return name.replaceAll("_", " ");
}
