// Train it yourself: a form and a drawing, and a worker that runs the kernel, student.c. One file, so that it works from disk.
"use strict";
globalThis.pdTrain = (() => {
  const WASM = "", // the kernel's bytes in base64, put here when the book is staged
    here = document.currentScript?.src;

  // ---------------------------------------------------------------- also in the worker

  // The first half of SHA-256 as two numbers, low and high: the key that a text names (pdlib.tasks.bits.stream_key). Browsers
  // keep their own SHA-256 from pages that are read from disk.
  function key(text) {
    const primes = [];
    for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);
    const fraction = (x) => ((x % 1) * 2 ** 32) | 0,
      turned = (x, by) => (x >>> by) | (x << (32 - by)),
      constants = primes.map((p) => fraction(Math.cbrt(p))),
      state = primes.slice(0, 8).map((p) => fraction(Math.sqrt(p))),
      bytes = new TextEncoder().encode(text),
      padded = new DataView(new ArrayBuffer(Math.ceil((bytes.length + 9) / 64) * 64));
    [...bytes, 128].forEach((byte, i) => padded.setUint8(i, byte));
    padded.setUint32(padded.byteLength - 4, 8 * bytes.length);
    for (let start = 0; start < padded.byteLength; start += 64) {
      const w = [];
      for (let i = 0; i < 64; i++) {
        const [x, y] = [w[i - 15], w[i - 2]];
        w[i] = i < 16 ? padded.getInt32(start + 4 * i) :
          (w[i - 16] + w[i - 7] + (turned(x, 7) ^ turned(x, 18) ^ (x >>> 3)) + (turned(y, 17) ^ turned(y, 19) ^ (y >>> 10))) | 0;
      }
      let [a, b, c, d, e, f, g, h] = state;
      for (let i = 0; i < 64; i++) {
        const one = h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) + constants[i] + w[i],
          two = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        [a, b, c, d, e, f, g, h] = [(one + two) | 0, a, b, c, (d + one) | 0, e, f, g];
      }
      [a, b, c, d, e, f, g, h].forEach((x, i) => { state[i] = (state[i] + x) | 0; });
    }
    const [a, b, c, d] = state.slice(0, 4).map((x) => BigInt(x >>> 0));
    return [(c << 32n) | d, (a << 32n) | b];
  }

  const start = (wasm) => new WebAssembly.Instance(new WebAssembly.Module(wasm), { env: { exp: Math.exp } }).exports;

  // A run: {task, width, seed, data_seed, rate, steps, every, pace, parts: [{start, stop, checkpoint?, block?}], keep}. A part
  // of it has the labels of a block, the answers of a kept checkpoint, or else true labels. `every` divides all of them.
  function work(wasm) {
    const kernel = start(wasm), size = kernel.network_size(), turn = new MessageChannel(), kept = new Map(),
      bytes = (at, n) => new Uint8Array(kernel.memory.buffer, at, n);
    let wanted = 0, run = null, paused = false, waits = false;

    function next(rest = 0) { // a message to oneself, so that others are read in between; a timer would rest for 4 ms
      if (waits) return;
      waits = true;
      if (rest > 0) setTimeout(() => turn.port2.postMessage(0), rest);
      else turn.port2.postMessage(0);
    }

    async function begin(asked) {
      wanted = asked.id;
      const { task, parts, width } = asked, labels = bytes(kernel.labels(), kernel.most_steps() / 8).fill(0);
      for (const { start, stop, block } of parts.filter((part) => part.block)) {
        const packed = Uint8Array.from(atob(block), (c) => c.charCodeAt(0)),
          stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate")), // it compares a checksum
          found = new Uint8Array(await new Response(stream).arrayBuffer());
        if (found.length !== (stop - start) / 8) throw new Error(`${found.length} bytes`);
        labels.set(found, start / 8);
      }
      if (wanted !== asked.id) return; // stopped in the meantime
      kernel.task(task.bits, task.support);
      kernel.initial(0, width, ...key(`initial weights, seed ${asked.seed}`));
      const stream = (seed, purpose) => key(`[${task.identity}, ${seed}, "${purpose}"]`);
      run = { ...asked, step: 0, chunk: 500, data: stream(asked.data_seed, "train"), held: stream(task.held_out_seed, "evaluation") };
      paused = false;
      report();
      next();
    }

    function report() {
      const accuracy = kernel.accuracy(0, run.task.n_held_out, ...run.held), now = performance.now(),
        speed = run.since === undefined ? 0 : (1000 * run.every) / (now - run.since);
      run.since = now;
      if (run.keep) kept.set(run.step, bytes(kernel.network(0), size).slice());
      postMessage({ id: run.id, step: run.step, accuracy, speed });
      if (accuracy < 0 || run.step === run.steps) run = null;
    }

    turn.port1.onmessage = () => {
      waits = false;
      if (!run || paused) return;
      const begun = performance.now(), part = run.parts.find(({ stop }) => run.step < stop);
      if (part.checkpoint !== undefined) bytes(kernel.network(1), size).set(kept.get(part.checkpoint));
      const due = run.every - (run.step % run.every), n = Math.ceil(Math.min(due, run.chunk, run.pace / 20));
      kernel.train(run.step, n, run.rate, +(part.checkpoint !== undefined), ...run.data);
      const took = performance.now() - begun;
      if (n === run.chunk) run.chunk = took < 15 ? 2 * n : took > 60 ? Math.ceil(n / 2) : n;
      run.step += n;
      if (n === due) report();
      next(run?.pace < Infinity ? 50 - took : 0);
    };

    onmessage = ({ data }) => {
      if (data.begin) begin(data.begin).catch((error) => postMessage({ id: data.begin.id, failed: String(error) }));
      if (data.stop) wanted = run = null;
      if (!run) return;
      if (data.pace) run.pace = data.pace;
      if (data.paused === undefined) return;
      run.since = undefined; // the rest is not counted into the speed
      paused = data.paused;
      next();
    };
  }

  // -------------------------------------------------------------------------- the page

  const bytes = Uint8Array.from(atob(WASM), (c) => c.charCodeAt(0)), SVG = "http://www.w3.org/2000/svg",
    words = (n) => n.toLocaleString("en-US"),
    DASHES = ["", "7 2", "2 2", "9 2 2 2"], SLOW_S = 20;

  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  // Fetched when it is needed, as a script: from disk a page may read no other file.
  function labels(config) {
    if (labels.found?.stream === config.stream) return Promise.resolve(labels.found.blocks);
    const address = new URL(config.file, here);
    return new Promise((resolve, reject) => {
      const script = element("script", { src: address });
      globalThis.pdLabels = (found) => { labels.found = found; };
      script.onload = () => labels.found?.stream === config.stream ? resolve(labels.found.blocks) :
        reject(new Error(`The teacher's labels, ${address}, are damaged or those of other inputs. Build or copy the book again.`));
      script.onerror = () =>
        reject(new Error(`The teacher's labels, ${address}, are missing: expected them among the book's files. Copy the whole book.`));
      document.head.append(script);
    }).finally(() => document.head.querySelector(`script[src="${address}"]`)?.remove());
  }

  // The curves of runs over what a chart of pdlib.browser shows: its frame is left, right, bottom, top, its ranges x, y.
  class Chart {
    constructor(svg) {
      this.svg = svg;
      [this.frame, this.range] = [svg.dataset.frame, svg.dataset.range].map((text) => text.split(" ").map(Number));
    }
    at(step, accuracy) {
      const [left, right, bottom, top] = this.frame, [most, low, high] = this.range;
      return [left + (step / most) * (right - left), bottom - ((accuracy - low) / (high - low)) * (bottom - top)].map((x) => x.toFixed(2));
    }
    add(name, attributes) {
      const made = document.createElementNS(SVG, name);
      for (const [k, v] of Object.entries(attributes)) made.setAttribute(k, v);
      return this.svg.appendChild(made);
    }
    line(color, dash) {
      const line = this.add("polyline", { class: "pd-run", stroke: color, "stroke-dasharray": dash, points: "" });
      return { line, extend: (step, accuracy) => line.setAttribute("points", `${line.getAttribute("points")} ${this.at(step, accuracy)}`) };
    }
  }

  class Widget {
    constructor(root) {
      this.root = root;
      this.config = JSON.parse(root.querySelector("script").textContent);
      const charts = [...root.querySelectorAll("svg")].map((svg) => new Chart(svg));
      [this.chart, this.teacher] = [charts.pop(), charts.pop()];
      this.n = 0;
      this.now = element("p", { className: "pd-now" });
      this.said = element("p", { className: "pd-said" });
      this.said.setAttribute("aria-live", "polite");
      this.list = element("ol", { className: "pd-runs" });
      if (!WebAssembly?.validate?.(bytes) || !globalThis.DecompressionStream || !globalThis.Worker) {
        this.say("This browser cannot train here: it has no WebAssembly with SIMD. Chrome and Edge have it, and all else that this " +
          "needs, since version 91, Firefox since 113, Safari since 16.4. What is published is shown all the same.");
        root.append(this.said);
        return;
      }
      this.form();
      document.addEventListener("visibilitychange", () => {
        const { run } = this, meanwhile = "While this tab was hidden";
        if (document.hidden) this.hiddenAt = run?.step;
        else if (run && this.hiddenAt < run.step)
          this.say(`${meanwhile} the run went on, from step ${words(this.hiddenAt)} to ${words(run.step)}.`);
        else if (run && !run.paused) this.say(`${meanwhile} the run rested; it goes on from step ${words(run.step)}.`);
      });
    }

    say(text, unseen = false) { // to all, or to who hears the page and does not see the numbers that change
      this.said.textContent = text;
      this.said.classList.toggle("pd-unseen", unseen);
    }

    form() {
      const { config } = this, fields = element("div", { className: "pd-fields" });
      const field = (name, text, input) => { // a label for each, and a name for its values
        this[name] = Object.assign(input, { id: `pd-train-${name}` });
        fields.append(element("div", {}, element("label", { htmlFor: input.id, textContent: text }), input));
      };
      const choice = (options) => element("select", {}, ...options.map((text, i) => element("option", { textContent: text, value: i })));
      const number = (value) => element("input", { type: "text", inputMode: "decimal", size: 8, value, autocomplete: "off" });
      const button = (name, text, does) => {
        this[name] = element("button", { type: "button", textContent: text, className: "pd-button" });
        this[name].addEventListener("click", does);
      };
      button("go", "Start", () => this.run ? this.stop() : this.begin());
      button("pause", "Pause", () => this.rest(!this.run.paused));
      button("clear", "Clear the students", () => this.wipe());
      this.pause.disabled = true;
      if (config.teacher) {
        button("train", "Train a teacher", () => this.run ? this.stop() : this.beginTeacher());
        field("teacher_seed", "Teacher's seed", number(config.teacher.seed));
        fields.lastChild.append(this.train);
      }
      field("method", "Taught by", choice(config.methods.map(({ name }) => name)));
      if (config.teacher) {
        const n = config.teacher.steps / config.teacher.every;
        const slider = { type: "range", min: 1, max: n, value: Math.ceil(n / 2), disabled: true };
        field("checkpoint", "Its checkpoint", element("input", slider));
        this.checkpoint.addEventListener("input", () => this.choose());
        this.go.disabled = true;
      }
      field("rate", "Learning rate", number(config.methods[0].rate));
      field("seed", "Seed of its first weights", number(config.seed));
      field("pace", "Speed", choice(["as fast as it goes", `slow, to watch (${SLOW_S} s)`]));
      this.pace.addEventListener("change", () => this.run && this.worker.postMessage({ pace: this.speed(this.run) }));
      this.method.addEventListener("change", () => { this.rate.value = config.methods[this.method.value].rate; this.show(); });
      fields.append(element("div", { className: "pd-buttons" }, this.go, this.pause, this.clear));
      this.root.append(fields, this.now, this.said, this.list);
      this.show();
    }

    speed({ steps }) { return this.pace.value === "1" ? steps / SLOW_S : Infinity; } // steps a second

    // What is published of the chosen method stands out.
    show() {
      const { id } = this.config.methods[this.method.value];
      for (const part of this.root.querySelectorAll("[data-method]")) part.classList.toggle("pd-chosen", part.dataset.method === id);
    }

    // A number that the reader typed, or nothing and a sentence that says what is wrong.
    number(input, fits, expected) {
      const typed = input.value.trim(), value = Number(typed), good = typed !== "" && Number.isFinite(value) && fits(value);
      input.setAttribute("aria-invalid", !good);
      if (good) return value;
      this.say(`${input.previousSibling.textContent} “${typed}”: expected ${expected}.`);
      input.focus();
      return undefined;
    }
    weights(input) { return this.number(input, (x) => Number.isInteger(x) && x >= 0 && x < 1e6, "a whole number from 0 to 999,999"); }

    beginTeacher() {
      const { teacher, task } = this.config, seed = this.weights(this.teacher_seed);
      if (seed === undefined) return;
      this.wipe(true);
      this.accuracies = new Map();
      this.taught_on = seed;
      this.checkpoint.disabled = this.go.disabled = true;
      this.start({ ...teacher, task, seed, data_seed: seed, parts: [{ start: 0, stop: teacher.steps }], keep: true },
        this.teacher.line("currentColor", ""), "the teacher", this.train);
    }

    async begin() {
      if (this.reads) return;
      const { config } = this, { steps, every, width, task } = config, method = config.methods[this.method.value],
        seed = this.weights(this.seed);
      if (seed === undefined) return;
      const rate = this.number(this.rate, (x) => x >= 1e-6 && x <= 1, "a number from 0.000001 to 1, such as 0.005");
      if (rate === undefined) return;
      let parts = method.parts, name = method.name;
      if (config.teacher) {
        const called = { chosen: this.checkpoint.value * config.teacher.every, final: config.teacher.steps };
        parts = parts.map((part) => ({ ...part, checkpoint: called[part.checkpoint] }));
        if (method.parts[0].checkpoint === "chosen") name = `checkpoint ${this.checkpoint.value}, then the final one`;
      } else if (parts.some((part) => part.label)) {
        this.say("The teacher's labels are read …");
        this.reads = true;
        const blocks = await labels(config.labels).catch((error) => this.say(error.message)).finally(() => { this.reads = false; });
        if (!blocks) return;
        parts = parts.map(({ label, ...part }) => ({ ...part, block: blocks[label] }));
      }
      const n = this.list.children.length, color = method.color ?? config.colors[(n - 1) % config.colors.length],
        before = method.color ? [...this.list.children].filter((item) => item.dataset.color === color).length : n - 1,
        dash = DASHES[before % DASHES.length]; // lines of one color, or one upon the other, are told apart by it
      this.start({ task, width, seed, data_seed: config.data_seed ?? this.taught_on + 1000, rate, steps, every, parts },
        this.chart.line(color, dash), `${name}; rate ${rate}, seed ${seed}`, this.go, color, dash);
    }

    start(asked, curve, name, button, color = "currentColor", dash = "") {
      this.worker ??= this.work();
      const item = element("li");
      item.dataset.color = color;
      const sample = document.createElementNS(SVG, "svg"); // the line as it is drawn, for the list
      sample.setAttribute("class", "pd-sample");
      sample.setAttribute("aria-hidden", "true");
      sample.innerHTML = `<line x1="0" y1="5" x2="26" y2="5" stroke="${color}" stroke-dasharray="${dash}"/>`;
      item.append(sample, element("span"));
      this.list.append(item);
      this.run = { id: ++this.n, ...asked, step: 0, name, curve, item, button, text: button.textContent, paused: false };
      button.textContent = "Stop";
      for (const other of [this.go, this.train]) if (other && other !== button) other.disabled = true;
      this.clear.disabled = true;
      this.pause.disabled = false;
      this.say(`It begins: ${name}.`, true);
      this.worker.postMessage({ begin: { id: this.n, ...asked, pace: this.speed(asked) } });
    }

    work() {
      const source = `${key}; const start = ${start}; (${work})(Uint8Array.from(atob("${WASM}"), (c) => c.charCodeAt(0)));`,
        worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
      worker.onmessage = ({ data }) => { if (data.id === this.run?.id) this.hear(data); };
      worker.onerror = (error) => { this.end(`It stopped: ${error.message}.`); this.worker = null; };
      return worker;
    }

    hear({ step, accuracy, speed, failed }) {
      const { run } = this;
      if (failed) {
        labels.found = undefined;
        return this.end(`The teacher's labels are damaged (${failed}). Build or copy the book again.`);
      }
      if (accuracy < 0)
        return this.end(`After ${words(step)} steps the weights are no finite numbers any more: the learning rate ${run.rate} ` +
          "is too high. Try a lower one.");
      run.step = step;
      run.accuracy = accuracy;
      run.curve.extend(step, accuracy);
      if (run.there === undefined && accuracy >= 0.9) run.there = step;
      run.item.lastChild.textContent = `${run.name}: ${accuracy.toFixed(2)} at step ${words(step)}; ` +
        (run.there === undefined ? "not at 90 %" : `90 % after ${words(run.there)} steps`);
      this.now.textContent = `step ${words(step)} of ${words(run.steps)}, accuracy ${accuracy.toFixed(2)}` +
        (speed ? `, ${words(Number(speed.toPrecision(2)))} steps a second` : "");
      if (run.keep && step) {
        this.accuracies.set(step, accuracy);
        const [cx, cy] = this.teacher.at(step, accuracy);
        this.teacher.add("circle", { class: "pd-kept", cx, cy, r: 2.5, "data-step": step });
      }
      if (step === run.steps) return this.end(`Done: ${run.item.lastChild.textContent}.`);
      if (step && step % (run.steps / 4) === 0) this.say(run.item.lastChild.textContent, true);
      return undefined;
    }

    end(text) {
      const { run } = this;
      if (!run) return;
      this.run = null;
      this.now.textContent = "";
      run.button.textContent = run.text;
      this.pause.textContent = "Pause";
      const learned = this.accuracies?.size === this.config.teacher?.steps / this.config.teacher?.every;
      for (const button of [this.train, this.clear]) if (button) button.disabled = false;
      this.pause.disabled = true;
      this.go.disabled = Boolean(this.config.teacher) && !learned;
      if (run.accuracy === undefined) { run.item.remove(); run.curve.line.remove(); }
      if (run.keep && learned) { // the checkpoint nearest to halfway is a good first choice
        this.checkpoint.disabled = false;
        const [best] = [...this.accuracies].sort((a, b) => Math.abs(a[1] - 0.75) - Math.abs(b[1] - 0.75))[0];
        this.checkpoint.value = best / this.config.teacher.every;
        this.choose();
      }
      this.say(text, text.startsWith("Done"));
    }

    choose() {
      const step = this.checkpoint.value * this.config.teacher.every;
      for (const dot of this.root.querySelectorAll(".pd-kept")) dot.classList.toggle("pd-chosen", Number(dot.dataset.step) === step);
      const accuracy = this.accuracies.get(step).toFixed(2),
        text = `Checkpoint ${this.checkpoint.value}, at step ${words(step)}: the teacher's accuracy is ${accuracy}.`;
      this.checkpoint.setAttribute("aria-valuetext", text);
      this.now.textContent = text;
    }

    rest(paused) {
      this.run.paused = paused;
      this.pause.textContent = paused ? "Continue" : "Pause";
      this.worker.postMessage({ paused });
      this.say(paused ? `It rests at step ${words(this.run.step)}.` : "It goes on.");
    }

    stop() {
      this.worker.postMessage({ stop: true });
      this.end(`Stopped at step ${words(this.run.step)}.`);
    }

    wipe(teacher) { // all students, and the teacher, whose line is the first, only for a new one
      for (const item of [...this.list.children].slice(teacher || !this.config.teacher ? 0 : 1)) item.remove();
      for (const part of (teacher ? this.root : this.chart.svg).querySelectorAll(".pd-run, .pd-kept")) part.remove();
      this.now.textContent = "";
      this.say("");
    }
  }

  const begin = () => { for (const root of document.querySelectorAll('[data-widget="train"]')) new Widget(root); };
  if (document.readyState === "loading") addEventListener("DOMContentLoaded", begin);
  else begin();
  return { key, start, bytes };
})();
