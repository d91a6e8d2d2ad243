// SPDX-License-Identifier: Apache-2.0
// Puts the page together: the connection hands every message to the part of the page it is about.

import { Connection } from "./connection.js";
import { Controls } from "./controls.js";
import { Nodes } from "./nodes.js";
import { Pictures } from "./pictures.js";
import { LatencyPlot, RatePlot } from "./plots.js";

const theme = localStorage.getItem("theme") || "dark";
document.documentElement.dataset.theme = theme;
document.getElementById("theme").addEventListener("click", () => {
  const chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = chosen;
  localStorage.setItem("theme", chosen);
});

const connection = new Connection();
const latency = new LatencyPlot(document.getElementById("latency-plot"));
const rates = new RatePlot(document.getElementById("rate-plot"));
const pictures = new Pictures(connection);
const controls = new Controls(connection);
const nodes = new Nodes();

const receivers = {
  nodes: (message) => {
    nodes.show(message);
    pictures.describe(message);
    controls.showLevels(message.workers.style_transfer?.levels ?? []);
    latency.setDeadline(message.workers.style_transfer?.deadline_ms);
    rates.add(message.workers);
  },
  parameters_style_transfer: (message) => controls.showParameters(message.node, message.parameters),
  parameters_detector: (message) => controls.showParameters(message.node, message.parameters),
  styles: (message) => controls.showStyles(message),
  detections: (message) => pictures.showDetections(message),
  style_timing: (message) => latency.add("style", message.frames),
  detector_timing: (message) => latency.add("detection", message.frames),
  fault_color: (message) => pictures.showFault(message),
  fault_stylized: (message) => pictures.showFault(message),
  fault_depth: (message) => pictures.showFault(message),
};
connection.onMessage = (message) => receivers[message.kind]?.(message);
connection.onPicture = (about, blob) => pictures.show(about, blob);
connection.onState = (state, text) => {
  document.body.dataset.connection = state;
  document.getElementById("connection").textContent = text;
  controls.setConnected(state === "open");
  pictures.setConnected(state === "open");
  nodes.setConnected(state === "open");
};
connection.open();
