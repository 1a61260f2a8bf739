// The learner at work: HIL-F of hi_lib/learners.py and the bounds of hi_lib/regret.py, batch by batch.
// A browser test compares its numbers with theirs.
(() => {
  "use strict";

  // ---- The learner. Losses and weights are held by cell: between neighbouring confidences nothing changes. ----

  const SPAN = 600; // nats that weights may drift apart: a double reaches down to e^-708
  const ADAPTIVE = "adaptive"; // in place of a number for η: AdaHedge's rate, as `replay` has it
  const FIRST_GAP = 1e-6; // Δ before anything is lost
  const AFRESH = 256; // samples after which all weights are computed anew, so that rounding does not add up

  // Ends of the cells, from 0 to 1, and for every sample the number of the first cell above its confidence.
  const cellsOf = (confidence) => {
    const edges = Float64Array.from(new Set([0, ...Float64Array.from(confidence).sort(), 1]));
    const number = new Map(Array.from(edges, (edge, k) => [edge, k]));
    return { edges, above: Int32Array.from(confidence, (p) => number.get(p)) };
  };

  // Samples that have been decided when the feedback on a sample is in, and Σ (1 + 2 g_t) / n, which stands for M.
  const equivalentSize = (n, M, delay) => {
    let [heard, sum] = [0, 0];
    for (let t = 0; t < n; t += 1) {
      const start = t - (t % M);
      while (heard < start && released(heard, n, M, delay) <= start) heard += 1;
      sum += 1 + 2 * (t - heard);
    }
    return sum / n;
  };
  const released = (t, n, M, delay) => Math.min(t - (t % M) + M, n) + delay;

  const create = (confidence, correct, beta, M, eta, delay) => {
    const n = confidence.length;
    const { edges, above } = cellsOf(confidence);
    const cells = edges.length - 1;
    let shortest = 1;
    for (let k = 0; k < cells; k += 1) shortest = Math.min(shortest, edges[k + 1] - edges[k]);
    const L = -Math.log(shortest);
    const size = delay === 0 ? M : equivalentSize(n, M, delay);
    const adaptive = eta === ADAPTIVE && L > 0;
    let rate = adaptive ? L / FIRST_GAP : eta === ADAPTIVE ? 0 : eta ?? Math.sqrt((8 * L) / (n * size));
    const bound = adaptive ? NaN : eta === null || eta === ADAPTIVE ? Math.sqrt((n * size * L) / 2) : L / rate + (n * size * rate) / 8;

    const loss = new Float64Array(cells); // what has been heard: cost of a threshold there, less that of never offloading
    const past = new Float64Array(cells); // the same of all that has been decided, for hindsight
    const weight = new Float64Array(cells);
    const passed = new Float64Array(cells + 1); // weight from a cell on
    let drift = 0; // nats by which two weights may have moved apart since they were computed
    const state = {
      n, M, beta, delay, adaptive, eta: rate, bound, edges, weight, done: 0, heard: 0, batches: 0, exposure: 0,
      cost: 0, wrong: 0, rule: 0, theta: NaN, offload: new Float64Array(n),
    };

    const least = (values) => values.reduce((low, value) => Math.min(low, value), Infinity);
    let [lowest, mass] = [0, 1]; // the least loss, and all weight relative to it, when they were computed
    const weighAfresh = () => {
      [lowest, mass, drift] = [least(loss), 0, 0];
      for (let k = 0; k < cells; k += 1) {
        weight[k] = (edges[k + 1] - edges[k]) * Math.exp(-rate * (loss[k] - lowest));
        mass += weight[k];
      }
    };
    // A whole batch that lost so much on average; η follows what it lost beyond the mixed loss, in steps of at least two.
    let gap = FIRST_GAP;
    const hearBatch = (start, stop, mean) => {
      const [low, before] = [lowest, mass];
      for (let t = start; t < stop; t += 1) {
        const step = beta - (correct[t] ? 0 : 1);
        for (let k = above[t]; k < cells; k += 1) loss[k] += step;
      }
      weighAfresh();
      state.heard = stop;
      gap += Math.max(mean - (lowest - low - Math.log(mass / before) / rate), 0);
      if (rate <= (2 * L) / gap) return;
      state.eta = rate = L / gap;
      weighAfresh();
    };
    const hear = (t) => {
      const step = beta - (correct[t] ? 0 : 1);
      const factor = Math.exp(-rate * step);
      for (let k = above[t]; k < cells; k += 1) {
        loss[k] += step;
        weight[k] *= factor;
      }
      state.heard += 1;
      drift += rate * Math.abs(step);
      if (state.heard % AFRESH === 0 || drift > SPAN) weighAfresh();
    };
    // A threshold drawn with the density: where a share of all weight ends, and a place within that cell.
    const threshold = ([share, inside]) => {
      let [low, high] = [0, cells - 1];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (passed[0] - passed[middle + 1] > share * passed[0]) high = middle;
        else low = middle + 1;
      }
      return edges[low] + (edges[low + 1] - edges[low]) * inside;
    };
    const sum = () => {
      passed[cells] = 0;
      for (let k = cells - 1; k >= 0; k -= 1) passed[k] = passed[k + 1] + weight[k];
    };

    // Decide the next batch with what is in; two random numbers, if given, draw its threshold.
    state.next = (uniforms) => {
      const [start, stop] = [state.done, Math.min(state.done + M, n)];
      while (state.heard < start && released(state.heard, n, M, delay) <= start) hear(state.heard);
      sum();
      if (uniforms) state.theta = threshold(uniforms);
      let mean = 0;
      for (let t = start; t < stop; t += 1) {
        const q = passed[above[t]] / passed[0];
        const step = beta - (correct[t] ? 0 : 1);
        state.offload[t] = q;
        mean += step * q;
        state.cost += beta * q + (correct[t] ? 0 : 1 - q);
        state.wrong += correct[t] ? 0 : 1;
        state.rule += confidence[t] < 1 - beta ? beta : correct[t] ? 0 : 1;
        state.exposure += 1 + 2 * (t - state.heard);
        for (let k = above[t]; k < cells; k += 1) past[k] += step;
      }
      if (adaptive) hearBatch(start, stop, mean);
      state.done = stop;
      state.batches += 1;
      return [start, stop];
    };
    state.best = () => state.wrong + least(past);
    state.boundSoFar = () => (adaptive ? 2 * gap : rate ? L / rate + (rate * state.exposure) / 8 : 0);
    weighAfresh();
    return state;
  };

  const replay = (confidence, correct, beta, M, eta, delay) => {
    const state = create(confidence, correct, beta, M, eta, delay);
    while (state.done < state.n) state.next();
    const { offload, cost, n } = state;
    const bound = state.adaptive ? state.boundSoFar() : state.bound;
    return { offload, averageCost: cost / n, regret: cost - state.best(), eta: state.eta, bound };
  };

  // ---- A trace of one's own: a table with the columns confidence and correct. ----

  const MOST = 20000; // samples: the time grows with their square

  const readTable = (text) => {
    const lines = text.split(/\r?\n/).map((line) => line.replace(/^\uFEFF/, "")).filter((line) => line.trim() !== "");
    const separator = [",", ";", "\t"].find((each) => (lines[0] ?? "").includes(each)) ?? ",";
    const cells = (line) => line.split(separator).map((cell) => cell.trim().replace(/^"(.*)"$/, "$1"));
    const head = cells(lines[0] ?? "").map((name) => name.toLowerCase());
    const places = ["confidence", "correct"].map((name) => head.indexOf(name));
    if (places.includes(-1)) throw new Error("the first line must name the columns confidence and correct");
    if (lines.length < 2) throw new Error("there is no sample below the first line");
    const flags = { 1: true, true: true, "1.0": true, 0: false, false: false, "0.0": false };
    const confidence = [];
    const correct = [];
    lines.slice(1, MOST + 1).forEach((line, row) => {
      const [p, right] = places.map((place) => cells(line)[place] ?? "");
      if (p === "" || !(Number(p) >= 0 && Number(p) <= 1))
        throw new Error(`line ${row + 2}: confidence must be a number from 0 to 1, got "${p}"`);
      if (!Object.hasOwn(flags, right.toLowerCase()))
        throw new Error(`line ${row + 2}: correct must be 1 or 0, got "${right}"`);
      confidence.push(Number(p));
      correct.push(flags[right.toLowerCase()]);
    });
    return { confidence: Float64Array.from(confidence), correct, left: Math.max(lines.length - 1 - MOST, 0) };
  };
  const saysCut = (left) => (left ? `Only the first ${MOST} samples are used; ${left} more are left out.` : "");

  // A shipped trace, as the build wrote it: doubles in base64, and a digit a sample.
  const unpack = ({ confidence, correct }) => {
    const bytes = Uint8Array.from(atob(confidence), (letter) => letter.charCodeAt(0));
    return { confidence: new Float64Array(bytes.buffer), correct: Array.from(correct, (digit) => digit === "1"), left: 0 };
  };

  // ---- The page. ----

  const root = document.getElementById("hi-learner");
  const at = (name) => root.querySelector(`#hi-learn-${name}`);
  const BATCHES = 8; // in the timeline
  const FIELDS = [
    ["beta", "β", (value) => value >= 0 && value <= 1, "a number from 0 to 1"],
    ["size", "the batch size M", (value) => Number.isInteger(value) && value >= 1, "a whole number from 1"],
    ["delay", "the delay", (value) => Number.isInteger(value) && value >= 0, "a whole number from 0"],
    ["eta", "the learning rate η", (value) => value > 0 && value < Infinity, "a positive number, or empty for the rate chosen beside it"],
  ];
  let [data, name, learner, history, recent, running] = [null, "", null, [], [], 0];

  // Two random numbers for a batch, the same whenever it is decided.
  const uniforms = (batch) => window.hiAdvice.uniforms(2, (batch * 0x9e3779b9) | 0);

  const complain = (text) => {
    at("error").textContent = text;
  };

  const settings = () => {
    const found = {};
    for (const [id, label, allowed, says] of FIELDS) {
      const text = at(id).value.trim();
      const empty = id === "eta" && text === "" && !at(id).validity.badInput;
      const fits = empty || (text !== "" && allowed(Number(text)));
      at(id).setAttribute("aria-invalid", String(!fits));
      if (!fits) return complain(`${label} must be ${says}; the figures stay as they were.`);
      found[id] = empty ? null : Number(text);
    }
    found.eta ??= at("rate").value === ADAPTIVE ? ADAPTIVE : null;
    if (found.eta === ADAPTIVE && found.delay > 0) {
      return complain("the adaptive rate must hear at once: set the delay to 0, or another rate; the figures stay as they were.");
    }
    complain("");
    return found;
  };

  const begin = () => {
    const chosen = settings();
    if (!chosen || !data) return;
    learner = create(data.confidence, data.correct, chosen.beta, chosen.size, chosen.eta, chosen.delay);
    [history, recent] = [[], []];
    stop();
    show();
  };

  const step = () => {
    const [start, end] = learner.next(uniforms(learner.batches));
    let offloads = 0;
    for (let t = start; t < end; t += 1) offloads += data.confidence[t] < learner.theta ? 1 : 0;
    recent = [...recent.slice(1 - BATCHES), { number: learner.batches, size: end - start, offloads }];
    const spacing = learner.n / 400;
    const last = history.at(-1)?.done ?? -Infinity;
    if (learner.batches > 400 && end < learner.n && Math.floor(end / spacing) === Math.floor(last / spacing)) return;
    const { done, cost, rule } = learner;
    const best = learner.best();
    history.push({ done, cost: cost / done, rule: rule / done, best: best / done, regret: cost - best, bound: learner.boundSoFar() });
  };

  const stop = () => {
    cancelAnimationFrame(running);
    running = 0;
    at("run").textContent = learner?.done === learner?.n ? "Run again" : "Run";
    at("says").setAttribute("aria-live", "polite");
  };

  const run = () => {
    if (running) return stop();
    const frame = () => {
      const until = learner.done + learner.n / 60;
      do step();
      while (learner.done < until && learner.done < learner.n);
      show();
      running = learner.done < learner.n ? requestAnimationFrame(frame) : 0;
      if (!running) stop();
    };
    if (learner.done >= learner.n) begin();
    at("run").textContent = "Pause";
    at("says").setAttribute("aria-live", "off"); // nobody can listen to sixty updates
    running = requestAnimationFrame(frame);
  };

  const finish = () => {
    while (learner.done < learner.n) step();
    stop();
    show();
  };

  const digits = (value, count) => (isFinite(value) ? value.toFixed(count) : "–");

  const show = () => {
    const { done, n, batches, theta, eta, bound, cost, rule } = learner;
    const best = learner.best();
    at("next").disabled = at("end").disabled = done >= n;
    at("says").textContent = done === 0
      ? `${name}: ${n} samples. ` + (learner.adaptive
        ? "The learning rate follows what is lost, and so does the bound on the regret."
        : `Learning rate η = ${eta.toPrecision(3)}; the bound on the regret after all of them is ${digits(bound, 1)}.`)
      : `${done} of ${n} samples, ${batches === 1 ? "1 batch" : `${batches} batches`}. θ drawn last: ${digits(theta, 3)}. ` +
        `Cost a sample ${digits(cost / done, 3)}; best fixed θ in hindsight ${digits(best / done, 3)}, ` +
        `θ = 1 − β ${digits(rule / done, 3)}. Regret ${digits(cost - best, 1)}, bound so far ${digits(learner.boundSoFar(), 1)}.`;
    draw();
    drawTimeline();
  };

  // The density as steps; where there are more cells than can be seen, neighbours are drawn together.
  const density = () => {
    const { edges, weight } = learner;
    const total = weight.reduce((sum, value) => sum + value, 0);
    const x = [0];
    const y = [];
    let held = 0;
    for (let k = 0; k < weight.length; k += 1) {
      held += weight[k];
      const width = edges[k + 1] - x.at(-1);
      if (width < 1 / 400 && k + 1 < weight.length) continue;
      x.push(edges[k + 1]);
      y.push(held / total / width);
      held = 0;
    }
    return { x, y: [...y, y.at(-1)] };
  };

  const draw = () => {
    const plot = at("plot");
    const narrow = plot.clientWidth < 640;
    const colour = getComputedStyle(root).color;
    const blue = document.documentElement.dataset.theme === "dark" ? "#56B4E9" : "#0072B2";
    const { x, y } = density();
    const samples = history.map((each) => each.done);
    const line = (key, label, shade, axis, dash) => ({
      x: samples, y: history.map((each) => each[key]), name: label, mode: samples.length < 30 ? "lines+markers" : "lines",
      xaxis: `x${axis}`, yaxis: `y${axis}`, line: { color: shade, width: 2, dash },
    });
    const rule = 1 - learner.beta;
    const top = Math.max(...y) * 1.05;
    const upright = (where, label, shade, dash) => ({
      x: [where, where], y: [0, top], name: label, mode: "lines", xaxis: "x1", yaxis: "y1", line: { color: shade, width: 1.5, dash },
    });
    const traces = [
      { x, y, name: "density of θ", mode: "lines", line: { shape: "hv", color: blue, width: 1.5 }, fill: "tozeroy", xaxis: "x1", yaxis: "y1" },
      ...(learner.done ? [upright(learner.theta, "θ drawn last", "#D55E00", "solid")] : []),
      { ...upright(rule, "θ = 1 − β", "#888888", "dot"), legendgroup: "rule" },
      line("cost", "the learner’s cost", blue, 2, "solid"),
      line("best", "best fixed θ so far", "#009E73", 2, "dash"),
      { ...line("rule", "θ = 1 − β", "#888888", 2, "dot"), legendgroup: "rule", showlegend: false },
      line("regret", "regret", blue, 3, "solid"),
      line("bound", "its bound", "#CC79A7", 3, "dash"),
    ].map((trace) => ({ ...trace, hoverinfo: narrow ? "skip" : "x+y+name" }));
    const layout = {
      grid: { rows: narrow ? 3 : 1, columns: narrow ? 1 : 3, pattern: "independent", ygap: 0.35, xgap: 0.25 },
      height: narrow ? 920 : 380, margin: { l: 50, r: 10, t: 20, b: 45 }, font: { color: colour, size: 12 },
      legend: { orientation: "h", y: narrow ? -0.08 : -0.22 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      hoverlabel: { font: { color: "#222222" }, bgcolor: "#ffffff" },
    };
    const grid = { gridcolor: "rgba(128,128,128,0.25)", zeroline: false };
    const range = [0, learner.done || learner.n];
    [["threshold θ", "density", [0, 1]], ["samples", "cost a sample", range], ["samples", "regret", range]].forEach(([below, beside, reach], k) => {
      layout[`xaxis${k + 1}`] = { ...grid, title: { text: below }, range: reach, nticks: 5 };
      layout[`yaxis${k + 1}`] = { ...grid, title: { text: beside }, rangemode: "tozero" };
    });
    layout.yaxis3.type = "log"; // the regret is far below its bound
    delete layout.yaxis3.rangemode;
    // The first costs are those of a few samples: they would squeeze all others.
    const costs = history.filter((each) => each.done >= learner.n / 50).flatMap((each) => [each.cost, each.best, each.rule]);
    if (costs.length) {
      const [low, high] = [Math.min(...costs), Math.max(...costs)];
      layout.yaxis2.range = [Math.max(low - 0.1 * (high - low) - 0.005, 0), high + 0.1 * (high - low) + 0.005];
    }
    Plotly.react(plot, traces, layout, { displayModeBar: false, responsive: true });
  };

  // The latest batches on device, uplink, network and server, as if all had been idle before the first of them.
  const LANES = ["device", "uplink", "network", "server"];
  const spans = (tau) => {
    const found = [];
    let [clock, uplink, server] = [0, 0, 0];
    for (const { number, size, offloads } of recent) {
      const work = (lane, from, time, label) => {
        if (time > 0) found.push({ lane, from, to: from + time, label, number });
        return from + time;
      };
      clock = work(0, clock, size * tau.tau_ed, `S-ML, ${size} samples`);
      if (offloads === 0) continue;
      uplink = work(1, Math.max(clock, uplink), offloads * tau.tau_tx, `${offloads} images sent`);
      const there = work(2, uplink, tau.tau_nw / 2, "on the way there");
      server = work(3, Math.max(there, server), offloads * tau.tau_es, `L-ML, ${offloads} images`);
      const back = work(2, server, tau.tau_nw / 2, "on the way back");
      if (learner.delay === 0) clock = back; // waits for the answer
    }
    return found;
  };

  const drawTimeline = () => {
    const tau = window.batchHI.setting();
    const box = at("timeline");
    if (!tau || recent.length === 0) return box.replaceChildren();
    const [width, left, row] = [Math.max(box.clientWidth, 280), 62, 30];
    const found = spans(tau);
    const end = Math.max(...found.map((span) => span.to), 1e-9);
    const scale = (width - left - 12) / end;
    const power = 10 ** Math.floor(Math.log10(end / 4));
    const tick = [1, 2, 5, 10].map((k) => k * power).find((each) => end / each <= (width < 500 ? 4 : 8)) ?? 10 * power;
    const parts = LANES.map((lane, k) => `<text x="0" y="${k * row + 20}">${lane}</text>`);
    for (let time = 0; time <= end; time += tick) {
      const x = left + time * scale;
      parts.push(`<line x1="${x}" x2="${x}" y1="0" y2="${LANES.length * row}" class="tick"/>`);
      parts.push(`<text x="${x}" y="${LANES.length * row + 16}" text-anchor="middle">${Number(time.toPrecision(6))}</text>`);
    }
    for (const { lane, from, to, label, number } of found) {
      const place = `x="${left + from * scale}" width="${Math.max((to - from) * scale, 1)}" y="${lane * row + 5}" height="${row - 10}"`;
      parts.push(`<rect ${place} class="hi-lane-${lane}${number % 2 ? "" : " hi-even"}"><title>batch ${number}: ${label}, ${digits(to - from, 2)} ms</title></rect>`);
    }
    const sent = recent.filter((batch) => batch.offloads > 0).length;
    const latest = recent.length === 1 ? "The first batch takes" : `The last ${recent.length} batches take`;
    const says = `${latest} ${digits(end, 1)} ms; ${sent} of ${recent.length} sent something.`;
    at("span").textContent = `${says} Full and pale colours alternate from batch to batch; times in ms, from the fields above; the device ${learner.delay ? "goes on while answers are out" : "waits for each answer"}.`;
    box.innerHTML = `<svg role="img" aria-label="${says}" width="${width}" height="${LANES.length * row + 22}">${parts.join("")}</svg>`;
  };

  // ---- What starts what. ----

  const use = (found, title) => {
    [data, name] = [found, title];
    begin();
    if (found.left) complain(saysCut(found.left));
  };

  const choose = () => {
    const option = at("trace").selectedOptions[0];
    at("file").value = "";
    use(unpack(window.hiTraces[option.value]), option.text);
  };

  const take = async (file) => {
    try {
      const found = readTable(await file.text());
      use(found, file.name);
    } catch (error) {
      complain(`${file.name}: ${error.message}. The figures stay as they were.`);
    }
  };

  at("trace").addEventListener("change", choose);
  at("file").addEventListener("change", () => at("file").files[0] && take(at("file").files[0]));
  root.addEventListener("dragover", (event) => event.preventDefault());
  root.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  for (const id of ["rate", ...FIELDS.map(([field]) => field)]) at(id).addEventListener("change", begin);
  at("next").addEventListener("click", () => { stop(); step(); show(); });
  at("run").addEventListener("click", run);
  at("end").addEventListener("click", finish);
  at("again").addEventListener("click", begin);
  new MutationObserver(() => show()).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  document.getElementById("hi-decide").addEventListener("input", () => drawTimeline());
  addEventListener("resize", () => drawTimeline());

  Object.assign(window.batchHI, { replay, readTable, saysCut, unpack });
  root.hidden = false;
  choose();
  finish(); // a picture to begin with
})();
