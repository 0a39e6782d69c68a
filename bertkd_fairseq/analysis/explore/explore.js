// Sentences to look through, and for one of them what the teacher and the students say of every target token.
// Whatever comes from the data becomes text nodes, never markup.

const PAGE = 50; // sentences in the list at once: what isn't seen isn't made
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);

// ---- Reading the data -------------------------------------------------------------------------------------------

/** Little-endian numbers of a base64 string; half-precision floats stay bits until they are asked for. */
function decode(base64, bytes) {
    const raw = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const view = new DataView(raw.buffer);
    const numbers = new (bytes === 2 ? Uint16Array : Uint32Array)(raw.length / bytes);
    for (let i = 0; i < numbers.length; i++) {
        numbers[i] = bytes === 2 ? view.getUint16(2 * i, true) : view.getUint32(4 * i, true);
    }
    return numbers;
}

/** The number that 16 bits stand for (IEEE 754 binary16). */
function half(bits) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 0x1f;
    const fraction = bits & 0x3ff;
    if (exponent === 0x1f) return fraction ? NaN : sign * Infinity;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const ids = decode(data.ids, data.idBytes);
const gold = decode(data.gold, data.idBytes);
const logprobs = decode(data.logprobs, 2);
const tails = decode(data.tail, 2);
const goldLogprobs = data.goldLogprobs && decode(data.goldLogprobs, 2);
const students = data.students.map((student) => ({
    name: student.name, entries: decode(student.entries, 2), gold: decode(student.gold, 2),
}));

let tokensBefore = 0;
const sentences = data.sentences.map(
    ([index, source, target, tokens, asked, wrong, outside, confidence, distances]) => {
        const start = tokensBefore;
        tokensBefore += tokens;
        const text = `${source}\n${target}`.toLowerCase();
        return { index, source, target, tokens, asked, wrong, outside, confidence, distances, start, text };
    },
);

/** K probabilities of a row of an array of log-probabilities. */
const probabilities = (array, row) =>
    Array.from(array.subarray(row * data.k, (row + 1) * data.k), (bits) => Math.exp(half(bits)));

/** What is said of one target token; `bound`: nobody knows the reference's probability, and `goldChance` is the largest possible. */
function tokenAt(row) {
    const entries = Array.from(ids.subarray(row * data.k, (row + 1) * data.k));
    const teacher = probabilities(logprobs, row);
    const asked = teacher.some((p) => p > 0);
    const place = asked ? entries.indexOf(gold[row]) : -1;
    const rest = asked ? Math.exp(half(tails[row])) : 1;
    const bound = asked && place < 0 && !goldLogprobs;
    const goldChance = place >= 0 ? teacher[place]
        : bound || !asked ? Math.min(rest, Math.min(...teacher)) : Math.exp(half(goldLogprobs[row]));
    return { row, entries, teacher, asked, place, rest, goldChance, bound, gold: gold[row] };
}

/** The soft target of the paper: softmax of the K log-probabilities / T. */
function softTarget(row, temperature) {
    const logs = Array.from(logprobs.subarray(row * data.k, (row + 1) * data.k), half);
    const weights = logs.map((log) => Math.exp((log - Math.max(...logs)) / temperature));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return weights.map((weight) => weight / total);
}

/** The share of the probability that teacher and student place differently (total variation). */
function distance(token, own) {
    const ownRest = Math.max(0, 1 - own.reduce((sum, p) => sum + p, 0));
    const apart = own.reduce((sum, p, i) => sum + Math.abs(p - token.teacher[i]), Math.abs(ownRest - token.rest));
    return Math.min(1, apart / 2);
}

// ---- Showing ----------------------------------------------------------------------------------------------------

/** An element with attributes, a class and children; strings become text. */
function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
}

