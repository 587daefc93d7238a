// The styles on offer and their weights: one button each, and a slider each for blends.

export class Styles {
  #names;
  #rows;
  #blend;
  #changed;
  #styles = []; // {name, vector, weight, button, slider}

  /** changed: called after every change. names, blend and rows: where buttons and sliders go. */
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

  /** vector: Float32Array, what the engine is fed for this style alone. picture: a small canvas. */
  add(name, vector, picture = null) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.style = name;
    if (picture) button.append(picture);
    button.append(shown(name));
    const style = { name, vector, weight: 0, button, slider: null };
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

  /** The mean of the styles by their weights, or null when none has any. */
  get vector() {
    const total = this.#styles.reduce((sum, style) => sum + style.weight, 0);
    if (!total) return null;
    const mean = new Float32Array(this.#styles[0].vector.length);
    for (const { vector, weight } of this.#styles) {
      if (weight) vector.forEach((value, i) => (mean[i] += (weight / total) * value));
    }
    return mean;
  }

  /** "wave" or "wave-and-udnie", for names of files. */
  get title() {
    const used = this.#styles.filter((style) => style.weight > 0);
    return used.slice(0, 3).map((style) => style.name).join("-and-");
  }

  /** The sliders are made when they are first looked at: an engine may have thousands. */
  #fill() {
    if (!this.#blend.open) return;
    for (const style of this.#styles.filter((one) => !one.slider)) {
      const label = document.createElement("label");
      label.className = "slider";
      const output = document.createElement("output");
      const slider = document.createElement("input");
      slider.type = "range";
      slider.id = label.htmlFor = `weight-${this.#styles.indexOf(style)}`;
      slider.min = 0;
      slider.max = 100;
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

function shown(name) {
  return name.replaceAll("_", " ");
}
