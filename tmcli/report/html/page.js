"use strict";
// Reads the episodes that lie in the page and shows them. Everything a model or tool wrote becomes text nodes:
// there is no innerHTML here, and the page's policy would let nothing run that slipped in.

const PAGE = 50; // rows in the list at once
const KEPT = 24; // unpacked blocks that are kept
const MOST_WORDS = 200; // a tag with more values than this is searched, not chosen
const MOST_PAIRS = 1e6; // as MOST_CELLS in report/diff.py

const at = (id) => document.getElementById(id);
const section = at("episodes");
const columns = section.dataset.columns.split(" ");
const perBlock = Number(section.dataset.perBlock);
const blocks = [...document.getElementsByClassName("episode-block")];
const recent = new Map(); // number of a block -> promise of it, the oldest first

let rows = []; // {id, task, file, ... , number}
let found = []; // rows that pass the filters, in the order of the list
let searching = 0; // counts searches: an older one stops when a newer begins

// ---- texts --------------------------------------------------------------------------------------

const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;
/** Control characters are seen, never obeyed. */
const safe = (text) =>
  String(text).replace(CONTROL, (c) => {
    const code = c.charCodeAt(0).toString(16);
    return code.length > 2 ? `\\u${code.padStart(4, "0")}` : `\\x${code.padStart(2, "0")}`;
  });
const oneLine = (text, most) => {
  const line = String(text).replace(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
};
const number = (value) =>
  value === null || value === undefined ? "unknown" : Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(3)));
const many = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

/** JSON with line breaks, where that loses nothing: large numbers and repeated keys stay as they came. */
function pretty(text) {
  if (!/^\s*[[{]/.test(text) || text.length > 50000) return text;
  try {
    const value = JSON.parse(text);
    const bare = (json) => json.replace(/\s+/g, "");
    return bare(JSON.stringify(value)) === bare(text) ? JSON.stringify(value, null, 2) : text;
  } catch {
    return text;
  }
}

/** Arguments in a line: `title="Emma", n=1`. They come indented by two. */
const preview = (json) =>
  /^\{/.test(json) ? oneLine(json.slice(1, json.endsWith("}") ? -1 : undefined).replace(/^ {2}"((?:[^"\\]|\\.)*)": /gm, "$1="), 160) : oneLine(json, 160);

/** An element with attributes and children; texts become text. */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== "") element.append(child.nodeType ? child : safe(child));
  }
  return element;
}
const chip = (word, kind = word) => make("span", { class: `chip ${kind}` }, word);

// ---- unpacking ----------------------------------------------------------------------------------

