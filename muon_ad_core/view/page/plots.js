// SPDX-License-Identifier: Apache-2.0
// Plots of the last minute, drawn a few times a second while they are in sight.

const SPAN = 60; // seconds
const PERIOD = 250; // ms between drawings
const LEFT = 40;
const BOTTOM = 18;

class Plot {
  constructor(canvas) {
    this.canvas = canvas;
    this.series = {}; // name -> [[seconds, value], ...]
    this.visible = true;
    new IntersectionObserver(([entry]) => (this.visible = entry.isIntersecting)).observe(canvas);
    setInterval(() => {
      if (this.visible && !document.hidden) this.draw();
    }, PERIOD);
  }

  put(name, points) {
    const series = (this.series[name] ??= []);
    series.push(...points);
    const oldest = now() - SPAN - 1;
    while (series.length && series[0][0] < oldest) series.shift();
  }

  /** The largest value of the scale. */
  top() {
    return 1;
  }

  draw() {
    const ratio = devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const step = roundStep(this.top() / 3.2);
    const top = step * Math.ceil(this.top() / step);
    const end = now();
    this.x = (seconds) => LEFT + (width - LEFT - 4) * (1 - (end - seconds) / SPAN);
    this.y = (value) => 6 + (height - BOTTOM - 6) * (1 - Math.min(value, top) / top);
    this.#axes(context, width, height, step, top);
    context.save();
    context.beginPath();
    context.rect(LEFT, 0, width - LEFT, height);
    context.clip();
    this.drawSeries(context, width);
    context.restore();
  }

  #axes(context, width, height, step, top) {
    context.strokeStyle = colour("--rule");
    context.fillStyle = colour("--faint");
    context.font = "12px system-ui, sans-serif";
    context.lineWidth = 1;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (let value = 0; value <= top + step / 2; value += step) {
      const y = Math.round(this.y(value)) + 0.5;
      context.beginPath();
      context.moveTo(LEFT, y);
      context.lineTo(width, y);
      context.stroke();
      context.fillText(String(value), LEFT - 7, y);
    }
    context.textBaseline = "alphabetic";
    context.textAlign = "left";
    context.fillText("60 s ago", LEFT, height - 3);
    context.textAlign = "right";
    context.fillText("now", width - 2, height - 3);
  }

  line(context, points, role) {
    context.strokeStyle = colour(role);
    context.lineWidth = 2;
    context.lineJoin = "round";
    context.beginPath();
    let before = null;
    for (const [seconds, value] of points) {
      const gap = before === null || seconds - before > 3;
      context[gap ? "moveTo" : "lineTo"](this.x(seconds), this.y(value));
      before = seconds;
    }
    context.stroke();
  }
}

/** Every frame a dot: an outlier stays visible as one. */
export class LatencyPlot extends Plot {
  #deadline = 0;

  setDeadline(milliseconds) {
    this.#deadline = milliseconds ?? this.#deadline;
  }

  add(role, frames) {
    const known = frames.filter(([, total]) => total !== null);
    this.put(role, known.map(([, total], index) => [now() - (known.length - 1 - index) / 30, total]));
  }

  top() {
    const values = Object.values(this.series).flat().map(([, value]) => value).sort((a, b) => a - b);
    const high = values.length ? values[Math.floor(0.995 * (values.length - 1))] : 0;
    return Math.max(1.15 * this.#deadline, 1.1 * high, 10);
  }

  drawSeries(context, width) {
    for (const [role, points] of Object.entries(this.series)) {
      context.fillStyle = colour(`--${role}`);
      context.globalAlpha = 0.75;
      for (const [seconds, value] of points) context.fillRect(this.x(seconds) - 1, this.y(value) - 1, 2.4, 2.4);
    }
    context.globalAlpha = 1;
    if (!this.#deadline) return;
    context.strokeStyle = colour("--bad");
    context.setLineDash([5, 4]);
    context.beginPath();
    context.moveTo(LEFT, this.y(this.#deadline));
    context.lineTo(width, this.y(this.#deadline));
    context.stroke();
    context.setLineDash([]);
  }
}

/** One line a node. */
export class RatePlot extends Plot {
  add(workers) {
    for (const [name, role] of [["camera", "camera"], ["style_transfer", "style"], ["detector", "detection"]]) {
      const worker = workers[name];
      if (worker && worker.rate_out !== null) this.put(role, [[now(), worker.age < 5 ? worker.rate_out : 0]]);
    }
  }

  top() {
    return Math.max(10, 1.1 * Math.max(0, ...Object.values(this.series).flat().map(([, value]) => value)));
  }

  drawSeries(context) {
    for (const [role, points] of Object.entries(this.series)) this.line(context, points, `--${role}`);
  }
}

function now() {
  return performance.now() / 1000;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name);
}

/** The next of 1, 2, 5, 10, 20 ... */
function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least);
}