/** A symbol by itself: its direction touches nothing around it, and one that can't be seen is named by its code. */
function symbolOf(id) {
    const symbol = data.symbols[id];
    return make("bdi", { class: "symbol" }, name(symbol));
}
const name = (symbol) => /^[\p{C}\p{Z}]*$/u.test(symbol) ? [...symbol].map(codePoint).join(" ") || "(empty)" : symbol;
const codePoint = (character) => `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;

const count = (n) => n.toLocaleString("en");
const number = (p) => p.toFixed(3);
const percent = (p) => Math.round(100 * p);
const share = (p) => (p === null ? "–" : `${percent(p)}%`);

/** The languages as HTML knows them, where the codes can be some. */
function setLanguage(element, code) {
    if (/^[a-z]{2,3}([_-]|$)/i.test(code)) element.lang = code.replaceAll("_", "-");
}

// ---- The list ---------------------------------------------------------------------------------------------------

const FILTERS = {
    "all sentences": () => true,
    "teacher wrong somewhere": (s) => s.wrong > 0,
    "teacher right throughout": (s) => s.asked > 0 && s.wrong === 0,
    [`reference outside the top ${data.k}`]: (s) => s.outside > 0,
};
if (sentences.some((s) => s.asked < s.tokens)) FILTERS["without a teacher"] = (s) => s.asked < s.tokens;

// What sorts first has the smallest value; nothing known comes last, and equals stay in the order of the data.
const last = (value) => value ?? Infinity;
const SORTS = {
    "number in the data": (s) => s.index,
    "teacher wrong most often": (s) => (s.asked ? -s.wrong / s.asked : 1),
    "teacher least sure": (s) => last(s.confidence),
    ...Object.fromEntries(students.map(({ name }, i) => [
        `farthest from student ${name}`, (s) => (s.distances[i] === null ? 1 : -s.distances[i]),
    ])),
    "longest target": (s) => -s.tokens,
    "shortest target": (s) => s.tokens,
};

const state = { shown: [], page: 0, open: null, token: 0 };

/** Choose and order the sentences as the controls say, and show the first page. */
function filterAndSort() {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const keep = FILTERS[$("filter").value];
    const key = SORTS[$("sort").value];
    state.shown = sentences.filter((s) => keep(s) && words.every((word) => s.text.includes(word)));
    state.shown.sort((a, b) => key(a) - key(b));
    const whole = { first: "the first", worst: "the worst", random: "random ones" }[data.select];
    const some = sentences.length < data.inStore ? `, ${whole} of ${count(data.inStore)}` : "";
    $("count").textContent = `${count(state.shown.length)} of ${count(sentences.length)} sentences${some}`;
    showPage(0);
    if (state.shown.length) openSentence(state.shown[0]);
}

function showPage(page) {
    const pages = Math.max(1, Math.ceil(state.shown.length / PAGE));
    state.page = Math.min(Math.max(page, 0), pages - 1);
    const first = state.page * PAGE;
    $("list").replaceChildren(...state.shown.slice(first, first + PAGE).map((s, i) => listItem(s, first + i)));
    $("list").scrollTop = 0;
    $("page").textContent = `page ${state.page + 1} of ${pages}`;
    $("previous").disabled = state.page === 0;
    $("next").disabled = state.page === pages - 1;
    markOpen();
}

function listItem(sentence, place) {
    const facts = [
        `#${sentence.index}`, `wrong ${sentence.wrong} of ${sentence.asked}`, `sure ${share(sentence.confidence)}`,
        ...students.map(({ name }, i) => `${name} apart ${share(sentence.distances[i])}`),
    ];
    const text = make("bdi", { class: "text", dir: "auto" }, sentence.target || "(empty)");
    setLanguage(text, data.langs[1]);
    const item = make(
        "div",
        { role: "option", tabindex: "-1", "aria-setsize": state.shown.length, "aria-posinset": place + 1 },
        text, make("span", { class: "facts" }, facts.join(" · ")),
    );
    item.sentence = sentence;
    return item;
}

/** One option of a list box takes part in the order of Tab: the chosen one, or else the first. */
function choose(box, chosen) {
    const options = [...box.children];
    for (const option of options) {
        option.setAttribute("aria-selected", option === chosen);
        option.tabIndex = -1;
    }
    const stop = chosen ?? options[0];
    if (stop) stop.tabIndex = 0;
}

const markOpen = () => choose($("list"), [...$("list").children].find((item) => item.sentence === state.open));

/** Turn the page, and go on with its first sentence or its last. */
function turn(step, place) {
    const before = state.page;
    showPage(state.page + step);
    if (state.page !== before) $("list").children[place === "last" ? $("list").children.length - 1 : 0].focus();
}

// ---- A sentence -------------------------------------------------------------------------------------------------

function openSentence(sentence) {
    state.open = sentence;
    markOpen();
    $("sentence-title").textContent = `Sentence ${sentence.index}`;
    $("source").textContent = sentence.source || "(empty)";
    $("target").textContent = sentence.target || "(empty)";
    // As the browser found the target to run, so do its tokens.
    $("tokens").dir = getComputedStyle($("target")).direction;
    const rows = Array.from({ length: sentence.tokens }, (_, i) => sentence.start + i);
    $("tokens").replaceChildren(...rows.map((row) => tokenItem(tokenAt(row))));
    showToken($("tokens").children[0], false);
}

