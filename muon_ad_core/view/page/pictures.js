// SPDX-License-Identifier: Apache-2.0
// The four pictures. Detections are drawn here, over the camera's picture that they were made of.

const SILENCE = 2500; // ms without a picture after which a pane says so
const KEPT = 10; // pictures of the camera that wait for their detections
const GOLDEN = 0.618034; // hues of classes, so that neighbours differ

/** What must be watched for a pane to be shown. */
const NEEDS = { color: ["color"], stylized: ["stylized"], detections: ["color", "detections"], depth: ["depth"] };
const TIMINGS = ["style_timing", "detector_timing"];
const ADVICE = {
  color: ["No camera", "Nothing publishes", "Is the camera plugged in and its node running?"],
  stylized: ["No style transfer", "Nothing publishes", "Is the node style_transfer running?"],
  depth: ["No depth", "Nothing publishes", "This camera may have none."],
};

class Pane {
  constructor(figure, changed) {
    this.name = figure.dataset.pane;
    this.figure = figure;
    this.canvas = figure.querySelector("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.facts = figure.querySelector(".facts");
    this.empty = figure.querySelector(".empty");
    this.visible = true;
    this.lastAt = 0;
    this.times = [];
    new IntersectionObserver(([entry]) => {
      this.visible = entry.isIntersecting;
      changed();
    }).observe(figure);
  }

  draw(bitmap) {
    if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height) {
      this.canvas.width = bitmap.width;
      this.canvas.height = bitmap.height;
      this.canvas.style.aspectRatio = `${bitmap.width} / ${bitmap.height}`;
    }
    this.context.drawImage(bitmap, 0, 0);
    const now = performance.now();
    this.lastAt = now;
    this.times = [...this.times.filter((time) => now - time < 2000), now];
    this.figure.classList.remove("stale");
  }

  get rate() {
    const span = this.times.at(-1) - this.times[0];
    return this.times.length > 2 ? ((this.times.length - 1) / span) * 1000 : 0;
  }

  say(title, text = "", more = "") {
    this.figure.classList.add("stale");
    const heading = Object.assign(document.createElement("b"), { textContent: title });
    const rest = Object.assign(document.createElement("span"), { textContent: [text, more].filter(Boolean).join(". ") });
    this.empty.replaceChildren(heading, rest);
    this.facts.textContent = "";
  }
}

export class Pictures {
  #connection;
  #panes = {};
  #connected = false;
  #state = null;
  #faults = {};
  #recent = []; // {stamp, bitmap} of the camera, newest last
  #detections = { boxes: [] };
  #detectedAt = 0;
  #watched = "";

