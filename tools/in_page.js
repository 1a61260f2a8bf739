// Whether the scripts of the page "Decide" still compute what hi_lib does: node in_page.js FOLDER CASES, by in_page.py.
"use strict";
const { readFileSync } = require("fs");
const [folder, cases] = process.argv.slice(2);
const { advice, replays, tables } = JSON.parse(readFileSync(cases, "utf-8"));

globalThis.window = {};
(0, eval)(readFileSync(`${folder}/advice.js`, "utf-8"));
const { fromLog, fromRatio, lines } = window.hiAdvice;
// What only the page needs, its fields and its pictures, begins after the learner and the reader of tables.
const [learner] = readFileSync(`${folder}/learner.js`, "utf-8").split("  // ---- The page. ----");
const { create, replay, readTable } = (0, eval)(`${learner}  return { create, replay, readTable };\n})()`);

// JSON has no infinity.
const finite = (value) => (value === null || Number.isNaN(value) ? null : value === Infinity ? "inf" : value);
const infinite = (value) => (value === "inf" ? Infinity : value);

const advised = ({ confidence, correct, lml, beta, alpha, timing, conditions, ratio, calibrated }) => {
  const { gap } = conditions;
  const arrivals = gap === null ? null : Float64Array.from(confidence, (_, k) => k * gap);
  const spacing = gap === null ? null : arrivals[arrivals.length - 1] / (arrivals.length - 1);
  const given = { ...conditions, window: infinite(conditions.window), arrivals, spacing };
  const log = { confidence: Float64Array.from(confidence), correct, lml: lml && Float64Array.from(lml) };
  const found = ratio === null ? fromLog(log, beta, timing, given, alpha) : fromRatio(ratio, timing, given, alpha, { beta, calibrated });
  const { row } = found;
  const why = found.why();
  return {
    policy: found.policy, threshold: finite(found.threshold), keepsUp: found.keepsUp, cost: found.cost,
    ratio: found.offloadRatio, nextPolicy: found.nextPolicy, assumption: why.assumption, waitingCosts: why.waitingCosts,
    never: found.againstNever && [found.againstNever.mean, found.againstNever.error],
    next: found.againstNext && [found.againstNext.mean, found.againstNext.error],
    changes: why.changes.map(({ what, policy, send }) => [what, policy, send]), lines: lines(found),
    way: row && [row.way.size, finite(row.way.longestWait), finite(row.way.window)],
    times: row && [row.systemTime, row.responseTime, row.p95, finite(row.late), row.transmissions, row.cold, row.idle],
  };
};

const DRAW = [0.3, 0.25]; // a share of all weight, and a place in a cell
const replayed = ({ confidence, correct, beta, size, eta, delay, drawn }) => {
  const asked = [Float64Array.from(confidence), correct, beta, size, eta, delay];
  const { offload, ...numbers } = replay(...asked);
  const state = create(...asked);
  while (state.done + size < state.n) state.next();
  state.next(DRAW);
  return { offload: Array.from(offload), ...numbers, exposure: state.exposure, boundSoFar: state.boundSoFar(), theta: drawn ? state.theta : null };
};

const read = (text) => {
  try {
    const { confidence, correct, left } = readTable(text);
    return [Array.from(confidence), correct, left];
  } catch (error) {
    return error.message;
  }
};

const CLOSE = 1e-9;
const differs = (found, expected) => {
  if (expected !== null && typeof expected === "object") {
    if (found === null || typeof found !== "object") return true;
    const keys = Object.keys(expected);
    return (Array.isArray(expected) && found.length !== keys.length) || keys.some((key) => differs(found[key], expected[key]));
  }
  if (typeof expected === "number" && typeof found === "number") return !(Math.abs(found - expected) <= CLOSE * Math.max(1, Math.abs(expected)));
  return found !== expected;
};

const all = [[advised, advice], [replayed, replays], [read, tables]];
const wrong = all.flatMap(([compute, some]) => some.map((each) => [compute, each]))
  .findIndex(([compute, { given, expected }]) => differs(compute(given), expected));
if (wrong >= 0) console.log(`case ${wrong} differs`);
process.exit(wrong >= 0 ? 1 : 0);