function chance(token) {
    if (!token.asked) return "–";
    const value = percent(token.goldChance);
    if (token.bound) return `<${Math.max(1, Math.ceil(100 * token.goldChance))} ≠`;
    return token.place === 0 ? `${value}` : `${value} ≠`;
}

function tokenItem(token) {
    const kind = token.asked ? (token.place === 0 ? "" : "wrong") : "unasked";
    const spoken = !token.asked ? "the teacher was not asked"
        : token.bound ? `outside the top ${data.k}, below ${Math.max(1, Math.ceil(100 * token.goldChance))} percent`
        : `${percent(token.goldChance)} percent, ${token.place < 0 ? `outside the top ${data.k}`
            : token.place ? `the teacher's number ${token.place + 1}` : "the teacher's first"}`;
    const item = make(
        "div",
        { role: "option", tabindex: "-1", class: kind, "aria-label": `${name(data.symbols[token.gold])}, ${spoken}` },
        symbolOf(token.gold), make("span", { class: "chance", dir: "ltr" }, chance(token)),
    );
    item.style.setProperty("--p", token.bound ? 0 : token.goldChance);
    item.token = token;
    return item;
}

/** Show what is said of a token; `aloud` where somebody asked for it, and not only for its sentence. */
function showToken(item, aloud) {
    $("summary").setAttribute("aria-live", aloud ? "polite" : "off");
    choose($("tokens"), item);
    state.token = item.token;
    showSummary();
    showEntries();
}

/** What the table says, in a sentence that is read out. */
function showSummary() {
    const token = state.token;
    const said = token.asked
        ? token.entries.slice(0, 3).flatMap((id, i) => [i ? ", " : "the teacher says ", symbolOf(id), ` ${number(token.teacher[i])}`])
        : ["the teacher was not asked."];
    const rest = token.asked ? [`; outside its top ${data.k}: ${number(token.rest)}.`] : [];
    const apart = token.asked ? students.map(({ name, entries }) =>
        ` Student ${name} places ${share(distance(token, probabilities(entries, token.row)))} of the probability elsewhere.`) : [];
    $("summary").replaceChildren(make("b", {}, symbolOf(token.gold)), ": ", ...said, ...rest, ...apart);
}

function cell(kind, value, shown = number(value)) {
    const bar = make("span", { class: "bar", "aria-hidden": "true" });
    bar.style.setProperty("--p", value);
    return make("td", { class: kind }, shown, bar);
}

const NONE = "–";

/** A row for each entry, one for a reference that is none of them, one for everything else. */
function showEntries() {
    const { row, entries, teacher, asked, place, rest, goldChance, bound } = state.token;
    const temperature = Number($("temperature").value);
    const soft = asked ? softTarget(row, temperature) : [];
    const own = students.map((student) => probabilities(student.entries, row));
    const line = (head, cells, kind = "") => make("tr", { class: kind }, make("th", { scope: "row" }, ...head), ...cells);
    const rows = !asked ? [] : entries.map((id, i) => line(
        [symbolOf(id), ...(i === place ? [make("span", { class: "mark" }, "reference")] : [])],
        [cell("teacher", teacher[i]), cell("target", soft[i]), ...own.map((p) => cell("student", p[i]))],
        i === place ? "gold" : "",
    ));
    if (place < 0) {
        const known = bound ? `< ${number(goldChance)}` : asked ? number(goldChance) : NONE;
        rows.push(line(
            [symbolOf(gold[row]), make("span", { class: "mark" }, "reference")],
            [cell("teacher", bound || !asked ? 0 : goldChance, known), cell("target", 0, NONE),
                ...students.map((student) => cell("student", Math.exp(half(student.gold[row]))))],
            "gold",
        ));
    }
    if (asked) rows.push(line(
        ["all others"],
        [cell("teacher", rest), cell("target", 0, NONE),
            ...own.map((p) => cell("student", Math.max(0, 1 - p.reduce((sum, value) => sum + value, 0))))],
    ));
    const heads = ["symbol", "teacher", `target, T\u00a0=\u00a0${temperature}`, ...students.map(({ name }) => name)];
    const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, make("bdi", {}, text))));
    const caption = make("caption", {}, "Probabilities where the reference is ", symbolOf(gold[row]));
    const table = make("table", {}, caption, make("thead", {}, head), make("tbody", {}, ...rows));
    table.style.setProperty("--columns", heads.length);
    $("entries").replaceChildren(table);
}

