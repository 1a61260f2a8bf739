// The batch-size explorer: the timing model of hi_lib/timing.py and the times of runs in hi_lib/run_times.py, live.
// A browser test compares its numbers with theirs.
(() => {
  "use strict";

  // ---- The model. Times in ms; M is a batch size, s a setting. ----

  const sent = (M, rho) => (rho === 1 ? 1 : -Math.expm1(M * Math.log1p(-rho)));
  const service = (s) => s.tau_es + s.tau_tx;
  const slope = (s, model) =>
    s.rho * (model === "average" ? 0.5 : 1 - s.rho / 2) * s.tau_ed + s.rho ** 2 * service(s);

  // Transmissions for every M samples; with the model "offloads" M counts offloads, here and below.
  const transmissions = (M, s, model) =>
    model === "paper" ? 1 : model === "offloads" ? s.rho : sent(M, s.rho);

  const systemTime = (M, s, model) =>
    s.tau_ed + s.rho * service(s) + (transmissions(M, s, model) * s.tau_nw) / M;

  const responseTime = (M, s, model) => {
    if (model === "offloads") {
      const waited = s.rho > 0 ? (s.tau_ed * (M - 1)) / 2 : 0;
      return s.tau_ed + s.rho * (s.tau_nw + service(s) * M) + waited;
    }
    if (model === "paper") return slope(s, model) * M + s.rho * s.tau_nw + (1 - s.rho / 2) * s.tau_ed;
    const moment = s.rho * (1 - s.rho) + s.rho ** 2 * M;
    const position = model === "worst" ? s.rho * (M + 1) - (moment + s.rho) / 2 : (s.rho * (M + 1)) / 2;
    return s.tau_ed * (position + 1 - s.rho) + s.rho * s.tau_nw + moment * service(s);
  };

  const objective = (M, s, model) =>
    s.alpha * systemTime(M, s, model) + (1 - s.alpha) * responseTime(M, s, model);

  // The real minimiser: where the slope of f changes its sign, found by halving; inf where f falls for ever.
  const relaxed = (s, model) => {
    const gain = s.alpha * s.tau_nw;
    const price = (1 - s.alpha) * slope(s, model);
    if (gain === 0 || (s.rho === 0 && model !== "paper")) return 0;
    if (model === "offloads") return Math.sqrt((gain * s.rho) / ((1 - s.alpha) * (s.rho * service(s) + s.tau_ed / 2)));
    const upper = Math.sqrt(gain / price);
    if (model === "paper" || !isFinite(upper)) return upper;
    const q = s.rho === 1 ? -Infinity : Math.log1p(-s.rho);
    const rising = (M) => {
      const staying = s.rho === 1 ? 0 : -q * M * Math.exp(q * M);
      return price - (gain * (sent(M, s.rho) - staying)) / M ** 2 > 0;
    };
    let [low, high] = [1e-3, upper];
    for (let step = 0; step < 200 && high > low; step += 1) {
      const middle = Math.sqrt(low * high);
      if (rising(middle)) high = middle;
      else low = middle;
    }
    return high < 2e-3 ? 0 : high;
  };

  const optimum = (s, model) => {
    const real = relaxed(s, model);
    if (!isFinite(real)) return { real, size: Infinity };
    const [low, high] = [Math.max(1, Math.floor(real)), Math.max(1, Math.ceil(real))];
    const closed = Math.max(1, Math.floor((1 + Math.sqrt(1 + 4 * real ** 2)) / 2));
    const better = objective(high, s, model) <= objective(low, s, model) ? high : low;
    return { real, size: model === "paper" ? closed : better };
  };

  // ---- The learner's own runs, at some batch sizes; `of` holds what they say of any device. ----

  const runSystem = (k, s, of) => s.tau_ed + of.offloaded[k] * service(s) + of.sent[k] * s.tau_nw;
  const runResponse = (k, s, of) =>
    of.waited[k] * s.tau_ed + of.served[k] * service(s) + of.offloaded[k] * s.tau_nw;
  const runObjective = (k, s, of) => s.alpha * runSystem(k, s, of) + (1 - s.alpha) * runResponse(k, s, of);
  const bestRun = (s, of) =>
    of.sent.reduce((best, _, k) => (runObjective(k, s, of) < runObjective(best, s, of) ? k : best), 0);

  // ---- The page. ----

  const root = document.getElementById("hi-explorer");
  const { presets, fields, models, sizes: runSizes, run: runName } = JSON.parse(document.getElementById("hi-explorer-data").textContent);
  const MODELS = Object.keys(models);
  const COLOURS = { paper: "#888888", worst: "#D55E00", average: "#0072B2", offloads: "#CC79A7", run: "#009E73" };
  const LARGEST = 4096;

  const number = (id) => root.querySelector(`#hi-${id}`);
  const slider = (id) => root.querySelector(`#hi-${id}-slider`);
  const preset = root.querySelector("#hi-preset");
  const beta = root.querySelector("#hi-beta");
  const says = root.querySelector("#hi-says");
  const plot = root.querySelector("#hi-plot");

  // The preset and β whose runs are meant; they are, as long as the offload ratio is theirs.
  let source = null;
  const runs = () => {
    const chosen = source && presets[source.preset];
    const meant = chosen && Number(number("rho").value) === chosen.ratios[source.beta];
    return (meant && chosen.runs[source.beta]) || null;
  };

  const show = (value, digits) => (isFinite(value) ? value.toFixed(digits) : "∞");
  const sendingTime = (s) => (s.kilobytes * 1024 * 8) / (s.rate * 1e6) * 1e3;

  // The first field that holds no allowed value, or the setting.
  const read = () => {
    const s = {};
    for (const field of fields) {
      const text = number(field.id).value.trim();
      const value = Number(text);
      const inside = field.open ? value > field.low && value < field.high : value >= field.low && value <= field.high;
      if (text === "" || !inside) return { wrong: field };
      s[field.id] = value;
    }
    return { setting: { ...s, tau_tx: sendingTime(s) } };
  };

  const update = () => {
    const { wrong, setting } = read();
    for (const field of fields) number(field.id).setAttribute("aria-invalid", String(field === wrong));
    if (wrong) {
      const brackets = wrong.open ? ["(", ")"] : ["[", "]"];
      const range = `${brackets[0]}${wrong.low}, ${wrong.high}${brackets[1]}`;
      says.textContent = `${wrong.label} must be a number in ${range}; the figures show the last setting that was complete.`;
      return;
    }
    const best = Object.fromEntries(MODELS.map((model) => [model, optimum(setting, model)]));
    root.querySelector("#hi-tau_tx").textContent = show(setting.tau_tx, 3);
    for (const model of MODELS) fillRow(model, best[model].real, best[model].size, setting);
    fillRow("vanilla", NaN, 1, setting);
    const of = runs();
    fillRun(of, setting);
    says.textContent =
      `Best batch size: ${show(best.paper.size, 0)} by the paper's formulas, ` +
      `${show(best.worst.size, 0)} by the independent ones with the offloads first, ` +
      `${show(best.average.size, 0)} with them anywhere; counted in offloads ${show(best.offloads.size, 0)}` +
      (of ? `. In samples, ${runSizes[bestRun(setting, of)]} in the learner's own runs.` : ".");
    const named = presets[preset.value] ? "preset" : "runs";
    const chosen = presets[preset.value] || of ? `&${named}=${source.preset}&beta=${source.beta}` : "";
    history.replaceState(null, "", "#" + fields.map((field) => `${field.id}=${number(field.id).value}`).join("&") + chosen);
    wanted = [setting, best, of];
    if (!waiting) requestAnimationFrame(drawLatest);
    waiting = true;
  };

  // A slider moves faster than a plot is drawn: only the newest setting counts.
  let [wanted, waiting] = [null, false];
  const drawLatest = () => {
    waiting = false;
    draw(...wanted);
  };

  // All rows but the paper's are counted exactly; at M = 1 it does not matter where the offloads stand.
  const fillRow = (row, real, size, s) => {
    const cell = (name) => root.querySelector(`#hi-${row}-${name}`);
    const model = row === "vanilla" ? "worst" : row;
    const at = Math.min(size, Number.MAX_VALUE);
    cell("real").textContent = row === "vanilla" ? "–" : show(real, 2);
    cell("size").textContent = show(size, 0);
    cell("system").textContent = show(systemTime(at, s, model), 2);
    cell("response").textContent = show(responseTime(at, s, model), 2);
    cell("objective").textContent = show(objective(at, s, model), 2);
    cell("true").textContent = show(objective(at, s, model === "offloads" ? model : "average"), 2);
  };

  const fillRun = (of, s) => {
    const k = of && bestRun(s, of);
    const values = of
      ? { size: show(runSizes[k], 0), system: show(runSystem(k, s, of), 2), response: show(runResponse(k, s, of), 2),
          objective: show(runObjective(k, s, of), 2), true: show(objective(runSizes[k], s, "average"), 2) }
      : {};
    for (const name of ["real", "size", "system", "response", "objective", "true"])
      root.querySelector(`#hi-run-${name}`).textContent = values[name] ?? "–";
  };

  const draw = (s, best, of) => {
    const finite = MODELS.map((model) => best[model].size).filter(isFinite);
    const last = Math.min(LARGEST, Math.max(32, 3 * Math.max(1, ...finite)));
    const sizes = [];
    for (let M = 1; M <= last; M = Math.max(M + 1, Math.round(M * 1.03))) sizes.push(M);
    const colour = getComputedStyle(root).color;
    const narrow = plot.clientWidth < 640;
    const panels = [systemTime, responseTime, objective];
    const measured = [runSystem, runResponse, runObjective];
    const titles = ["system time (ms)", "response time (ms)", "objective f (ms)"];
    const traces = [];
    panels.forEach((time, panel) => {
      const axes = { xaxis: `x${panel + 1}`, yaxis: `y${panel + 1}` };
      for (const model of MODELS) {
        if (panel === 0 && model === "average") continue; // the exact system time does not depend on the order
        traces.push({
          ...axes, x: sizes, y: sizes.map((M) => time(M, s, model)), mode: "lines", name: models[model],
          legendgroup: model, showlegend: panel === 2, line: { color: COLOURS[model], width: 2 },
        });
        if (panel === 2 && best[model].size <= last) {
          traces.push({
            ...axes, x: [best[model].size], y: [time(best[model].size, s, model)], mode: "markers", hoverinfo: "skip",
            legendgroup: model, showlegend: false, marker: { color: COLOURS[model], size: 10 },
          });
        }
      }
      if (of) {
        const shown = runSizes.map((_, k) => k).filter((k) => runSizes[k] <= last);
        const sizesOfMarks = shown.map((k) => (panel === 2 && k === bestRun(s, of) ? 11 : 6));
        traces.push({
          ...axes, x: shown.map((k) => runSizes[k]), y: shown.map((k) => measured[panel](k, s, of)),
          mode: "markers", name: runName, legendgroup: "run", showlegend: panel === 2,
          marker: { color: COLOURS.run, size: sizesOfMarks, symbol: "diamond" },
        });
      }
    });
    const layout = {
      grid: { rows: narrow ? 3 : 1, columns: narrow ? 1 : 3, pattern: "independent", ygap: 0.35, xgap: 0.3 },
      height: narrow ? 900 : 400, margin: { l: 45, r: 10, t: 30, b: 45 }, font: { color: colour, size: 12 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "x unified",
      hoverlabel: { font: { color: "#222222" }, bgcolor: "#ffffff" },
      legend: { orientation: "h", y: narrow ? -0.08 : -0.22 },
    };
    const powers = Array.from({ length: Math.floor(Math.log2(last)) + 1 }, (_, k) => 2 ** k);
    while (powers.length > 7) for (let k = powers.length - 2; k > 0; k -= 2) powers.splice(k, 1);
    titles.forEach((title, panel) => {
      const grid = { gridcolor: "rgba(128,128,128,0.25)", zeroline: false };
      const ticks = { tickvals: powers, ticktext: powers.map(String) };
      layout[`xaxis${panel + 1}`] = { ...grid, ...ticks, type: "log", title: { text: "M samples, or m offloads" } };
      layout[`yaxis${panel + 1}`] = { ...grid, title: { text: title }, rangemode: "tozero" };
    });
    Plotly.react(plot, traces, layout, { displayModeBar: false, responsive: true });
  };

  // ---- What moves what. ----

  const set = (id, value) => {
    number(id).value = value;
    slider(id).value = value;
  };

  const fill = () => {
    const chosen = presets[preset.value];
    if (!chosen) return;
    source = { preset: preset.value, beta: beta.value };
    for (const [id, value] of Object.entries(chosen.values)) set(id, value);
    set("rho", chosen.ratios[beta.value]);
  };

  const apply = () => {
    fill();
    update();
  };

  const offerBetas = () => {
    const betas = Object.keys(presets[preset.value]?.ratios ?? {});
    const middle = betas.includes(beta.value) ? beta.value : presets[preset.value]?.beta;
    beta.replaceChildren(...betas.map((value) => new Option(`β = ${value}`, value, false, value === middle)));
    beta.disabled = betas.length === 0;
  };

  const choose = () => {
    offerBetas();
    apply();
  };

  const own = () => {
    preset.value = "";
    offerBetas();
  };

  // The address bar: known fields over those of its preset, or else of what is there.
  const fromAddress = () => {
    const found = new URLSearchParams(location.hash.slice(1));
    const held = fields.filter((field) => found.has(field.id));
    if (presets[found.get("preset")]) {
      preset.value = found.get("preset");
      offerBetas();
      if (found.get("beta") in presets[preset.value].ratios) beta.value = found.get("beta");
      fill();
    } else if (held.length) {
      own();
      source = found.get("beta") in (presets[found.get("runs")]?.ratios ?? {})
        ? { preset: found.get("runs"), beta: found.get("beta") } : null;
    }
    for (const field of held) set(field.id, found.get(field.id));
    update();
  };

  for (const field of fields) {
    for (const [moved, follower] of [[number, slider], [slider, number]]) {
      moved(field.id).addEventListener("input", () => {
        follower(field.id).value = moved(field.id).value;
        own();
        update();
      });
    }
  }
  preset.addEventListener("change", choose);
  beta.addEventListener("change", apply);
  addEventListener("hashchange", fromAddress);
  new MutationObserver(update).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });

  window.batchHI = { setting: () => read().setting };
  root.hidden = false;
  const address = location.hash; // choosing the first preset writes its own
  preset.value = Object.keys(presets)[0];
  choose();
  if (address) {
    history.replaceState(null, "", address);
    fromAddress();
  }
})();
