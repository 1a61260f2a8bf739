// What to set, for a log or an offload ratio: hi_lib/advise (policies, ways, recommending) with the clock of
// hi_lib/events/queueing.py and the learner of hi_lib/_tree.py. A browser test compares every number with theirs.
(() => {
  "use strict";

  const SURE = 1.645;
  const ROUNDING = 1e-9;
  const SAME = 1e-12; // costs that differ by less are the same
  const SHOWN = 5e-5; // what would be told as nothing, with four digits, is left out
  const SIZES = [...Array.from({ length: 16 }, (_, k) => k + 1), 20, 24, 32, 48, 64, 96, 128, 192, 256];
  const NAMES = { never: "never", always: "always", rule: "θ = 1 − β", fitted: "fitted θ", learner: "learner" };
  const LEAST_TIMEOUT = 200;
  const SOONER = 0.99;
  const LATEST = 20;
  const MATTERS = 0.1;
  const OUT = 4;
  const NO_LOG = 10000;

  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const mean = (values) => sum(values) / values.length;
  const percentile = (values, level) =>
    Float64Array.from(values).sort()[Math.max(0, Math.ceil(level * values.length - ROUNDING) - 1)];

  // ---- HIL-F with the adaptive rate: a tree over the cells, whose nodes hold what is lost from their first cell on. ----

  const FIRST_GAP = 1e-6;

  const learned = (confidence, step, size) => {
    const n = confidence.length;
    const edges = Float64Array.from(new Set([0, ...Float64Array.from(confidence).sort(), 1]));
    const number = new Map(Array.from(edges, (edge, k) => [edge, k]));
    const cells = edges.length - 1;
    let shortest = 1;
    for (let k = 0; k < cells; k += 1) shortest = Math.min(shortest, edges[k + 1] - edges[k]);
    const L = -Math.log(shortest);
    let [rate, gap] = [L / FIRST_GAP, FIRST_GAP];
    const leaves = 2 ** Math.ceil(Math.log2(Math.max(cells, 1)));
    const [steps, least, mass] = [0, 0, 0].map(() => new Float64Array(2 * leaves));
    least.fill(Infinity);
    for (let k = 0; k < cells; k += 1) [least[leaves + k], mass[leaves + k]] = [0, edges[k + 1] - edges[k]];
    const weigh = (node) => {
      const [left, right] = [2 * node, 2 * node + 1];
      const beyond = steps[left] + least[right];
      steps[node] = steps[left] + steps[right];
      least[node] = Math.min(least[left], beyond);
      mass[node] = mass[left] ? mass[left] * Math.exp(-rate * (least[left] - least[node])) : 0;
      if (mass[right]) mass[node] += mass[right] * Math.exp(-rate * (beyond - least[node]));
    };
    const weighAll = () => {
      for (let node = leaves - 1; node >= 1; node -= 1) weigh(node);
    };
    const hear = (t) => {
      if (step[t] === 0 || confidence[t] <= 0 || confidence[t] >= 1) return;
      let node = leaves + number.get(confidence[t]);
      least[node] = steps[node] += step[t];
      while (node > 1) weigh((node >>= 1));
    };
    // Share of the mass in the cells from this one on.
    const shareFrom = (cell) => {
      if (cell >= cells) return 0;
      let [node, low, width, passed, above] = [1, 0, leaves, 0, 0];
      while (node < leaves) {
        width /= 2;
        const right = 2 * node + 1;
        if (cell < low + width) {
          if (mass[right]) above += mass[right] * Math.exp(-rate * (passed + steps[2 * node] + least[right] - least[1]));
          node *= 2;
        } else {
          passed += steps[2 * node];
          low += width;
          node = right;
        }
      }
      above += mass[node] * Math.exp(-rate * (passed + least[node] - least[1]));
      return Math.min(above / mass[1], 1);
    };
    weighAll();
    const offload = new Float64Array(n);
    for (let start = 0; start < n; start += size) {
      const stop = Math.min(start + size, n);
      let lost = 0;
      for (let t = start; t < stop; t += 1) {
        offload[t] = shareFrom(number.get(confidence[t]));
        if (confidence[t] > 0) lost += step[t] * offload[t];
      }
      const [low, before] = [least[1], mass[1]];
      for (let t = start; t < stop; t += 1) hear(t);
      if (L === 0) continue;
      gap += Math.max(lost - (least[1] - low - Math.log(mass[1] / before) / rate), 0);
      if (rate > (2 * L) / gap) {
        rate = L / gap;
        weighAll();
      }
    }
    return offload;
  };

  // ---- Policies: hi_lib/advise/policies.py. ----

  const sorted = (confidence) => Array.from(confidence, (_, k) => k).sort((a, b) => confidence[a] - confidence[b] || a - b);

  const bestThreshold = (confidence, correct, large, beta) => {
    const [order, n] = [sorted(confidence), confidence.length];
    let [right, best, before] = [sum(Array.from(correct, Number)), null, 0];
    for (let sent = 0; sent <= n; sent += 1) {
      const low = sent ? confidence[order[sent - 1]] : 0;
      const high = sent < n ? confidence[order[sent]] : 1;
      if (sent) right += large[order[sent - 1]] - correct[order[sent - 1]];
      if (high <= low) continue;
      const cost = 1 - right / n + beta * (sent / n);
      if (best === null || cost < best.cost) best = { cost, lower: before, upper: high };
      before = high;
    }
    const middle = (best.lower + best.upper) / 2;
    return middle > best.lower ? middle : best.upper;
  };

  // How right the L-ML is on each sample, by what is known of it.
  const answers = (lml) => {
    if (!lml || lml.every(Number.isNaN)) return {};
    if (!lml.some(Number.isNaN)) return { "as it is": lml };
    const taken = (value) => lml.map((right) => (Number.isNaN(right) ? value : right));
    return { "at best": taken(1), "at worst": taken(0) };
  };

  const judged = (name, threshold, share, { correct }, beta, large) => {
    const half = Math.floor(correct.length / 2);
    const cost = [];
    let right = 0;
    for (let t = half; t < correct.length; t += 1) {
      const answer = correct[t] + share[t] * (large[t] - correct[t]);
      right += answer;
      cost.push(1 - answer + beta * share[t]);
    }
    return { name, threshold, share, cost, averageCost: mean(cost), accuracy: right / cost.length,
      offloadRatio: mean(Array.from(share.slice(half))) };
  };

  const indifferent = (confidence, share) => {
    let [below, above] = [0, 1];
    for (let t = confidence.length - 1 - Math.floor(confidence.length / LATEST); t < confidence.length; t += 1) {
      if (share[t] > 0.5) below = Math.max(below, confidence[t]);
      else above = Math.min(above, confidence[t]);
    }
    return (below + above) / 2;
  };

  const difference = (one, other) => {
    const more = one.cost.map((value, t) => value - other.cost[t]);
    const middle = mean(more);
    return { mean: middle, error: Math.sqrt(mean(more.map((value) => (value - middle) ** 2)) / more.length) };
  };
  const clear = ({ mean: more, error }) => more > SURE * error + SAME;

  const compare = (log, beta) => {
    const { confidence, correct } = log;
    const [n, half] = [confidence.length, Math.floor(confidence.length / 2)];
    const offload = learned(confidence, correct.map((right) => beta - (right ? 0 : 1)), 1);
    const policies = {};
    for (const [says, large] of Object.entries({ "always right": correct.map(() => 1), ...answers(log.lml) })) {
      const thresholds = { never: 0, always: Infinity, rule: 1 - beta };
      if (n > 1) thresholds.fitted = bestThreshold(confidence.slice(0, half), correct.slice(0, half), large.slice(0, half), beta);
      policies[says] = Object.entries(thresholds).map(([name, theta]) =>
        judged(NAMES[name], theta, Float64Array.from(confidence, (p) => (p < theta ? 1 : 0)), log, beta, large));
      policies[says].push(judged(NAMES.learner, indifferent(confidence, offload), offload, log, beta, large));
    }
    const known = Object.keys(policies).filter((says) => says !== "always right");
    const counted = known.at(-1) ?? "always right";
    const chosen = (says) => {
      const cheapest = policies[says].reduce((best, one) => (one.averageCost < best.averageCost ? one : best));
      return policies[says].find((one) => !clear(difference(one, cheapest)));
    };
    const found = chosen(counted);
    const others = policies[counted].filter((one) => one !== found);
    const nextBest = others.reduce((best, one) => (one.averageCost < best.averageCost ? one : best));
    const pays = new Set((known.length ? known : ["always right"]).map((says) => ![NAMES.never, NAMES.always].includes(chosen(says).name)));
    return { policies: policies[counted], counted, chosen: found, nextBest, unclear: pays.size > 1 };
  };

  // ---- The clock: one device, its uplink and the server, first come, first served. ----

  const clock = (flags, timing, way, arrivals, byImages) => {
    const n = flags.length;
    const { tau_ed, tau_es, tau_tx } = timing;
    const counts = way.unit === "offloads";
    const slots = way.window === null ? 0 : Math.min(way.window, n);
    const wait = way.longestWait;
    const [started, answered] = [new Float64Array(n), new Float64Array(n)];
    const [done, waited] = [[], []];
    let [now, link, server, first, end] = [0, 0, 0, 0, 0];
    while (first < n) {
      let last = counts ? n : Math.min(first + way.size, n);
      let [closes, sent, begun] = [Infinity, 0, 0];
      for (let t = first; t < last; t += 1) {
        now = Math.max(now, Math.min(arrivals ? arrivals[t] : 0, Math.max(now, closes)));
        if (now >= closes) {
          last = t;
          break;
        }
        started[t] = now;
        if (t === first && !counts) closes = now + wait;
        now += tau_ed;
        answered[t] = now;
        if (!flags[t]) continue;
        sent += 1;
        if (sent === 1) {
          begun = now;
          if (counts) closes = now + wait;
        }
        if (counts && sent === way.size) {
          last = t + 1;
          break;
        }
      }
      let back = now;
      if (sent) {
        const network = byImages ? byImages(sent) : timing.tau_nw;
        waited.push(now - begun);
        if (slots && done.length >= slots) now = Math.max(now, done[done.length - slots]);
        link = Math.max(now, link) + sent * tau_tx;
        server = Math.max(link + network / 2, server) + sent * tau_es;
        back = Math.max(server + network / 2, done.at(-1) ?? 0);
        done.push(back);
        for (let t = first; t < last; t += 1) if (flags[t]) answered[t] = back;
        if (!slots) now = back;
      }
      end = Math.max(end, back);
      first = last;
    }
    const response = answered.map((time, t) => time - (arrivals ? arrivals[t] : started[t]));
    return { response, systemTime: end / n, waited };
  };

  // ---- Several devices at one server: hi_lib/events/crowd.py, the same additions in the same order. ----

  const [READY, COMES, LOOK] = [0, 1, 3];
  const MOST_SAMPLES = 40000;

  const heap = (before) => {
    const items = [];
    const swap = (a, b) => ([items[a], items[b]] = [items[b], items[a]]);
    return {
      get size() {
        return items.length;
      },
      push(item) {
        let k = items.push(item) - 1;
        while (k > 0 && before(items[k], items[(k - 1) >> 1])) swap(k, (k = (k - 1) >> 1));
      },
      pop() {
        const [first, last] = [items[0], items.pop()];
        if (items.length) {
          items[0] = last;
          for (let [k, least] = [0, 0]; ; k = least) {
            for (const child of [2 * k + 1, 2 * k + 2]) if (child < items.length && before(items[child], items[least])) least = child;
            if (least === k) break;
            swap(k, least);
          }
        }
        return first;
      },
    };
  };
  const earlier = (one, other) => {
    for (let k = 0; k < one.length; k += 1) if (one[k] !== other[k]) return one[k] < other[k];
    return false;
  };

  const crowd = (given, timing, way, devices) => {
    const flags = given.slice(0, Math.max(1, Math.floor(MOST_SAMPLES / devices)));
    const n = flags.length;
    const { tau_ed, tau_tx, tau_es } = timing;
    const half = timing.tau_nw / 2;
    const most = Math.min(way.size, n);
    const slots = way.window === null ? 0 : Math.min(way.window, n);
    const response = new Float64Array(n * devices);
    const all = Array.from({ length: devices }, (_, d) => ({
      turned: Math.floor((d * n) / devices), position: 0, clock: 0, images: 0, blocked: false, sent: 0, heard: 0, back: [],
      served: 0, ended: 0, uplink: 0,
    }));
    const offloaded = (d, t) => flags[(all[d].turned + t) % n];
    const batch = (d, first) => {
      const last = Math.min(first + (way.unit === "offloads" ? n : most), n);
      let images = 0;
      for (let t = first; t < last; t += 1) {
        images += offloaded(d, t);
        if (way.unit === "offloads" && images === most) return [t + 1, images];
      }
      return [last, images];
    };
    const transmission = (d) => {
      let first = all[d].served;
      let [last, images] = batch(d, first);
      while (images === 0) {
        first = last;
        [last, images] = batch(d, first);
      }
      return [first, last, images];
    };
    const [events, line] = [heap(earlier), heap(earlier)];
    const send = (d) => {
      const device = all[d];
      const before = device.sent - slots;
      device.blocked = slots > 0 && before >= device.heard;
      if (device.blocked) return;
      const now = slots > 0 && before >= 0 ? Math.max(device.clock, device.back[before]) : device.clock;
      events.push([now, READY, d, device.images]);
    };
    const compute = (d, from) => {
      const device = all[d];
      let [now, first, images] = [from, device.position, 0];
      while (images === 0 && first < n) {
        let last;
        [last, images] = batch(d, first);
        for (let t = first; t < last; t += 1) {
          const started = now;
          now += tau_ed;
          response[d * n + t] = offloaded(d, t) ? started : now - started;
        }
        first = last;
      }
      device.position = first;
      device.ended = Math.max(device.ended, now);
      if (!images) return;
      [device.clock, device.images] = [now, images];
      send(d);
    };
    let free = 0;
    for (let d = 0; d < devices; d += 1) compute(d, 0);
    while (events.size) {
      const [now, event, d, images] = events.pop();
      const device = all[d];
      if (event === READY) {
        let end = Math.max(now, device.uplink);
        for (let k = 0; k < images; k += 1) end += tau_tx;
        device.uplink = end;
        events.push([end + half, COMES, d, images]);
        device.sent += 1;
        if (slots > 0) compute(d, now);
      } else if (event === COMES) {
        line.push([now, d]);
        events.push([now, LOOK, d, 0]);
      } else if (now >= free && line.size) {
        const next = line.pop()[1];
        const taken = all[next];
        const [first, last, more] = transmission(next);
        taken.served = last;
        free = now;
        for (let k = 0; k < more; k += 1) free += tau_es;
        events.push([free, LOOK, 0, 0]);
        const back = free + half;
        for (let t = first; t < last; t += 1) if (offloaded(next, t)) response[next * n + t] = back - response[next * n + t];
        taken.ended = Math.max(taken.ended, back);
        taken.back.push(back);
        taken.heard += 1;
        if (slots === 0) compute(next, back);
        else if (taken.blocked) send(next);
      }
    }
    return { response, systemTime: mean(all.map((device) => device.ended / n)) };
  };

  // ---- What TCP takes once a connection has been idle: hi_lib/slow_start.py. ----

  const halvings = (idle, rtt) => Math.min(Math.max(0, Math.ceil((idle + rtt) / (LEAST_TIMEOUT + rtt)) - 1), 64);
  const steadyWindow = (segments, rtt, each, halved) => {
    const train = Math.ceil((rtt + 1) / (2 * each));
    let [begun, largest, window] = [0, Infinity, 10];
    while (window !== begun) {
      begun = window;
      for (let left = segments; left > 0 && window < largest; ) {
        const acknowledged = Math.min(left, window);
        left -= window;
        if (largest === Infinity && acknowledged > train && window >= 16) largest = window + train + 1;
        window = Math.min(window + acknowledged, largest);
      }
      window = Math.max(10, Math.floor(window / 2 ** halved));
    }
    return [begun, largest];
  };
  const overIdle = (timing, rate, idle) => (images) => {
    const [speed, rtt] = [rate / 8000, timing.tau_nw];
    const size = (images * timing.tau_tx * rate) / 8000;
    const segments = Math.ceil(size / 1448);
    const each = 1500 / speed;
    let time = rtt + (size + 52 * segments) / speed;
    const halved = halvings(idle, rtt);
    if (halved) {
      let [window, largest] = steadyWindow(segments, rtt, each, halved);
      let through = window;
      while (through < segments && window * each < rtt + 2 * each) {
        time += rtt + 2 * each - window * each;
        window = Math.min(2 * window, largest);
        through += window;
      }
    }
    return time - (8000 * size) / rate;
  };

  // ---- Ways to send: hi_lib/advise/ways.py. ----

  const roundedUp = (time) => {
    if (time <= 0) return 0;
    const step = 10 ** (Math.floor(Math.log10(time)) - 1);
    return Math.ceil((time / step) * (1 - ROUNDING)) * step;
  };

  const longestWait = (flags, timing, conditions, way) => {
    if (way.size === 1 || way.unit === "samples") return Infinity;
    const free = { ...way, window: null, longestWait: Infinity };
    const { waited } = clock(flags, timing, free, conditions.arrivals);
    const usual = roundedUp(percentile(waited, SOONER));
    if (conditions.deadline === null) return usual;
    const left = conditions.deadline - timing.tau_ed - timing.tau_nw - way.size * (timing.tau_tx + timing.tau_es);
    return left > 0 ? Math.min(usual, left) : usual;
  };

  const sentBy = (flags, timing, conditions, plain, alpha) => {
    const [n, images] = [flags.length, flags.reduce((count, flag) => count + (flag ? 1 : 0), 0)];
    const way = { ...plain, longestWait: longestWait(flags, timing, conditions, plain) };
    const alone = clock(flags, timing, conditions.devices > 1 ? { ...way, window: null, longestWait: Infinity } : way, conditions.arrivals);
    let found = conditions.devices > 1 ? crowd(flags, timing, way, conditions.devices) : alone;
    const sends = alone.waited.length;
    const taken = timing.tau_nw + (images / sends) * (timing.tau_tx + timing.tau_es);
    const idle = sends ? Math.max(0, (found.systemTime * n) / sends - taken) : 0;
    const cold = conditions.devices === 1 && conditions.connection !== "warm" && timing.tau_tx > 0 && idle > LEAST_TIMEOUT && halvings(idle, timing.tau_nw) > 0;
    const byImages = cold ? overIdle(timing, conditions.rate, idle) : null;
    if (cold) found = clock(flags, timing, way, conditions.arrivals, byImages);
    const system = conditions.arrivals ? clock(flags, timing, way, null, byImages).systemTime : found.systemTime;
    const response = mean(found.response);
    const late = conditions.deadline === null ? NaN
      : found.response.reduce((count, time) => count + (time > conditions.deadline * (1 + ROUNDING) ? 1 : 0), 0) / found.response.length;
    const objective = alpha === null ? system : alpha * system + (1 - alpha) * response;
    return { way, systemTime: system, responseTime: response, objective, late, p95: percentile(found.response, 0.95),
      transmissions: sends / n, idle, cold };
  };

  const ways = (flags, timing, conditions, alpha) => {
    const most = Math.max(1, conditions.unit === "offloads" ? flags.reduce((count, flag) => count + (flag ? 1 : 0), 0) : flags.length);
    const windows = conditions.window === null ? [null] : [null, conditions.window];
    return windows.flatMap((window) => SIZES.filter((size) => size <= most)
      .map((size) => sentBy(flags, timing, conditions, { size, unit: conditions.unit, window }, alpha)));
  };

  const keepsUp = (row, conditions) => conditions.spacing === null || row.systemTime <= conditions.spacing;
  const best = (rows, conditions) => rows
    .filter((row) => keepsUp(row, conditions) && (conditions.deadline === null || row.late <= conditions.miss + ROUNDING))
    .reduce((least, row) => (least === null || row.objective < least.objective ? row : least), null);

  const alike = (one, other) => one.way.size === other.way.size && one.way.unit === other.way.unit && one.way.window === other.way.window;
  const short = ({ size, unit, window }) => {
    const says = size === 1 ? "each at once" : `after ${size} ${unit}`;
    return window === null ? says : `${says}, ${window === Infinity ? "any number" : window} out`;
  };

  // ---- The recommendation: hi_lib/advise/recommending.py. ----

  const sends = (policy) => policy.share.map((share) => (share > 0.5 ? 1 : 0));

  const settled = (log, beta, shared, timing, conditions, alpha) => {
    const priced = Math.min(beta + shared, 1);
    const compared = compare(log, priced);
    const flags = sends(compared.chosen);
    const rows = ways(flags, timing, conditions, alpha);
    return { compared, policy: compared.chosen, flags, rows, row: best(rows, conditions), beta, priced };
  };

  const decided = (log, beta, timing, conditions, alpha) => {
    const price = conditions.price ?? 0;
    const found = settled(log, beta, 0, timing, conditions, alpha);
    if (!price || !found.row || !found.row.transmissions) return found;
    const together = mean(found.flags) / found.row.transmissions;
    return settled(log, beta, price / together, timing, conditions, alpha);
  };

  const leastSure = (confidence, share) => {
    const edge = share < 1 ? percentile(confidence, share) : Infinity;
    return Float64Array.from(confidence, (p) => (p < edge ? 1 : 0));
  };

  const changed = (what, before, policy, row) => {
    const other = policy === before.policy.name ? null : policy;
    if ([policy ?? before.policy.name, before.policy.name].includes(NAMES.never)) return { what, policy: other, send: null };
    if (row === null) return { what, policy: other, send: "no way to send is in time" };
    return { what, policy: other, send: alike(row, before.row) ? null : short(row.way) };
  };

  const changes = (log, found, timing, conditions, alpha) => {
    if (!found.row) return [];
    const { beta, policy, flags } = found;
    const said = [];
    for (const [what, other] of beta > 0 ? [["half of β", beta / 2], ["twice β", Math.min(1, 2 * beta)]] : []) {
      const then = decided(log, other, timing, conditions, alpha);
      said.push(changed(what, found, then.policy.name, then.row));
    }
    if (policy.name === NAMES.never) return said;
    const share = mean(flags);
    for (const [what, ratio] of [["half of the offloads", share / 2], ["twice the offloads", Math.min(1, 2 * share)]]) {
      const rows = ways(leastSure(log.confidence, ratio), timing, conditions, alpha);
      said.push(changed(what, found, policy.name, best(rows, conditions)));
    }
    const slow = ways(flags, { ...timing, tau_nw: 2 * timing.tau_nw }, conditions, alpha);
    return [...said, changed("a network twice as slow", found, policy.name, best(slow, conditions))];
  };

  const hearingLate = (log, found, large) => {
    const { confidence, correct } = log;
    const { row, priced, policy } = found;
    const size = row.transmissions ? Math.max(1, Math.round(1 / row.transmissions)) : 1;
    const late = learned(confidence, correct.map((right) => priced - (right ? 0 : 1)), Math.min(size, confidence.length));
    const half = Math.floor(confidence.length / 2);
    const more = [];
    for (let t = half; t < confidence.length; t += 1) more.push((late[t] - policy.share[t]) * (priced + correct[t] - large[t]));
    return mean(more);
  };

  const assumption = (found, timing, conditions, alpha) => {
    const { compared, policy, row, flags } = found;
    const sending = policy.name !== NAMES.never && row !== null;
    if (compared.unclear) return "answers of the L-ML that the log does not hold are wrong";
    if (sending && row.cold) {
      const warm = sentBy(flags, timing, { ...conditions, connection: "warm" }, row.way, alpha);
      return `the connection is idle for ${row.idle.toFixed(0)} ms before a transmission and loses its window; kept warm (tcp_slow_start_after_idle = 0), answers come after ${digits(warm.responseTime)} ms`;
    }
    if (sending && conditions.window === null) {
      const free = best(ways(flags, timing, { ...conditions, window: OUT }, alpha), conditions);
      if (free !== null && free.objective < (1 - MATTERS) * row.objective) {
        const together = free.way.size > 1 ? ` after ${free.way.size} ${free.way.unit}` : "";
        return `the link allows one transmission at a time; if it allows ${OUT}, send${together} without waiting, and answers come after ${digits(free.responseTime)} ms, ${digits(free.systemTime)} ms of the system a sample`;
      }
    }
    if (compared.counted === "always right" && policy.name !== NAMES.never)
      return `the L-ML is always right; for each percent of its answers that is wrong the cost rises by ${(policy.offloadRatio / 100).toFixed(4)}`;
    if (policy.name === NAMES.learner) return "the learner hears of every sample whether the local answer was right";
    return "what comes is like the second half of the log";
  };
  const digits = (value) => String(Number(value.toPrecision(4)));

  const weight = (alpha, conditions) => alpha ?? (conditions.deadline === null ? 0.5 : null);

  // Numbers that look random, the same as in hi_lib: mulberry32.
  const uniforms = (n, begin = 0) => {
    let seed = begin;
    return Float64Array.from({ length: n }, () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let x = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
      return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
    });
  };

  const fromLog = (log, beta, timing, conditions, givenAlpha) => {
    const alpha = weight(givenAlpha, conditions);
    const found = decided(log, beta, timing, conditions, alpha);
    const { compared, policy, row, rows } = found;
    const never = compared.policies[0];
    const large = answers(log.lml)[compared.counted] ?? log.correct.map(() => 1);
    return {
      policy: policy.name, threshold: policy.threshold, beta: found.priced, row, rows, policies: compared.policies, counted: compared.counted,
      keepsUp: rows.some((each) => keepsUp(each, conditions)),
      cost: policy.averageCost, againstNever: difference(never, policy),
      nextPolicy: compared.nextBest.name, againstNext: difference(compared.nextBest, policy),
      offloadRatio: mean(Array.from(policy.share)), conditions, alpha,
      // What takes longer is found when it is asked for.
      why: () => ({
        waitingCosts: policy.name === NAMES.learner && row ? hearingLate(log, found, large) : null,
        assumption: assumption(found, timing, conditions, alpha),
        changes: changes(log, found, timing, conditions, alpha),
      }),
    };
  };

  const fromRatio = (ratio, timing, conditions, givenAlpha, { beta = null, calibrated = false } = {}) => {
    const alpha = weight(givenAlpha, conditions);
    const drawn = uniforms(NO_LOG);
    const tried = (share, times) => ways(drawn.map((value) => (value < share ? 1 : 0)), times, conditions, alpha);
    const rows = tried(ratio, timing);
    const row = best(rows, conditions);
    const policy = ratio === 0 ? NAMES.never : ratio === 1 ? NAMES.always : calibrated ? NAMES.rule : NAMES.learner;
    const others = () => row === null || ratio === 0 ? [] : [
      ["half of the offloads", tried(ratio / 2, timing)],
      ["twice the offloads", tried(Math.min(1, 2 * ratio), timing)],
      ["a network twice as slow", tried(ratio, { ...timing, tau_nw: 2 * timing.tau_nw })],
    ];
    return {
      policy, threshold: policy === NAMES.rule && beta !== null ? 1 - beta : null, beta, row, rows, policies: [], counted: null,
      keepsUp: rows.some((each) => keepsUp(each, conditions)), cost: null, againstNever: null, nextPolicy: null, againstNext: null,
      offloadRatio: ratio, conditions, alpha,
      why: () => ({
        waitingCosts: null,
        assumption: "samples are offloaded independently of each other; a log of your own tells whether HI pays at all",
        changes: others().map(([what, found]) => changed(what, { policy: { name: policy }, row }, policy, best(found, conditions))),
      }),
    };
  };

  // ---- The words: hi_lib/advise/recommendation.py. ----

  const told = (way) => {
    let says = way.size === 1 ? "send each offload at once" : `send after ${way.size} ${way.unit}`;
    if (way.size > 1 && isFinite(way.longestWait)) says += `, or ${digits(way.longestWait)} ms after the first`;
    if (way.window === null) return `${says}, and wait for the answer`;
    return `${says}, without waiting: ${way.window === Infinity ? "any number" : `up to ${way.window}`} may be out`;
  };

  const percent = (share) => `${(100 * share).toFixed(2)}%`;

  const nearest = ({ rows, keepsUp: up }) => {
    const by = (row) => (Number.isNaN(row.late) || !up ? row.systemTime : row.late);
    return rows.reduce((least, row) => (by(row) < by(least) ? row : least));
  };

  const whatToSet = (found) => {
    const { policy, threshold, row, conditions } = found;
    if (!found.keepsUp) {
      const fastest = nearest(found);
      return `no way to send, since the device cannot keep up: a sample comes every ${digits(conditions.spacing)} ms, and takes ${digits(fastest.systemTime)} ms at best (${told(fastest.way)})`;
    }
    if (policy === NAMES.never) return "keep every answer on the device; nothing that offloads costs clearly less";
    if (row === null) {
      const soonest = nearest(found);
      return `no way to send, since none has at most ${digits(conditions.miss)} of all answers after ${digits(conditions.deadline)} ms: ${percent(soonest.late)} are later if you ${told(soonest.way)}`;
    }
    const theta = threshold === null ? null : `θ = ${threshold.toFixed(4)}`;
    const rule = conditions.price ? " (1 − β, less a share of the price)" : " (1 − β)";
    const offload = policy === NAMES.always ? "offload every sample"
      : policy === NAMES.learner ? `let HIL-F learn θ, with the adaptive rate${found.beta === null ? "" : ` and β = ${digits(found.beta)}`}${theta ? `, by now ${theta}` : ""}`
      : `offload what is less sure than ${theta === null ? NAMES.rule : theta + (policy === NAMES.rule ? rule : "")}`;
    return `${offload}; ${told(row.way)}`;
  };

  const inWords = ({ mean: more, error }) => Math.abs(more) < SAME && error < SAME ? "the same"
    : `${Math.abs(more).toFixed(4)} ${more > 0 ? "more" : "less"} (one standard error: ${error.toFixed(4)})`;

  const costs = (found, { waitingCosts }) => {
    if (found.cost === null) return [];
    let says = `Cost: ${found.cost.toFixed(4)} a sample`;
    if (![found.policy, found.nextPolicy].includes(NAMES.never)) says += `; never offloading costs ${inWords(found.againstNever)}`;
    says += `; the next best, ${found.nextPolicy}, costs ${inWords(found.againstNext)}`;
    if (waitingCosts !== null && found.row && Math.abs(waitingCosts) >= SHOWN) says += `; sending this way the learner hears later, which costs ${Math.abs(waitingCosts).toFixed(4)} ${waitingCosts > 0 ? "more" : "less"}`;
    return [says];
  };

  const times = ({ row, conditions }) => {
    if (row === null) return [];
    const late = Number.isNaN(row.late) ? "" : `, ${percent(row.late)} after ${digits(conditions.deadline)} ms`;
    const cold = row.cold ? ", over a connection that has been idle" : "";
    return [`Times: ${digits(row.systemTime)} ms of the system a sample; answers after ${digits(row.responseTime)} ms on average, 95 of 100 within ${digits(row.p95)} ms${late}${cold}`];
  };

  const whatIf = ({ changes: said }) => {
    if (said.length === 0) return [];
    const other = said.filter(({ policy, send }) => policy ?? send)
      .map(({ what, policy, send }) => `${what}: ${[policy, send].filter((each) => each !== null).join("; ")}`);
    const same = said.filter(({ policy, send }) => !(policy ?? send)).map(({ what }) => what);
    return [`What if: ${[...other, ...(same.length ? [`the same with ${same.join(", ")}`] : [])].join(". ")}`];
  };

  const lines = (found) => {
    const why = found.why();
    return [`Recommended: ${whatToSet(found)}`, ...costs(found, why), ...times(found), `Assumed: ${why.assumption}`, ...whatIf(why)];
  };

  window.hiAdvice = { fromLog, fromRatio, lines, whatToSet, short, digits, uniforms };
})();