async function unpack(element) {
  const packed = Uint8Array.from(atob(element.textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

/** A block of episodes, unpacked; the last used ones are kept. */
function block(i) {
  const known = recent.get(i) ?? unpack(blocks[i]);
  recent.delete(i);
  recent.set(i, known);
  if (recent.size > KEPT) recent.delete(recent.keys().next().value);
  return known;
}

async function episode(row) {
  const { values, shared } = await block(Math.floor(row.number / perBlock));
  const value = values[row.number % perBlock];
  return { ...value, shown: shared[value.shown], row };
}

// ---- what is asked: all of it stands in the address, so that a link shows the same -----------------------

const parse = () => new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
let asked = parse();

function ask(changes, replace = false) {
  const next = new URLSearchParams(asked);
  for (const [name, value] of Object.entries(changes)) {
    if (value === "" || value === null) next.delete(name);
    else next.set(name, value);
  }
  const hash = `#${next.toString() || "episodes="}`;
  if (replace) history.replaceState(null, "", hash);
  else history.pushState(null, "", hash);
  show();
}

function link(changes) {
  const next = new URLSearchParams(asked);
  for (const [name, value] of Object.entries(changes)) {
    if (value === "" || value === null) next.delete(name);
    else next.set(name, value);
  }
  return `#${next.toString() || "episodes="}`;
}

// ---- filters ------------------------------------------------------------------------------------

const ORDERS = {
  "": ["as played", null],
  calls: ["most calls", (row) => -row.calls],
  errors: ["most errors", (row) => -row.errors],
  turns: ["most turns", (row) => -(row.turns ?? -1)],
  high: ["highest reward", (row) => -(row.reward ?? -Infinity)],
  low: ["lowest reward", (row) => row.reward ?? Infinity],
};

/** Name of the filter -> the words a row has of it. */
const FILTERS = new Map([
  ["outcome", (row) => [row.outcome]],
  ["file", (row) => [row.file]],
  ["policy", (row) => [row.policy]],
  ["tool", (row) => row.tools],
  ["stop", (row) => [row.stop]],
]);

function makeFilters() {
  for (const tag of new Set(rows.flatMap((row) => Object.keys(row.tags)))) {
    FILTERS.set(`tag ${tag}`, (row) => (tag in row.tags ? [row.tags[tag]] : []));
  }
  for (const [name, words] of FILTERS) {
    const counts = new Map();
    for (const row of rows) for (const word of words(row)) counts.set(word, (counts.get(word) ?? 0) + 1);
    if (counts.size < 2 || counts.size > MOST_WORDS) continue;
    const known = [...counts].sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
    const options = known.map(([word, n]) => make("option", { value: word }, `${oneLine(word, 40)} (${n})`));
    addChoice(name, name.replace(/^tag /, ""), [make("option", { value: "" }, "any"), ...options]);
  }
  const orders = Object.entries(ORDERS).map(([value, [word]]) => make("option", { value }, word));
  addChoice("sort", "order", orders);
}

function addChoice(name, word, options) {
  const select = make("select", { name, onchange: () => ask({ [name]: select.value, page: "" }) }, options);
  at("choices").append(make("label", null, make("span", null, word), select));
}

function passes(row) {
  for (const [name, words] of FILTERS) {
    if (asked.get(name) && !words(row).includes(asked.get(name))) return false;
  }
  return true;
}

const holds = (value, needle) =>
  typeof value === "string"
    ? value.toLowerCase().includes(needle)
    : value !== null && typeof value === "object" && Object.values(value).some((inner) => holds(inner, needle));

function inOrder(some) {
  const key = ORDERS[asked.get("sort") ?? ""]?.[1];
  if (!key) return some;
  return [...some].sort((a, b) => key(a) - key(b) || a.number - b.number);
}

/** Filters at once; then looks for the searched words in whole episodes, block by block. */
async function filter() {
  const mine = ++searching;
  const needle = (asked.get("q") ?? "").trim().toLowerCase();
  const passing = rows.filter(passes);
  if (!needle) return settle(passing);
  at("found").dataset.busy = "yes";
  const hits = new Set(passing.filter((row) => holds(row, needle)));
  const rest = new Map();
  for (const row of passing) {
    if (hits.has(row) || !row.there) continue;
    const i = Math.floor(row.number / perBlock);
    rest.set(i, [...(rest.get(i) ?? []), row]);
  }
  let done = 0;
  let told = performance.now();
  for (const [i, inside] of rest) {
    const { values } = await (recent.get(i) ?? unpack(blocks[i]));
    if (mine !== searching) return;
    for (const row of inside) if (holds(values[row.number % perBlock], needle)) hits.add(row);
    done += 1;
    if (performance.now() - told > 250) {
      settle(passing.filter((row) => hits.has(row)), `searching, ${Math.round((100 * done) / rest.size)} %`);
      told = performance.now();
    }
  }
  settle(passing.filter((row) => hits.has(row)));
}

function settle(some, busy = "") {
  found = inOrder(some);
  const word = found.length === rows.length ? many(rows.length, "episode") : `${found.length.toLocaleString("en")} of ${many(rows.length, "episode")}`;
  at("found").textContent = busy ? `${word} (${busy})` : word;
  at("found").dataset.busy = busy ? "yes" : "no";
  showList();
}

// ---- the list -----------------------------------------------------------------------------------

const lastPart = (name) => (/^[./~]/.test(name) ? name.replace(/\/+$/, "").split("/").pop() : name);
const who = (row) => [...new Set([row.file, lastPart(row.policy)])].filter(Boolean).join(" · ");
const tagWords = (row) => [...new Set(tagList(row))];
const tagList = (row) =>
  Object.entries(row.tags)
    .filter(([name, word]) => word !== "-" && !["base", "cells"].includes(name))
    .map(([name, word]) => {
      if (word === "True") return name;
      if (word === "none" || word === "False") return `no ${name}`;
      return /^[\d.]+$/.test(word) ? `${name} ${word}` : word;
    });

function showList() {
  const pages = Math.max(1, Math.ceil(found.length / PAGE));
  const page = Math.min(pages, Math.max(1, Number(asked.get("page")) || 1));
  const shown = found.slice((page - 1) * PAGE, page * PAGE);
  at("rows").replaceChildren(...shown.map(listed));
  const button = (word, to) =>
    make("button", { type: "button", disabled: to < 1 || to > pages, onclick: () => { ask({ page: to > 1 ? to : "" }); at("list").scrollTop = 0; } }, word);
  at("pages").replaceChildren(...(pages > 1 ? [button("Previous", page - 1), make("span", null, `page ${page} of ${pages}`), button("Next", page + 1)] : []));
}

function listed(row) {
  const facts = [many(row.calls, "call"), row.errors ? many(row.errors, "error") : "", row.reward === null ? "" : `reward ${number(row.reward)}`];
  return make(
    "li",
    null,
    make(
      "a",
      { href: link({ open: row.number, with: "" }), "data-number": row.number, "aria-current": asked.get("open") === String(row.number) },
      make("span", { class: "line" }, chip(row.outcome), who(row)),
      make("span", { class: "question" }, oneLine(row.question || row.id, 300)),
      make("span", { class: "line" }, [...facts, ...tagWords(row)].filter(Boolean).map((word) => make("span", null, oneLine(word, 40)))),
    ),
  );
}

// ---- one episode --------------------------------------------------------------------------------

async function showDetail() {
  const detail = at("detail");
  const row = rows[Number(asked.get("open"))];
  const other = rows[Number(asked.get("with"))];
  const opened = asked.has("open") && row;
  const compared = opened && asked.has("with") && other;
  section.classList.toggle("reading", Boolean(opened));
  section.classList.toggle("comparing", Boolean(compared));
  if (!opened) {
    detail.replaceChildren(make("p", { class: "empty" }, "Choose an episode. Keys: j and k for the next and the one before, / to search, Escape to close."));
    return;
  }
  if (!row.there) {
    detail.replaceChildren(bar(row, null), make("p", { class: "empty" }, "Only its score is known: score records hold no turns."));
    return;
  }
  const first = await episode(row);
  const second = compared && other.there ? await episode(other) : null;
  if (asked.get("open") !== String(row.number)) return; // another was opened meanwhile
  detail.replaceChildren(...(second ? comparison(first, second) : reading(first)));
  detail.dataset.number = row.number;
  detail.scrollTop = 0;
}

function reading(one) {
  return [
    bar(one.row, null),
    ...head(one),
    ...question(one),
    make("ol", { class: "steps" }, one.steps.map((step, i) => make("li", null, turn(step, i + 1)))),
    verdict(one),
    ...more(one),
  ];
}

/** Buttons above an episode: back, fold, compare with another of its task. */
function bar(row, other) {
  const base = (one) => one.tags.base ?? one.task; // a task under another drift is still the same to a reader
  const others = rows.filter((one) => base(one) === base(row) && one !== row && one.there);
  const choose = make(
    "select",
    { "aria-label": "Compare with another episode of this task", onchange: () => ask({ with: choose.value }) },
    make("option", { value: "" }, others.length ? "Compare with…" : "The only one of its task"),
    others.map((one) => make("option", { value: one.number, selected: one === other }, oneLine([who(one), one.tags.cells ?? "", one.id.slice(one.id.lastIndexOf("#")), one.outcome].filter(Boolean).join(" · "), 80))),
  );
  choose.disabled = !others.length;
  const fold = (open) => () => at("detail").querySelectorAll("details.call").forEach((one) => { one.open = open; });
  return make(
    "div",
    { class: "tools" },
    make("a", { class: "button back", href: link({ open: "", with: "" }) }, "← List"),
    other ? make("a", { class: "button", href: link({ with: "" }) }, "← One alone") : null,
    row.there ? make("button", { type: "button", onclick: fold(true) }, "Unfold calls") : null,
    row.there ? make("button", { type: "button", onclick: fold(false) }, "Fold calls") : null,
    make("span", { class: "push" }),
    choose,
  );
}

function head(one) {
  const { row } = one;
  return [
    make("h3", null, who(row) || "Episode", " ", make("span", { class: "id" }, row.id)),
    make("p", { class: "facts" }, chip(row.outcome), row.reward === null ? null : make("span", null, `reward ${number(row.reward)}`), make("span", null, `stop: ${row.stop}`), tagWords(row).map((word) => chip(oneLine(word, 60), "tag"))),
  ];
}

const question = (one) => one.asked.map(([role, text]) => make("div", { class: "asked" }, make("div", { class: "who" }, role), make("div", { class: "text" }, text)));

function turn(step, n) {
  const state = step.state === "ok" ? null : chip(step.state, step.state === "invalid" ? "error" : "unjudged");
  return make(
    "div",
    { class: `step ${step.phase} state-${step.state === "invalid" ? "invalid" : "fine"}` },
    make("div", { class: "line" }, make("span", { class: "id" }, `${n}.`), chip(step.phase), state),
    step.said.map(([kind, text]) => make("div", { class: `said ${kind}` }, make("span", { class: "who" }, kind), make("span", { class: "text" }, text))),
    step.calls.map(called),
    step.hint === null ? null : make("div", { class: "said hint" }, make("span", { class: "who" }, "sent back with"), make("span", { class: "text" }, step.hint)),
  );
}

function called(call) {
  const reply = call.reply ?? "(never answered)";
  const label = { useful_trial: "useful", wasted_trial: "wasted" }[call.label];
  return make(
    "details",
    { class: `call ${call.ok ? "ok" : "error"}` },
    make(
      "summary",
      null,
      make("span", { class: "name" }, call.readable ? call.name : "a call that could not be read"),
      make("span", { class: "preview" }, call.readable ? `(${preview(call.arguments)})` : ""),
      call.ok ? null : chip("error"),
      label ? chip(label) : null,
      make("span", { class: "reply" }, `← ${oneLine(reply, 240)}`),
    ),
    make("h4", null, "Arguments"),
    make("pre", null, call.arguments),
    make("h4", null, call.ok ? "Reply" : "Reply (an error)"),
    make("pre", null, pretty(reply)),
  );
}

function verdict(one) {
  const { row } = one;
  return make(
    "div",
    { class: `verdict ${row.outcome}` },
    make("p", null, make("b", null, { right: "Right", wrong: "Wrong", unjudged: "Not judged", invalid: "Invalid: the world broke" }[row.outcome]), one.failure ? ` ${one.failure}` : ""),
    make("p", { class: "text" }, "Answered: ", one.prediction ?? "nothing"),
    one.answer.length ? make("p", { class: "text" }, `Accepted (${one.check}): `, one.answer.join(" | ")) : null,
  );
}

function more(one) {
  const list = (pairs) => make("dl", null, pairs.map(([name, value]) => make("div", null, make("dt", null, name), make("dd", null, typeof value === "number" ? number(value) : String(value)))));
  const fold = (word, ...inside) => make("details", { class: "more" }, make("summary", null, word), inside);
  return [
    fold("Scores", list(Object.entries(one.scores))),
    fold(`Tools shown (${one.shown.tools.length})`, one.shown.tools.map(([name, schema]) => [make("h4", null, name), make("pre", null, schema)])),
    one.shown.system ? fold("System prompt", make("pre", null, one.shown.system)) : null,
    fold("Task", list([["id", one.row.task], ["source", one.source || "-"], ...Object.entries(one.row.tags)])),
  ].filter(Boolean);
}

// ---- two episodes of one task: the same way of aligning as report/diff.py (Needleman and Wunsch), by test --------

const names = (step) => step.calls.map((call) => call.name);
const keys = (step) => step.calls.map((call) => [call.name, call.arguments]);
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

function likeness(a, b) {
  if (!a.calls.length || !b.calls.length) return a.calls.length || b.calls.length ? 0 : 4;
  const phase = a.phase === b.phase ? 1 : 0;
  if (same(keys(a), keys(b))) return 8 + phase;
  if (same(names(a), names(b))) return 5 + phase;
  return names(a).some((name) => names(b).includes(name)) ? 3 + phase : phase;
}

function differing(a, b) {
  const tools = same(names(a), names(b));
  const replies = (step) => step.calls.map((call) => [call.ok, call.reply]);
  return Object.entries({
    phase: a.phase !== b.phase,
    state: a.state !== b.state,
    text: !same(a.said, b.said) || a.hint !== b.hint,
    tools: !tools,
    arguments: tools && !same(keys(a), keys(b)),
    replies: tools && !same(replies(a), replies(b)),
  }).filter(([, differs]) => differs).map(([aspect]) => aspect);
}

function pairs(a, b) {
  if (a.length * b.length > MOST_PAIRS) return a.slice(0, b.length).map((_, i) => [i, i]);
  const alike = a.map((one) => b.map((other) => likeness(one, other)));
  const best = Array.from({ length: a.length + 1 }, () => new Array(b.length + 1).fill(0));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const paired = alike[i][j] ? alike[i][j] + best[i + 1][j + 1] : 0;
      best[i][j] = Math.max(paired, best[i + 1][j], best[i][j + 1]);
    }
  }
  const out = [];
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    if (alike[i][j] && best[i][j] === alike[i][j] + best[i + 1][j + 1]) out.push([i++, j++]);
    else if (best[i][j] === best[i + 1][j]) i++;
    else j++;
  }
  return out;
}

