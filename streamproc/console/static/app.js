"use strict";

const STAGES = [
  ["ingest", "camera to here"],
  ["decode", "bytes to picture"],
  ["decide", "wait for the detector on both sides"],
  ["encode", "cover, compress, fill the segment"],
  ["publish", "store, checkpoint"],
];
const DECISIONS = [
  ["seen", "looked at"],
  ["carried", "between two looks"],
  ["extended", "held past a sighting"],
  ["whole", "covered whole: no answer in time"],
  ["withheld", "not published"],
];
const POLL_MS = 1000;
const RETRY_MS = 1000;
const TREND_KEPT = 60;

const $ = (id) => document.getElementById(id);
const text = (id, value) => { if ($(id).textContent !== value) $(id).textContent = value; };
const seconds = (ms) => (ms === null || ms === undefined ? "–" : `${(ms / 1000).toFixed(2)} s`);
const count = (n) => Number(n).toLocaleString("en");

/* ---- the video ---- */

const video = $("video");
let player = null;
let clockAhead = 0; // ms that the server's clock is ahead of this one

function play(stream, segmentSeconds) {
  // Keys hold the stream's name percent-encoded, and a URL encodes the percent sign once more.
  const source = `/media/video/stream=${encodeURIComponent(encodeURIComponent(stream))}/live.m3u8`;
  if (!window.Hls || !Hls.isSupported()) {
    video.src = source; // Safari on a phone plays HLS itself
    return;
  }
  // By segments, because the playlist's target duration is longer than they are.
  player = new Hls({ liveSyncDuration: 2 * segmentSeconds, liveMaxLatencyDuration: 6 * segmentSeconds,
    maxLiveSyncPlaybackRate: 1.1, backBufferLength: 20 });
  player.on(Hls.Events.ERROR, (_, problem) => {
    if (!problem.fatal) return;
    if (problem.type === Hls.ErrorTypes.MEDIA_ERROR) player.recoverMediaError();
    else setTimeout(() => player.loadSource(source), RETRY_MS);
  });
  player.loadSource(source);
  player.attachMedia(video);
}

video.addEventListener("playing", () => { $("waiting").hidden = true; });

function caption() {
  const shown = player && player.playingDate;
  if (!shown || video.paused) return;
  const behind = Date.now() + clockAhead - shown.getTime();
  text("caption", `The picture above is ${(behind / 1000).toFixed(1)} s old: the lag, and what this player buffers.`);
}

/* ---- the figures ---- */

/** Rounds to hundredths so that the parts still add up to the rounded whole (largest remainder). */
function partsOf(whole, parts) {
  const cut = parts.map((ms) => Math.floor(ms / 10));
  let left = Math.round(whole / 10) - cut.reduce((a, b) => a + b, 0);
  const byRemainder = parts.map((ms, i) => [ms / 10 - cut[i], i]).sort((a, b) => b[0] - a[0]);
  for (const [, i] of byRemainder) { if (left-- > 0) cut[i] += 1; }
  return cut.map((hundredths) => hundredths / 100);
}

/** A stacked bar with its legend; rows are [name, meaning, share, shown value]. */
function stack(id, rows, sum) {
  const bar = $(id);
  if (bar.childElementCount !== rows.length) {
    bar.replaceChildren(...rows.map((_, i) => Object.assign(document.createElement("span"), { className: `k${i + 1}` })));
    const items = rows.map(([name, meaning], i) => {
      const item = document.createElement("li");
      const key = Object.assign(document.createElement("i"), { className: `k${i + 1}` });
      const label = document.createElement("span");
      label.append(`${name} `, Object.assign(document.createElement("small"), { textContent: meaning }));
      item.append(key, label, document.createElement("b"));
      return item;
    });
    if (sum) {
      const item = Object.assign(document.createElement("li"), { className: "sum" });
      item.append(document.createElement("span"), "together", document.createElement("b"));
      items.push(item);
    }
    $(`${id}-legend`).replaceChildren(...items);
  }
  const values = $(`${id}-legend`).querySelectorAll("b");
  rows.forEach(([, , share, shown], i) => {
    bar.children[i].style.flexGrow = Math.max(0, share);
    bar.children[i].hidden = share <= 0;
    values[i].textContent = shown;
  });
  if (sum) values[rows.length].textContent = sum;
  bar.setAttribute("aria-label", rows.map(([name, , , shown]) => `${name} ${shown}`).join(", "));
}

