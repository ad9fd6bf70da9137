// A verdict that its reader moves: the rules of pdlib/claims/judge.py, and what stands in the folds beside verdicts.
"use strict";
const rejudge = (() => {
  const FEW = 3; // ancestries; at so few, "reproduced" also needs each of them to agree
  const LEVEL = 95; // percent
  const SIGNS = { reproduced: "✓", "not reproduced": "✗", inconclusive: "?" };

  // ------------------------------------------------------------------ intervals

  /** Where a rising function of [0, end] has this value: by halves. */
  function solve(f, value, end) {
    let [low, high] = [0, end];
    for (let i = 0; i < 100; i++) {
      const middle = (low + high) / 2;
      if (f(middle) < value) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  }

  /** P(|Z| < z) of a normal Z: erf by its series, in which every term is positive. */
  function normalShare(z) {
    let [term, sum] = [z, 0];
    for (let k = 3; term > 1e-18 * sum; k += 2) [sum, term] = [sum + term, (term * z * z) / k];
    return Math.sqrt(2 / Math.PI) * Math.exp((-z * z) / 2) * sum;
  }

  /** P(|T| < t) of Student's T, with t = sqrt(freedom) tan(angle): Abramowitz and Stegun, 26.7.3 and 26.7.4. */
  function studentShare(angle, freedom) {
    const [odd, cosine] = [freedom % 2, Math.cos(angle)];
    let [term, sum] = [odd ? cosine : 1, 0];
    for (let k = 2 + odd; k <= freedom; k += 2) [sum, term] = [sum + term, (term * (k - 1) * cosine * cosine) / k];
    return odd ? (2 / Math.PI) * (angle + Math.sin(angle) * sum) : Math.sin(angle) * sum;
  }

  const normal = (level) => solve(normalShare, level, 10);
  const student = (level, freedom) =>
    Math.sqrt(freedom) * Math.tan(solve((angle) => studentShare(angle, freedom), level, Math.PI / 2));
  const sum = (values) => values.reduce((a, b) => a + b, 0);

  function meanInterval(values, level) {
    const n = values.length;
    if (n < 2) return { mean: n ? values[0] : NaN, low: -Infinity, high: Infinity, n };
    const finite = values.filter(Number.isFinite);
    if (finite.length < n) {
      const [least, most] = [Math.min(...values), Math.max(...values)];
      const mean = least === -most ? NaN : most === Infinity ? most : least;
      if (!finite.length) return { mean, low: least, high: most, n };
      const [from, to] = [Math.min(...finite), Math.max(...finite)];
      const clipped = finite.length > 1 ? values.map((v) => Math.min(Math.max(v, from), to)) : finite;
      const { low, high } = meanInterval(clipped, level);
      return { mean, low: least === -Infinity ? least : low, high: most === Infinity ? most : high, n };
    }
    const mean = sum(values) / n;
    const deviation = Math.sqrt(sum(values.map((v) => (v - mean) ** 2)) / (n - 1));
    const half = student(level, n - 1) * deviation * Math.sqrt(1 / n);
    return { mean, low: mean - half, high: mean + half, n };
  }

  function wilsonInterval(reached, n, level) {
    const [z, mean] = [normal(level), reached / n];
    const [center, wide] = [2 * reached + z * z, z * Math.sqrt(4 * n * mean * (1 - mean) + z * z)];
    const end = (sign) => (center + sign * wide) / (2 * (n + z * z));
    return { mean, low: reached ? end(-1) : 0, high: reached < n ? end(1) : 1, n };
  }

  function interval({ side, interval: kind }, values, level) {
    const n = values.length;
    if (kind === "exact" && n) {
      const [low, high] = [Math.min(...values), Math.max(...values)];
      return { mean: side === "above" ? low : high, low, high, n };
    }
    return kind === "share" && n ? wilsonInterval(sum(values), n, level) : meanInterval(values, level);
  }

  // ------------------------------------------------------------------- verdicts

  /** A criterion judged: `values` has a list per rival, with one value per ancestry that `kept` keeps. */
  function judge(criterion, values, threshold, level, kept) {
    const sign = criterion.side === "above" ? 1 : -1;
    const used = values.map((column) => column.filter((_, i) => kept[i]));
    const [n, bar] = [used[0].length, criterion.interval === "share" ? 0.5 : threshold];
    const clears = (v) => sign * v > sign * bar;
    const intervals = used.map((column) => interval(criterion, column, 1 - (1 - level) / used.length));
    let [yes, no] = [Infinity, Infinity]; // reproduced below `yes`, not reproduced from `no` on; `sign` turns them around
    intervals.forEach(({ low, high }, rival) => {
      const worst = Math.min(...used[rival].map((v) => sign * v));
      let ends = [sign * low, sign * high].sort((a, b) => a - b);
      if (criterion.interval === "exact" && n) ends = [worst, worst];
      else if (n < 2) ends = [-Infinity, Infinity];
      else if (n <= FEW && criterion.interval !== "share") ends[0] = Math.min(ends[0], worst);
      else if (n <= FEW && !used[rival].every(clears)) ends[0] = -Infinity;
      [yes, no] = [Math.min(yes, ends[0]), Math.min(no, ends[1])];
    });
    const at = sign * threshold;
    const verdict = at >= no ? "not reproduced" : at < yes ? "reproduced" : "inconclusive";
    const [from, to] = at >= no ? [no, Infinity] : at < yes ? [-Infinity, yes] : [yes, no];
    const closest = intervals.reduce((best, { mean }, i) => (sign * mean < sign * intervals[best].mean ? i : best), 0);
    const agreeing = used[0].filter((_, i) => used.every((column) => clears(column[i]))).length;
    return { verdict, intervals, closest, agreeing, n, holds: sign > 0 ? [from, to] : [-to, -from] };
  }

  /** Without how many of its ancestries a verdict would be another. */
  function turnedByOne(criterion, values, threshold, level, kept) {
    const { verdict } = judge(criterion, values, threshold, level, kept);
    const without = (i) => judge(criterion, values, threshold, level, kept.map((k, j) => k && j !== i)).verdict;
    return kept.filter((k, i) => k && without(i) !== verdict).length;
  }

  // ---------------------------------------------------------------------- words

  /** A number as Python's "g" has it. */
  function written(value, digits = 3) {
    if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    const bare = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
    if (exponent < -4 || exponent >= digits)
      return `${bare(mantissa)}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
    return bare(Number(`${mantissa}e${exponent}`).toFixed(digits - 1 - exponent));
  }

  function ofInterval({ mean, low, high, n }) {
    if (n < 2) return n ? `${written(mean)} (1 seed)` : "no seeds";
    return `${written(mean)} [${written(low)}, ${written(high)}]`;
  }

  /** What was measured, as `str()` of a `Judgement`. */
  function measured({ interval: kind, rivals }, { intervals, closest, n }) {
    const found = intervals[closest];
    if (!n) return "nothing is left to judge";
    if (kind === "exact") return written(found.mean) + (n > 1 ? `, the worst of ${n} cases` : "");
    if (kind === "share") return `${Math.round(found.mean * n)} of ${n} [${written(found.low, 2)}, ${written(found.high, 2)}]`;
    return ofInterval(found) + (rivals.length > 1 ? ` against ${rivals[closest]}, the closest of ${rivals.length}` : "");
  }

  /** All of that, how many agree, and how far the verdict holds. */
  function words(criterion, now, turned) {
    return `${measured(criterion, now)}; ${now.agreeing} of ${now.n} agree. ${fragility(criterion, now, turned)}`;
  }

  function fragility({ interval: kind }, { holds: [low, high], n }, turned) {
    const [from, to] = [Number.isFinite(low), Number.isFinite(high)];
    const where = from && to ? `from ${written(low)} to ${written(high)}`
      : from ? `down to ${written(low)}` : to ? `up to ${written(high)}` : "of any size";
    const holds = `The verdict holds for thresholds ${where}`;
    if (n < 2) return `${holds}.`;
    return `${holds}; leaving out any one ${kind === "exact" ? "case" : "ancestry"} changes it in ${turned} of ${n}.`;
  }

  // ------------------------------------------------------------------ in a page

  function made(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  /** The values that a fold holds, a list for each rival. */
  function valuesOf({ values }) {
    return values.map((text) => text.split(" ").map(Number));
  }

  /** Build what moves a verdict into its fold, once it is opened. */
  function build(fold) {
    const data = JSON.parse(fold.dataset.judged);
    const [rivals, values, names] = [data.rivals, valuesOf(data), data.ancestries];
    const exact = data.interval === "exact";
    const all = names.map(() => true);
    const registered = judge(data, values, data.threshold, LEVEL / 100, all);
    const drawn = [data.threshold, ...values.flat(), ...registered.intervals.flatMap(({ low, high }) => [low, high])];
    const finite = drawn.filter(Number.isFinite);
    const [least, most] = [Math.min(...finite), Math.max(...finite)];
    const span = most - least || Math.abs(most) || 1;
    // The slider counts steps from the registered threshold, which it can so return to exactly.
    const step = 10 ** Math.floor(Math.log10(span / 50));
    const [down, up] = [data.threshold - least, most - data.threshold].map((room) => Math.ceil((room + span / 5) / step));
    const [low, high] = [data.threshold - down * step, data.threshold + up * step];

    const strip = fold.querySelector(".pd-strip");
    const width = 300;
    const place = (v) => 8 + (width - 16) * ((Math.min(Math.max(v, low), high) - low) / (high - low));
    const boxes = names.map((name) => made("input", { type: "checkbox", checked: true, name: `${name}` }));
    const rows = rivals.map((rival, r) => {
      const drawing = strip.cloneNode(true);
      for (const [name, value] of Object.entries({ width, viewBox: `0 0 ${width} 20`, "aria-hidden": "true" }))
        drawing.setAttribute(name, value);
      drawing.querySelectorAll("circle").forEach((dot, i) => {
        const title = document.createElementNS(dot.namespaceURI, "title");
        title.textContent = `${names[i]}: ${written(values[r][i], 4)}`;
        dot.append(title);
        dot.setAttribute("cx", place(values[r][i]));
        dot.addEventListener("click", () => boxes[i].click());
      });
      return { drawing, said: made("span") };
    });

    const slider = made("input", { type: "range", min: -down, max: up, value: 0 });
    const number = made("input", { type: "number", step, value: data.threshold });
    const level = made("input", { type: "range", min: 80, max: 99.9, step: 0.1, value: LEVEL });
    const percent = made("span");
    const reset = made("button", { type: "button", textContent: "Reset" });
    const found = made("p", { className: "pd-found", role: "status" });
    slider.setAttribute("aria-label", "threshold");
    number.setAttribute("aria-label", "threshold, as a number");
    level.setAttribute("aria-label", "confidence level, in percent");

    function show() {
      const threshold = number.valueAsNumber;
      number.ariaInvalid = `${Number.isNaN(threshold)}`;
      if (Number.isNaN(threshold)) {
        found.textContent = `Expected a number as threshold, such as ${written(data.threshold)}; Reset brings back the registered one.`;
        return;
      }
      const kept = boxes.map((box) => box.checked);
      const now = judge(data, values, threshold, level.valueAsNumber / 100, kept);
      const own = threshold !== data.threshold || level.valueAsNumber !== LEVEL || kept.includes(false);
      rows.forEach(({ drawing, said }, r) => {
        const [bar, line] = drawing.querySelectorAll("line");
        const { mean, low: from, high: to } = now.intervals[r];
        for (const [element, name, value] of [[bar, "x1", threshold], [bar, "x2", threshold], [line, "x1", from], [line, "x2", to]])
          element.setAttribute(name, place(value));
        const middle = drawing.querySelector("rect");
        middle.setAttribute("x", place(Number.isNaN(mean) ? low : mean) - 1.5);
        middle.style.visibility = line.style.visibility = now.n ? "" : "hidden";
        drawing.querySelectorAll("circle").forEach((dot, i) => dot.classList.toggle("pd-out", !kept[i]));
        said.textContent = now.n ? (exact ? written(mean) : ofInterval(now.intervals[r])) : "";
      });
      percent.textContent = `${written(level.valueAsNumber)} %`;
      slider.ariaValueText = written(threshold, 6);
      const word = made("span", { className: `pd-chip pd-${now.verdict.replace(" ", "-")}` }, `${SIGNS[now.verdict]} ${now.verdict}`);
      const turned = turnedByOne(data, values, threshold, level.valueAsNumber / 100, kept);
      found.replaceChildren(
        made("strong", { textContent: own ? "Your settings, not the registered ones:" : "As registered:" }),
        " ", word, ` ${words(data, now, turned)}`,
      );
    }

    slider.addEventListener("input", () => {
      const steps = slider.valueAsNumber;
      number.value = steps ? written(data.threshold + steps * step, 12) : data.threshold;
      show();
    });
    number.addEventListener("input", () => {
      if (!Number.isNaN(number.valueAsNumber)) slider.value = Math.round((number.valueAsNumber - data.threshold) / step);
      show();
    });
    for (const control of [level, ...boxes]) control.addEventListener("input", show);
    reset.addEventListener("click", () => {
      [slider.value, number.value, level.value] = [0, data.threshold, LEVEL];
      for (const box of boxes) box.checked = true;
      show();
    });

    const panel = made("div", { className: "pd-panel" });
    rows.forEach(({ drawing, said }, r) => panel.append(made("span", { textContent: rivals[r] || "measured" }), drawing, said));
    panel.append(made("span", { textContent: "threshold" }), slider, number);
    if (!exact) panel.append(made("span", { textContent: "confidence" }), level, percent);
    const choices = boxes.map((box, i) => made("label", {}, box, ` ${names[i]}`));
    const ancestries = made("fieldset", {}, made("legend", { textContent: exact ? "cases" : "ancestries" }), ...choices);
    for (const old of fold.querySelectorAll(".pd-rivals, .pd-found")) old.remove();
    fold.append(panel, ancestries, reset, found);
    show();
  }

  /** Folds are built when they are opened, so that hundreds of them cost a page nothing. */
  function opened({ target }) {
    if (target.open && target.matches?.("[data-widget=rejudge]") && !target.querySelector(".pd-panel")) build(target);
  }
  document.addEventListener("toggle", opened, true);
  addEventListener("DOMContentLoaded", () => {
    for (const target of document.querySelectorAll("[data-widget=rejudge][open]")) opened({ target });
  });

  return { judge, turnedByOne, valuesOf, words };
})();