/** [index in a or null, index in b or null] of each row. */
function aligned(a, b) {
  const out = [];
  let [i, j] = [0, 0];
  for (const [m, n] of [...pairs(a, b), [a.length, b.length]]) {
    while (i < m) out.push([i++, null]);
    while (j < n) out.push([null, j++]);
    if (m < a.length) out.push([i++, j++]);
  }
  return out;
}

function comparison(one, other) {
  const side = (whose, i) =>
    i === null
      ? make("div", { class: "side nothing" }, "no such turn")
      : make("div", { class: "side" }, make("div", { class: "whose" }, who(whose.row)), turn(whose.steps[i], i + 1));
  const parts = aligned(one.steps, other.steps).map(([i, j]) => {
    const [a, b] = [one.steps[i], other.steps[j]];
    const differs = a && b ? differing(a, b) : [];
    const kind = !a ? "right-only" : !b ? "left-only" : differs.length ? "changed" : "same";
    const word = { "left-only": "only on the left", "right-only": "only on the right", changed: `differs in ${differs.join(", ")}`, same: "the same" }[kind];
    return make("div", { class: `pair ${kind}`, "data-turns": `${i ?? ""}:${j ?? ""}`, "data-differs": differs.join(" ") }, make("div", { class: "differs" }, word), side(one, i), side(other, j));
  });
  return [
    bar(one.row, other.row),
    ...question(one),
    make("div", { class: "pair head" }, make("div", null, head(one)), make("div", null, head(other))),
    ...parts,
    make("div", { class: "pair" }, verdict(one), verdict(other)),
  ];
}

