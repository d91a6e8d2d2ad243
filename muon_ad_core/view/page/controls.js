// SPDX-License-Identifier: Apache-2.0
// The controls. They show the nodes' parameters, whoever set them, and ask the node for every change.

const NO_STYLE = "";

export class Controls {
  #connection;
  #connected = false;
  #parameters = { style_transfer: null, detector: null };
  #levels = [];
  #styles = { names: [], painted: [], origins: {} };
  #pending = new Map(); // node.parameter -> the value to ask for once the request under way is answered

  constructor(connection) {
    this.#connection = connection;
    for (const input of document.querySelectorAll("[data-parameter]")) {
      const event = input.type === "range" ? "input" : "change";
      input.addEventListener(event, () => this.#change(input));
    }
    const picture = document.getElementById("picture");
    picture.addEventListener("change", () => {
      if (picture.files.length) this.#upload(picture.files[0]);
      picture.value = "";
    });
    this.#acceptDrops(document.getElementById("style-controls"));
    this.#enable();
  }

  setConnected(connected) {
    this.#connected = connected;
    this.#enable();
  }

  showParameters(node, parameters) {
    this.#parameters[node] = Object.keys(parameters).length ? parameters : null;
    for (const input of document.querySelectorAll(`[data-node="${node}"]`)) this.#showValue(input);
    if (node === "style_transfer") {
      this.#check("styles", parameters.style?.value);
      this.#check("level", parameters.level?.value);
    }
    this.#enable();
  }

  showLevels(levels) {
    if (levels.join() === this.#levels.join()) return;
    this.#levels = levels;
    const segments = ["auto", ...levels].map((level) => {
      const label = document.createElement("label");
      label.append(this.#radio("level", level), element("span", "", level));
      return label;
    });
    document.getElementById("level").replaceChildren(...segments);
    this.#check("level", this.#parameters.style_transfer?.level?.value);
  }

  showStyles(styles) {
    this.#styles = styles;
    document.getElementById("styles").replaceChildren(...styles.names.map((name) => this.#tile(name)));
    const title = (name) => withoutBrackets(styles.origins[name]?.work) || readable(name);
    const options = [NO_STYLE, ...styles.names].map((name) => new Option(name ? title(name) : "nothing", name));
    const second = document.getElementById("style_b");
    second.replaceChildren(...options);
    this.#showValue(second);
    this.#check("styles", this.#parameters.style_transfer?.style?.value);
  }

  #tile(name) {
    const tile = element("label", "tile");
    const { work = "", artist = "" } = this.#styles.origins[name] ?? {};
    tile.title = [artist, work].filter(Boolean).join(", ") || readable(name);
    const thumb = element("span", "thumb");
    if (this.#styles.painted.includes(name)) {
      const image = element("img");
      Object.assign(image, { src: `/thumbnails/${encodeURIComponent(name)}`, alt: "", loading: "lazy" });
      thumb.append(image);
    } else {
      thumb.classList.add("none");
      thumb.append(initials(name));
    }
    tile.append(this.#radio("style", name), thumb, element("span", "name", withoutBrackets(work) || readable(name)));
    if (artist) tile.append(element("span", "artist", withoutBrackets(artist)));
    return tile;
  }

  #radio(parameter, value) {
    const radio = element("input");
    Object.assign(radio, { type: "radio", name: parameter, value });
    radio.addEventListener("change", () => this.#ask("style_transfer", parameter, value));
    return radio;
  }

  #check(group, value) {
    for (const radio of document.getElementById(group).querySelectorAll("input")) radio.checked = radio.value === value;
  }

  /** Show a parameter's value, unless the user is just moving its control. */
  #showValue(input) {
    const { node, parameter } = input.dataset;
    const known = this.#parameters[node]?.[parameter];
    if (!known || this.#pending.has(`${node}.${parameter}`)) return;
    if (input.type === "range" && known.range) {
      [input.min, input.max, input.step] = [...known.range.map(String), "0.01"];
    }
    input.title = known.description;
    input.value = known.value;
    this.#showNumber(input);
    if (parameter === "style_b") document.getElementById("blend").disabled = known.value === NO_STYLE;
  }

  #showNumber(input) {
    const output = document.querySelector(`output[for="${input.id}"]`);
    if (!output) return;
    output.textContent = `${Math.round(100 * input.value)} %`;
    input.style.setProperty("--fill", `${(100 * (input.value - input.min)) / (input.max - input.min)}%`);
  }

  #change(input) {
    this.#showNumber(input);
    const value = input.type === "range" ? Number(input.value) : input.value;
    this.#ask(input.dataset.node, input.dataset.parameter, value);
  }

  /** One request at a time for each parameter; of what comes meanwhile, the newest is asked for next. */
  async #ask(node, parameter, value) {
    const key = `${node}.${parameter}`;
    const busy = this.#pending.has(key);
    this.#pending.set(key, value);
    if (busy) return;
    let asked, answer, before;
    do {
      asked = this.#pending.get(key);
      before = this.#parameters[node]?.[parameter]?.value;
      answer = await this.#connection.setParameters(node, { [parameter]: asked });
    } while (answer.success && this.#pending.get(key) !== asked);
    this.#pending.delete(key);
    if (!answer.success) toast(answer.message, true);
    // The node tells of the change by itself, before its answer or after. If it has not yet, what is shown stays.
    const known = this.#parameters[node];
    if (known && (!answer.success || known[parameter].value !== before)) this.showParameters(node, known);
  }

  async #upload(file) {
    const upload = document.getElementById("upload");
    const text = document.getElementById("upload-text");
    upload.classList.add("busy");
    text.textContent = `Making a style of ${file.name} …`;
    const answer = await this.#connection.makeStyle(file);
    upload.classList.remove("busy");
    text.textContent = "Make a style of a picture";
    toast(answer.success ? `${file.name} is a style now.` : answer.message, !answer.success);
  }

  #acceptDrops(area) {
    area.addEventListener("dragover", (event) => {
      event.preventDefault();
      area.classList.add("dropping");
    });
    area.addEventListener("dragleave", () => area.classList.remove("dropping"));
    area.addEventListener("drop", (event) => {
      event.preventDefault();
      area.classList.remove("dropping");
      if (event.dataTransfer.files.length && !area.disabled) this.#upload(event.dataTransfer.files[0]);
    });
  }

  #enable() {
    document.getElementById("style-controls").disabled = !this.#connected || !this.#parameters.style_transfer;
    document.getElementById("detection-controls").disabled = !this.#connected || !this.#parameters.detector;
  }
}

/** A short word about what has just happened. */
export function toast(text, bad = false) {
  const note = element("p", bad ? "toast bad" : "toast", text);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), bad ? 8000 : 4000);
}

function element(tag, className = "", text = "") {
  return Object.assign(document.createElement(tag), { className, textContent: text });
}

/** A title or artist as an engine's manifest gives it, without years and the like at its end. */
function withoutBrackets(text = "") {
  return text.replace(/\s*\([^)]*\)\s*$/, "").replace(/,\s*(c\. ?)?\d{4}[^,]*$/, "");
}

function readable(name) {
  const words = name.replaceAll("_", " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function initials(name) {
  return name.split("_").map((word) => word.charAt(0).toUpperCase()).slice(0, 2).join("");
}