const trend = [];
let trendSegments = 0;

function drawTrend(lagMs, segments) {
  if (segments === trendSegments) return;
  trendSegments = segments;
  trend.push(lagMs);
  if (trend.length > TREND_KEPT) trend.shift();
  const top = Math.max(1000, ...trend) * 1.1;
  const step = 300 / (TREND_KEPT - 1);
  const points = trend.map((ms, i) => `${(300 - (trend.length - 1 - i) * step).toFixed(1)},${(44 - (Math.max(0, ms) / top) * 44).toFixed(1)}`);
  if (points.length === 1) points.push(points[0]);
  const svg = "http://www.w3.org/2000/svg";
  const line = document.createElementNS(svg, "path");
  line.setAttribute("d", `M${points.join("L")}`);
  const ground = document.createElementNS(svg, "line");
  Object.entries({ x1: 0, x2: 300, y1: 44, y2: 44 }).forEach(([name, value]) => ground.setAttribute(name, value));
  $("trend").replaceChildren(ground, line);
  $("trend").setAttribute("aria-label", `Lag of the last ${trend.length} segments: from ${seconds(Math.min(...trend))} ` +
    `to ${seconds(Math.max(...trend))}`);
}

function show(stream) {
  state(stream.state);
  text("stream", stream.stream);
  document.title = `${stream.stream} · streamproc`;
  if (stream.note) text("waiting", stream.note);
  if (!stream.frames) return;
  const { frames, lag, newest, detector } = stream;
  if (newest) {
    const whole = newest.lag.mean_ms;
    text("lag", (whole / 1000).toFixed(2));
    const means = STAGES.map(([stage]) => newest.lag.stages[stage].mean_ms ?? 0);
    const parts = partsOf(whole, means);
    stack("stages", STAGES.map(([stage, meaning], i) => [stage, meaning, means[i], parts[i].toFixed(2)]),
      (whole / 1000).toFixed(2));
    drawTrend(whole, stream.segments);
    text("faces", count(newest.faces));
    text("video-shape", `${newest.width}×${newest.height}, ${newest.fps.toFixed(0)} fps`);
  }
  for (const name of ["p50", "p99", "max"]) text(name, seconds(lag[`${name}_ms`]));
  text("frames", count(frames.out));
  stack("decisions", DECISIONS.map(([name, meaning]) => [name, meaning, frames[name], count(frames[name])]));
  text("segments", count(stream.segments));
  text("gaps", count(stream.gaps.length));
  const apis = Object.entries(detector);
  text("calls", count(apis.reduce((sum, [, c]) => sum + c.ok + c.failed + c.throttled, 0)));
  text("calls-detail", apis.map(([api, c]) => {
    const bad = ["failed", "throttled", "shed"].filter((name) => c[name]).map((name) => `${count(c[name])} ${name}`);
    return `${api}: ${[`${count(c.ok)} answered`, ...bad].join(", ")}`;
  }).join("; "));
  text("output", stream.output);
  if (newest && !player && !video.src) play(stream.stream, newest.seconds);
}

function state(name) {
  text("state", name);
  $("state").dataset.state = name;
}

async function poll() {
  try {
    const answer = await fetch("/api/status", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    const told = await answer.json();
    clockAhead = told.now_ms - Date.now();
    if (told.streams.length) show(told.streams[0]);
  } catch {
    state("no answer");
    text("caption", "streamproc has ended, or cannot be reached. This page looks again every second.");
    setTimeout(poll, POLL_MS);
    return;
  }
  caption();
  setTimeout(poll, POLL_MS);
}

poll();