  constructor(connection) {
    this.#connection = connection;
    for (const figure of document.querySelectorAll(".pane")) {
      const pane = new Pane(figure, () => this.#watch());
      this.#panes[pane.name] = pane;
      pane.say("Waiting for a picture");
      figure.querySelector(".enlarge").addEventListener("click", () => this.#enlarge(pane.name));
    }
    const remembered = localStorage.getItem("large");
    const phone = matchMedia("(max-width: 640px)").matches;
    if (remembered || phone) this.#enlarge(remembered || "stylized");
    document.addEventListener("visibilitychange", () => this.#watch());
    setInterval(() => this.#lookAround(), 500);
  }

  setConnected(connected) {
    this.#connected = connected;
    this.#watch();
    this.#lookAround();
  }

  /** Once a second: which topics there are. */
  describe(state) {
    this.#state = state;
  }

  async show(about, blob) {
    try {
      const bitmap = await createImageBitmap(blob);
      delete this.#faults[about.stream];
      this.#draw(about, bitmap);
    } finally {
      this.#connection.shown(about.stream);
    }
  }

  showDetections(message) {
    this.#detections = message;
    this.#detectedAt = performance.now();
    this.#drawDetections();
  }

  showFault({ stream, message }) {
    this.#faults[stream] = message;
  }

  #draw(about, bitmap) {
    const pane = this.#panes[about.stream];
    pane.draw(bitmap);
    pane.range = about.near === undefined ? "" : `${about.near.toFixed(1)} to ${about.far.toFixed(1)} m`;
    if (about.stream !== "color") return bitmap.close();
    this.#recent.push({ ...about, bitmap });
    if (this.#recent.length > KEPT) this.#recent.shift().bitmap.close();
  }

  /** The boxes over the camera's picture nearest to their stamp. */
  #drawDetections() {
    const { stamp, boxes } = this.#detections;
    const distance = (picture) => Math.abs(picture.stamp - stamp);
    const picture = this.#recent.reduce((best, one) => (!best || distance(one) < distance(best) ? one : best), null);
    if (!picture) return;
    const pane = this.#panes.detections;
    pane.draw(picture.bitmap);
    const context = pane.context;
    const scale = picture.bitmap.width / picture.width;
    const unit = Math.max(1, picture.bitmap.width / 480);
    context.lineWidth = 2 * unit;
    context.font = `600 ${13 * unit}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    for (const [x, y, width, height, name, score] of [...boxes].reverse()) {
      const colour = `hsl(${colourOf(name)} 85% 62%)`;
      context.strokeStyle = colour;
      context.strokeRect(x * scale, y * scale, width * scale, height * scale);
      const text = `${name} ${Math.round(100 * score)}`;
      const [left, top] = [x * scale - unit, Math.max(0, y * scale - 19 * unit)];
      context.fillStyle = colour;
      context.fillRect(left, top, context.measureText(text).width + 10 * unit, 19 * unit);
      context.fillStyle = "#10151b";
      context.fillText(text, left + 5 * unit, top + 10 * unit);
    }
  }

  #enlarge(name) {
    const before = Object.values(this.#panes).find((pane) => pane.figure.classList.contains("large"))?.name;
    const chosen = before === name ? null : name;
    for (const pane of Object.values(this.#panes)) {
      pane.figure.classList.toggle("large", pane.name === chosen);
      pane.figure.querySelector(".enlarge").setAttribute("aria-pressed", String(pane.name === chosen));
    }
    if (chosen) localStorage.setItem("large", chosen);
    else localStorage.removeItem("large");
  }

  /** Tell the server what is in sight. */
  #watch() {
    const visible = document.hidden ? [] : Object.values(this.#panes).filter((pane) => pane.visible);
    const streams = [...new Set(visible.flatMap((pane) => NEEDS[pane.name]))].sort();
    const watched = document.hidden ? [] : [...streams, ...TIMINGS];
    if (watched.join() === this.#watched) return;
    this.#watched = watched.join();
    this.#connection.watch(watched);
  }

  #lookAround() {
    const now = performance.now();
    for (const pane of Object.values(this.#panes)) {
      if (!this.#connected) pane.say("Connection lost", "Trying again");
      else if (pane.visible && now - pane.lastAt > SILENCE) this.#explain(pane, now);
      else if (pane.lastAt) pane.facts.textContent = [pane.range, this.#count(pane), `${pane.rate.toFixed(0)} fps`]
        .filter(Boolean).join(" · ");
    }
  }

  #count(pane) {
    if (pane.name !== "detections") return "";
    const count = this.#detections.boxes.length;
    return count === 1 ? "1 object" : `${count} objects`;
  }

  #explain(pane, now) {
    if (pane.name === "detections") {
      const noCamera = now - this.#panes.color.lastAt > SILENCE;
      if (noCamera) return pane.say("No detections", "There is no camera picture to detect in");
      return pane.say("No detections", "Is the node detector running?");
    }
    const seconds = Math.round((now - pane.lastAt) / 1000);
    const [title, nobody, advice] = ADVICE[pane.name];
    if (this.#faults[pane.name]) pane.say("Unusable pictures", this.#faults[pane.name]);
    else if (!this.#state) pane.say("Waiting for a picture");
    else if (!this.#state.publishers[pane.name]) pane.say(title, `${nobody} ${this.#state.topics[pane.name]}`, advice);
    else if (pane.lastAt) pane.say(`No picture for ${seconds} s`, `${this.#state.topics[pane.name]} is silent`);
    else pane.say("Waiting for a picture", `Nothing came on ${this.#state.topics[pane.name]} yet`, advice);
  }
}

function colourOf(name) {
  let number = 0;
  for (const letter of name) number = (31 * number + letter.codePointAt(0)) % 9973;
  return Math.round(((number * GOLDEN) % 1) * 360);
}