function showTemperature() {
    const temperature = $("temperature").value;
    $("temperature-value").textContent = `T = ${temperature}`;
    const { asked, row, entries } = state.token;
    const first = asked ? `, ${name(data.symbols[entries[0]])} ${number(softTarget(row, temperature)[0])}` : "";
    $("temperature").setAttribute("aria-valuetext", `${temperature}${first}`);
    showEntries();
}

// ---- Hands and keys ---------------------------------------------------------------------------------------------

/** Arrow keys, Home and End move the focus among the options of a box; `over` says what is beyond its ends. */
function moveByKeys(box, forward, backward, over = () => {}) {
    box.addEventListener("keydown", (event) => {
        const options = [...box.children];
        const here = options.indexOf(document.activeElement);
        const steps = { [forward()]: here + 1, [backward()]: here - 1, Home: 0, End: options.length - 1 };
        if (here < 0 || !(event.key in steps)) return;
        event.preventDefault();
        const next = options[steps[event.key]];
        if (next) next.focus();
        else over(Math.sign(steps[event.key] - here));
    });
}

const optionAt = (event) => event.target.closest('[role="option"]');

function listenToTheList() {
    const list = $("list");
    const open = (event) => {
        const item = optionAt(event);
        if (item && item.sentence !== state.open) openSentence(item.sentence);
    };
    list.addEventListener("focusin", open);
    // A screen reader may click without the focus. Where the sentence stands below the list, a tap goes there.
    list.addEventListener("click", (event) => {
        open(event);
        if (!optionAt(event) || !matchMedia("(max-width: 56rem)").matches) return;
        $("sentence-title").focus({ preventScroll: true });
        $("sentence").scrollIntoView();
    });
    moveByKeys(list, () => "ArrowDown", () => "ArrowUp", (step) => turn(step, step < 0 ? "last" : "first"));
    list.addEventListener("keydown", (event) => {
        if (event.key === "PageDown") turn(1);
        else if (event.key === "PageUp") turn(-1);
        else if (event.key === "Enter" || event.key === " ") $("tokens").querySelector('[tabindex="0"]').focus();
        else return;
        event.preventDefault();
    });
    $("previous").addEventListener("click", () => showPage(state.page - 1));
    $("next").addEventListener("click", () => showPage(state.page + 1));
}

function toTheList() {
    // The open sentence may be on another page, or none of those that are shown.
    const place = state.shown.indexOf(state.open);
    if (place >= 0) showPage(Math.floor(place / PAGE));
    ($("list").querySelector('[tabindex="0"]') ?? $("search")).focus();
}

function listenToTheSentence() {
    const tokens = $("tokens");
    const show = (event) => {
        const item = optionAt(event);
        if (item && item.token !== state.token) showToken(item, true);
    };
    tokens.addEventListener("focusin", show);
    tokens.addEventListener("click", show);
    tokens.addEventListener("pointerover", (event) => event.pointerType === "mouse" && show(event));
    // The next token stands on the left where the target runs from right to left.
    const [right, left] = ["ArrowRight", "ArrowLeft"];
    moveByKeys(tokens, () => (tokens.dir === "rtl" ? left : right), () => (tokens.dir === "rtl" ? right : left));
    tokens.addEventListener("keydown", (event) => event.key === "Escape" && toTheList());
    $("temperature").addEventListener("input", showTemperature);
    $("to-list").addEventListener("click", toTheList);
}

function start() {
    for (const element of document.querySelectorAll(".k")) element.textContent = data.k;
    $("bound-legend").hidden = Boolean(goldLogprobs); // every probability is known
    $("unasked-legend").hidden = sentences.every(({ asked, tokens }) => asked === tokens);
    for (const [id, choices] of [["filter", FILTERS], ["sort", SORTS]]) {
        $(id).append(...Object.keys(choices).map((text) => make("option", {}, text)));
        $(id).addEventListener("change", filterAndSort);
    }
    if (students.length) {
        $("student-hint").textContent =
            "Students' probabilities are of all symbols too, with the reference before the token given.";
        $("apart-legend").textContent = "Apart: the share of the probability that a student places elsewhere.";
    }
    $("search").addEventListener("input", filterAndSort);
    $("controls").addEventListener("submit", (event) => event.preventDefault());
    ["source", "target", "tokens"].forEach((id) => setLanguage($(id), data.langs[id === "source" ? 0 : 1]));
    listenToTheList();
    listenToTheSentence();
    filterAndSort();
    showTemperature();
    // When the first frame is drawn; the tests read it.
    requestAnimationFrame(() => performance.mark("first-render"));
}

start();
