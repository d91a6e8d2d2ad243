// SPDX-License-Identifier: Apache-2.0
// The state of the nodes, the clock and the scheduler in words and figures.

const SILENT = 5; // seconds without a status after which a node counts as not answering; it sends one each second
const ROLES = { source: "camera", style: "style", detection: "detection" };

export class Nodes {
  #connected = false;

  setConnected(connected) {
    this.#connected = connected;
    if (!connected) this.#notify([]);
  }

  show({ workers, scheduler, clock }) {
    const entries = Object.entries(workers);
    document.getElementById("no-nodes").hidden = entries.length > 0;
    document.getElementById("node-table").hidden = !entries.length;
    document.querySelector("#node-table tbody").replaceChildren(...entries.map(([name, worker]) => row(name, worker)));
    this.#headline(workers.style_transfer);
    const faults = entries.map(([name, worker]) => complaint(name, worker)).filter(Boolean);
    const starved = entries.filter(([, worker]) => isStarved(worker)).map(([name]) => name);
    if (starved.length && !faults.length) faults.push(`${starved.join(" and ")} get no frames: is a camera running?`);
    this.#notify(faults);
    document.getElementById("clock").replaceChildren(clock ? clockFacts(clock) : note(
      "No clock monitor is running, so this machine's clock is not judged."));
    document.getElementById("scheduler").replaceChildren(scheduler ? decisions(scheduler) : note(
      "No scheduler is running: the nodes run under the policies they were started with."));
  }

  #headline(worker) {
    const fresh = worker && worker.age < SILENT;
    document.getElementById("headline-rate").textContent = fresh ? figure(worker.rate_out, 1) : "–";
    document.getElementById("headline-p50").textContent = fresh ? figure(worker.p50, 1) : "–";
    document.getElementById("headline-p99").textContent = fresh ? figure(worker.p99, 1) : "–";
  }

  /** The lasting complaints; replaced only when they change, so that they are not read out again and again. */
  #notify(sentences) {
    const area = document.getElementById("notices");
    if ([...area.children].map((child) => child.textContent).join() === sentences.join()) return;
    area.replaceChildren(...sentences.map((text) => Object.assign(note(text), { className: "notice" })));
  }
}

function complaint(name, worker) {
  if (worker.age >= SILENT) return `${name} does not answer: it has ended or hangs.`;
  if (worker.state !== "active") return `${name} is ${worker.state}: activate it to go on.`;
  return "";
}

function isStarved(worker) {
  return worker.role !== "source" && worker.rate_in === 0;
}

function row(name, worker) {
  const silent = worker.age >= SILENT;
  const line = document.createElement("tr");
  line.className = silent ? "silent" : "";
  const heading = Object.assign(document.createElement("th"), { scope: "row", textContent: name });
  heading.style.setProperty("--role", `var(--${ROLES[worker.role] ?? "faint"})`);
  const lost = Object.values(worker.drops).reduce((sum, count) => sum + count, 0);
  const causes = Object.entries(worker.drops).map(([cause, count]) => `${cause.replaceAll("_", " ")} ${count}`).join(", ");
  const engine = [worker.engine, worker.level, worker.backend].filter(Boolean).join(" · ");
  line.append(
    heading,
    cell("State", silent ? `silent for ${Math.round(worker.age)} s` : worker.state, engine),
    cell("Out, Hz", figure(worker.rate_out, 1), "", "number"),
    cell("p50, ms", figure(worker.p50, 1), "", "number"),
    cell("p99, ms", figure(worker.p99, 1), "", "number"),
    Object.assign(cell("Lost", String(lost), "", "number"), { title: causes || "no frame was lost" }),
    Object.assign(cell("Policy", worker.policy, "", "policy"), { title: worker.policy_reason || "as asked for" }),
    cell("Memory, MB", figure(worker.rss_mb, 0), "", "number"),
  );
  return line;
}

function cell(label, text, more = "", className = "") {
  const data = Object.assign(document.createElement("td"), { className, textContent: text });
  if (label !== "State") data.dataset.label = label;
  if (more) data.append(Object.assign(document.createElement("span"), { className: "more", textContent: more }));
  return data;
}

function clockFacts(clock) {
  const facts = [
    ["State", clock.age > SILENT ? `silent for ${Math.round(clock.age)} s` : clock.state],
    ["Reason", clock.reason],
    ["Port", clock.port_state],
    ["Offset to master", offset(clock.master_offset_ns)],
    ["System clock to card", offset(clock.system_offset_ns)],
    ["Grandmaster", clock.grandmaster],
  ].filter(([, text]) => text);
  const list = Object.assign(document.createElement("dl"), { className: "facts-list" });
  for (const [name, text] of facts) {
    list.append(Object.assign(document.createElement("dt"), { textContent: name }),
      Object.assign(document.createElement("dd"), { textContent: text }));
  }
  return list;
}

function decisions(scheduler) {
  if (scheduler.age > SILENT) return note(`The scheduler has been silent for ${Math.round(scheduler.age)} s.`);
  if (!scheduler.decisions.length) return note("It has not decided anything yet.");
  const list = Object.assign(document.createElement("ol"), { className: "log" });
  for (const sentence of [...scheduler.decisions].reverse()) {
    list.append(Object.assign(document.createElement("li"), { textContent: sentence }));
  }
  return list;
}

function note(text) {
  return Object.assign(document.createElement("p"), { className: "absent", textContent: text });
}

function figure(value, digits) {
  return value === null || value === undefined ? "–" : value.toFixed(digits);
}

function offset(nanoseconds) {
  return nanoseconds === null ? "" : `${(nanoseconds / 1000).toFixed(1)} µs`;
}