// ---- all together -------------------------------------------------------------------------------

let before = null;

function show() {
  const filtersBefore = before && filterKey(before);
  const openBefore = before && `${before.get("open")} ${before.get("with")}`;
  asked = parse();
  before = asked;
  for (const select of at("choices").querySelectorAll("select")) {
    select.value = asked.get(select.name) ?? "";
    select.classList.toggle("on", Boolean(select.value));
  }
  const on = at("choices").querySelectorAll("select.on").length;
  at("more").firstElementChild.textContent = on ? `Filters (${on} on)` : "Filters";
  if (document.activeElement !== at("q")) at("q").value = asked.get("q") ?? "";
  if (filterKey(asked) !== filtersBefore) filter();
  else showList();
  if (`${asked.get("open")} ${asked.get("with")}` !== openBefore) return showDetail();
  return null;
}

function filterKey(some) {
  return JSON.stringify([...some].filter(([name]) => !["open", "with", "page"].includes(name)));
}

/** Opens the n-th next of the list. */
function step(n) {
  const i = found.findIndex((row) => String(row.number) === asked.get("open"));
  const next = found[i < 0 ? 0 : i + n];
  if (!next) return;
  const page = Math.floor(found.indexOf(next) / PAGE) + 1;
  ask({ open: next.number, with: "", page: page > 1 ? page : "" }, true);
  at("rows").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
}

