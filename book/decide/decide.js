// The page "Decide": what is asked, the recommendation in one sentence, and the picture; advice.js does the arithmetic.
(() => {
  "use strict";

  const root = document.getElementById("hi-decide");
  const { fields, presets, start } = JSON.parse(document.getElementById("hi-decide-data").textContent);
  const control = (id) => root.querySelector(`#hi-${id}`);
  const slider = (id) => root.querySelector(`#hi-${id}-slider`);
  const says = control("says");
  const plot = control("plot");
  const why = control("why");
  const CHOICES = ["log", "aim", "window", "unit", "connection", "calibrated"];
  const { short, digits, lines, whatToSet } = window.hiAdvice;
  let own = null; // a log that was dropped here
  let found = null;

  const unpack = ({ confidence, correct, lml }) => {
    const bytes = Uint8Array.from(atob(confidence), (letter) => letter.charCodeAt(0));
    return {
      confidence: new Float64Array(bytes.buffer), correct: Array.from(correct, Number),
      lml: lml ? Float64Array.from(lml, Number) : null,
    };
  };

  // ---- What is asked. ----

  const asksFor = { rho: "ratio", calibrated: "ratio", gap: "log", price: "log", alpha: "both", deadline: "deadline", miss: "deadline" };
  const shown = (id) => {
    const part = asksFor[id];
    if (part === "ratio" || part === "log") return (control("log").value !== "") === (part === "log");
    return part === undefined || control("aim").value === part;
  };

  const number = (field) => {
    const text = control(field.id).value.trim();
    if (text === "" && field.empty) return null;
    const value = Number(text);
    const inside = field.open ? value > field.low && value < field.high : value >= field.low && value <= field.high;
    return text === "" || !inside || (field.whole && !Number.isInteger(value)) ? NaN : value;
  };

  const read = () => {
    const asked = Object.fromEntries(CHOICES.map((id) => [id, id === "calibrated" ? control(id).checked : control(id).value]));
    for (const field of fields) {
      if (!shown(field.id)) continue;
      asked[field.id] = number(field);
      if (Number.isNaN(asked[field.id])) return { wrong: field };
    }
    return { asked };
  };

  const tau = (asked) => ({
    tau_ed: asked.tau_ed, tau_es: asked.tau_es, tau_nw: asked.tau_nw,
    tau_tx: ((asked.kilobytes * 1024 * 8) / (asked.rate * 1e6)) * 1e3,
  });

  const conditionsFor = (asked, n) => {
    const paced = Boolean(asked.gap);
    const arrivals = paced ? Float64Array.from({ length: n }, (_, k) => k * asked.gap) : null;
    const late = asked.aim === "deadline";
    return {
      deadline: late ? asked.deadline : null, miss: late ? asked.miss / 100 : 0.05,
      window: { 1: null, inf: Infinity }[asked.window] === undefined ? Number(asked.window) : { 1: null, inf: Infinity }[asked.window],
      unit: asked.unit, rate: asked.rate * 1e6, connection: asked.connection, devices: asked.devices, price: asked.price,
      arrivals, spacing: paced && n > 1 ? arrivals[n - 1] / (n - 1) : null,
    };
  };

  const advise = (asked) => {
    const alpha = asked.aim === "both" ? asked.alpha : null;
    if (asked.log === "") {
      const others = { beta: asked.beta, calibrated: asked.calibrated };
      return window.hiAdvice.fromRatio(asked.rho, tau(asked), conditionsFor(asked, 0), alpha, others);
    }
    const log = asked.log === "own" ? own : unpack(window.hiTraces[asked.log]);
    return window.hiAdvice.fromLog(log, asked.beta, tau(asked), conditionsFor(asked, log.confidence.length), alpha);
  };

  // ---- What is shown. ----

  let waiting = 0;
  const update = () => {
    const { wrong, asked } = read();
    for (const field of fields) {
      control(field.id).setAttribute("aria-invalid", String(field === wrong));
      control(field.id).closest(".hi-field").hidden = !shown(field.id);
    }
    control("calibrated").closest(".hi-field").hidden = !shown("calibrated");
    if (wrong) return complain(wrong);
    if (asked.devices > 1 && asked.gap) {
      return tell("Leave the time between samples empty where several devices share the server: each is then at work all the time.");
    }
    if (asked.log === "own" && own === null) return tell("Choose a file: a CSV with the columns confidence and correct.");
    clearTimeout(waiting);
    history.replaceState(null, "", `#${address(asked)}`);
    control("link").href = location.href;
    root.setAttribute("aria-busy", "true");
    waiting = setTimeout(() => show(asked), 30);
    return null;
  };

  const complain = (wrong) => {
    const brackets = wrong.open ? ["(", ")"] : ["[", "]"];
    const kind = wrong.whole ? "a whole number" : "a number";
    tell(`${wrong.label} must be ${kind} in ${brackets[0]}${wrong.low}, ${wrong.high}${brackets[1]}${wrong.empty ? ", or empty" : ""}; the picture shows the last setting that was complete.`);
  };

  const tell = (text) => {
    says.textContent = text;
  };

  const address = (asked) => {
    const otherwise = { ...start, ...(presets[asked.log] ?? {}) };
    const kept = Object.entries(asked).filter(([id, value]) => value !== otherwise[id] && value !== null);
    return kept.map(([id, value]) => `${id}=${encodeURIComponent(value)}`).join("&");
  };

  const show = (asked) => {
    found = advise(asked);
    const text = whatToSet(found);
    says.textContent = `Recommended: ${text}.`;
    control("tau_tx").textContent = digits(tau(asked).tau_tx);
    draw();
    if (why.open) explain();
    else why.dataset.stale = "true";
    root.setAttribute("aria-busy", "false");
    window.batchHI.shown += 1;
  };

  const explain = () => {
    delete why.dataset.stale;
    const list = document.createElement("ul");
    for (const line of lines(found).slice(1)) list.append(Object.assign(document.createElement("li"), { textContent: line }));
    why.querySelector("div").replaceChildren(list, policiesTable(), waysTable());
  };

  const table = (caption, head, rows) => {
    const cells = (tag, values) => values.map((value) => `<${tag}${tag === "th" ? ' scope="col"' : ""}>${value}</${tag}>`).join("");
    const element = document.createElement("table");
    element.innerHTML = `<caption>${caption}</caption><thead><tr>${cells("th", head)}</tr></thead><tbody>${
      rows.map((row) => `<tr${row.chosen ? ' class="hi-chosen"' : ""}>${cells("td", row.cells)}</tr>`).join("")}</tbody>`;
    return element;
  };

  const policiesTable = () => {
    if (found.policies.length === 0) return "";
    const rows = found.policies.map((one) => ({
      chosen: one.name === found.policy,
      cells: [one.name, isFinite(one.threshold) ? one.threshold.toFixed(4) : "", `${(100 * one.offloadRatio).toFixed(1)} %`, one.averageCost.toFixed(4)],
    }));
    return table(`Policies, on the second half of the samples; the L-ML ${found.counted}`, ["policy", "offload below", "offloads", "cost"], rows);
  };

  const waysTable = () => {
    const few = found.rows.filter((row) => row === found.row || [1, 2, 3, 4, 6, 8, 16, 64].includes(row.way.size));
    const rows = few.map((row) => ({
      chosen: row === found.row,
      cells: [short(row.way), isFinite(row.way.longestWait) ? digits(row.way.longestWait) : "", ...[row.systemTime, row.responseTime, row.p95].map(digits),
        Number.isNaN(row.late) ? "" : `${(100 * row.late).toFixed(2)} %`],
    }));
    return table("Ways to send, times in ms", ["send", "longest wait", "t<sub>s</sub>", "t<sub>r</sub>", "95 %", "late"], rows);
  };

  const draw = () => {
    const narrow = plot.clientWidth < 640;
    const dark = document.documentElement.dataset.theme === "dark";
    const [ink, blue, orange] = [getComputedStyle(root).color, dark ? "#56B4E9" : "#0072B2", dark ? "#FF8C42" : "#D55E00"];
    const traces = [];
    for (const window of new Set(found.rows.map((row) => row.way.window))) {
      const rows = found.rows.filter((row) => row.way.window === window);
      const name = window === null ? "waits for each answer" : `${window === Infinity ? "any number" : window} out`;
      traces.push({
        x: rows.map((row) => row.systemTime), y: rows.map((row) => row.responseTime), name, mode: "lines+markers+text",
        text: rows.map((row) => ([1, 2, 4, 8, 16, 64].includes(row.way.size) ? row.way.size : "")), textposition: "top right",
        textfont: { size: 10 }, customdata: rows.map((row) => short(row.way)),
        hovertemplate: "%{customdata}<br>t<sub>s</sub> %{x:.4g} ms, t<sub>r</sub> %{y:.4g} ms<extra></extra>",
        line: { color: blue, width: 1.2, dash: window === null ? "solid" : "dot" }, marker: { color: blue, size: 5, symbol: window === null ? "circle" : "square" },
      });
    }
    if (found.row) {
      traces.push({
        x: [found.row.systemTime], y: [found.row.responseTime], name: "recommended", mode: "markers", hoverinfo: "skip",
        marker: { color: "rgba(0,0,0,0)", size: 15, line: { color: orange, width: 3 } },
      });
    }
    if (found.policies.length) {
      traces.push({
        type: "bar", orientation: "h", xaxis: "x2", yaxis: "y2", showlegend: false,
        x: found.policies.map((one) => one.averageCost), y: found.policies.map((one) => one.name),
        text: found.policies.map((one) => one.averageCost.toFixed(3)), textposition: "auto",
        marker: { color: found.policies.map((one) => (one.name === found.policy ? orange : blue)) },
        hovertemplate: "%{y}: %{x:.4f}<extra></extra>",
      });
    }
    const grid = { gridcolor: "rgba(128,128,128,0.25)", zeroline: false };
    const bars = found.policies.length > 0;
    const layout = {
      height: narrow ? (bars ? 450 : 300) : 330, margin: { l: 55, r: 10, t: 5, b: 40 }, font: { color: ink, size: 12 }, hovermode: "closest",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hoverlabel: { font: { color: "#222222" }, bgcolor: "#ffffff" },
      legend: { x: narrow ? 1 : bars ? 0.6 : 1, y: 1, xanchor: "right", yanchor: "top", bgcolor: "rgba(0,0,0,0)" },
      xaxis: { ...grid, ...axis(found.rows.map((row) => row.systemTime)), title: { text: "system time t<sub>s</sub> (ms a sample)" }, domain: narrow || !bars ? [0, 1] : [0, 0.6] },
      yaxis: { ...grid, ...axis(found.rows.map((row) => row.responseTime)), title: { text: "response time t<sub>r</sub> (ms)" }, domain: narrow && bars ? [0.48, 1] : [0, 1] },
      xaxis2: { ...grid, title: { text: "cost a sample" }, domain: narrow ? [0.1, 1] : [0.74, 1], anchor: "y2", rangemode: "tozero" },
      yaxis2: { autorange: "reversed", domain: narrow ? [0, 0.3] : [0, 1], anchor: "x2" },
    };
    if (!bars) [delete layout.xaxis2, delete layout.yaxis2];
    plot.setAttribute("aria-label", `Response time against system time of ${found.rows.length} ways to send${bars ? ", and the cost of each policy" : ""}. ${says.textContent}`);
    Plotly.react(plot, traces, layout, { displayModeBar: false, responsive: true });
  };

  // A logarithmic axis with plain numbers, unless a time is zero.
  const axis = (values) => {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    if (low <= 0) return { rangemode: "tozero" };
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) ticks.push(...[1, 2, 5].map((k) => k * 10 ** power));
    return { type: "log", tickvals: ticks, ticktext: ticks.map((tick) => String(Number(tick.toPrecision(3)))) };
  };

  // ---- What moves what. ----

  const set = (id, value) => {
    const element = control(id);
    if (element.type === "checkbox") element.checked = String(value) === "true";
    else element.value = value ?? "";
    if (slider(id)) slider(id).value = value;
  };

  const take = async (file) => {
    try {
      const { confidence, correct, left } = window.batchHI.readTable(await file.text());
      own = { confidence, correct: correct.map(Number), lml: null };
      control("file-error").textContent = window.batchHI.saysCut(left);
      control("log").value = "own";
      update();
    } catch (error) {
      control("file-error").textContent = `${file.name}: ${error.message}. The picture stays as it was.`;
    }
  };

  const fromAddress = () => {
    const asked = new URLSearchParams(location.hash.slice(1));
    const log = asked.get("log") ?? start.log;
    for (const [id, value] of Object.entries({ ...start, ...(presets[log] ?? {}), ...Object.fromEntries(asked) }))
      if (id in start && !(id === "log" && value === "own" && own === null)) set(id, value);
    update();
  };

  for (const field of fields) {
    control(field.id).addEventListener("input", () => {
      if (slider(field.id)) slider(field.id).value = control(field.id).value;
      update();
    });
    slider(field.id)?.addEventListener("input", () => {
      control(field.id).value = slider(field.id).value;
      update();
    });
  }
  for (const id of CHOICES) control(id).addEventListener("change", () => {
    if (id === "log") for (const [name, value] of Object.entries(presets[control("log").value] ?? {})) set(name, value);
    update();
  });
  control("file").addEventListener("change", () => control("file").files[0] && take(control("file").files[0]));
  root.addEventListener("dragover", (event) => event.preventDefault());
  root.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
  why.addEventListener("toggle", () => why.open && why.dataset.stale && explain());
  addEventListener("hashchange", fromAddress);
  new MutationObserver(() => found && draw()).observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });

  window.batchHI = {
    shown: 0,
    setting: () => {
      const { asked } = read();
      return asked ? tau(asked) : null;
    },
    found: () => found,
  };
  root.hidden = false;
  fromAddress();
})();
