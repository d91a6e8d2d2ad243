// SPDX-License-Identifier: Apache-2.0
// The way to the server: one web socket for what moves, requests for what is changed. Connects again when it is lost.

const FIRST_PAUSE = 500; // ms before the first new attempt; doubled for each one that follows
const LONGEST_PAUSE = 5000;

export class Connection {
  onMessage = () => {};
  onPicture = () => {};
  onState = () => {};

  #socket = null;
  #pause = FIRST_PAUSE;
  #watched = [];

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/live`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#pause = FIRST_PAUSE;
      this.onState("open", "Connected");
      this.watch(this.#watched);
    };
    socket.onmessage = ({ data }) => (typeof data === "string" ? this.onMessage(JSON.parse(data)) : this.#unpack(data));
    socket.onclose = () => this.#openAgain();
    this.#socket = socket;
  }

  /** Say which streams are looked at; the server sends no others. */
  watch(streams) {
    this.#watched = streams;
    this.#send({ watch: streams });
  }

  /** Say that a picture is on the screen, so that the next one may come. */
  shown(stream) {
    this.#send({ shown: stream });
  }

  /** Set parameters of a node; resolves to {success, message}. */
  setParameters(node, values) {
    const headers = { "Content-Type": "application/json" };
    return this.#ask("/parameters", { method: "POST", headers, body: JSON.stringify({ node, values }) });
  }

  /** Have a style made of a picture file; resolves to {success, message}. */
  makeStyle(file) {
    const form = new FormData();
    form.append("picture", file);
    return this.#ask("/styles", { method: "POST", body: form });
  }

  async #ask(path, options) {
    try {
      const response = await fetch(path, options);
      if (response.status === 413) return { success: false, message: "This file is too large: at most 25 MB." };
      if (response.status === 401) return { success: false, message: "The token is not accepted any more." };
      return await response.json();
    } catch {
      return { success: false, message: "The server does not answer; nothing was changed." };
    }
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #unpack(data) {
    const length = new DataView(data).getUint32(0);
    const about = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    this.onPicture(about, new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
  }

  async #openAgain() {
    const pause = this.#pause;
    this.#pause = Math.min(2 * pause, LONGEST_PAUSE);
    this.onState("lost", "Connection lost, trying again");
    await new Promise((resolve) => setTimeout(resolve, pause));
    const answer = await fetch("/", { method: "HEAD" }).catch(() => null);
    if (answer?.status === 401) location.reload(); // another token is in force: its form asks for it
    else this.open();
  }
}