function listen() {
  let waiting = 0;
  at("q").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => ask({ q: at("q").value.trim(), page: "" }, true), 200);
  });
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("clear").addEventListener("click", () => {
    at("q").value = "";
    ask(Object.fromEntries([...asked.keys()].filter((name) => !["open", "with"].includes(name)).map((name) => [name, ""])));
  });
  at("rows").addEventListener("click", (event) => {
    const row = event.target.closest("a");
    if (!row || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    ask({ open: row.dataset.number, with: "" });
    if (matchMedia("(max-width: 56rem)").matches) section.scrollIntoView();
    at("detail").focus({ preventScroll: true });
  });
  document.addEventListener("click", (event) => {
    if (event.target.classList?.contains("find")) section.scrollIntoView();
  });
  document.addEventListener("keydown", (event) => {
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else if (event.key === "Escape" && asked.has("open")) ask(asked.has("with") ? { with: "" } : { open: "" });
    else if (event.key === "/") {
      event.preventDefault();
      at("q").focus();
    }
  });
  addEventListener("popstate", show);
}

async function start() {
  if (typeof DecompressionStream === "undefined") {
    section.append(make("p", { class: "note" }, "This browser is too old to unpack the episodes: it has no DecompressionStream."));
    return;
  }
  for (const element of document.getElementsByClassName("row-block")) {
    for (const values of (await unpack(element)).values) {
      const row = { number: rows.length };
      columns.forEach((name, i) => { row[name] = values[i]; });
      rows.push(row);
    }
  }
  makeFilters();
  at("more").open = matchMedia("(min-width: 56rem)").matches;
  at("filters").hidden = false;
  at("browser").hidden = false;
  listen();
  show();
  document.documentElement.dataset.ready = "yes";
}

start();
