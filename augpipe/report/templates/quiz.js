"use strict";
// The quiz: which picture is shown, the answers, the score, and the answers as a CSV file. Class names are only ever text.
const quiz = JSON.parse(document.getElementById("quiz").textContent);
const byId = (id) => document.getElementById(id);
let answers = [];
let shown = 0; // milliseconds at which the picture was shown
let stage = "start";

function show(name) {
  stage = name;
  for (const section of ["start", "question", "end"]) byId(section).hidden = section !== name;
}

function ask() {
  const at = answers.length;
  if (at === quiz.items.length) return finish();
  const item = quiz.items[at];
  byId("image").src = item.image;
  byId("class").textContent = item.class;
  byId("place").textContent = `picture ${at + 1} of ${quiz.items.length}`;
  byId("done").value = at;
  byId("back").disabled = at === 0;
  show("question");
  shown = performance.now();
}

function answer(word) {
  answers.push({ answer: word, seconds: (performance.now() - shown) / 1000 });
  ask();
}

function back() {
  if (answers.length) answers.pop();
  ask();
}

// Wilson's score interval, as `augpipe quiz score` computes it.
function wilson(hits, n) {
  const z2 = quiz.z * quiz.z, p = hits / n;
  const centre = (p + z2 / (2 * n)) / (1 + z2 / n);
  const half = (quiz.z / (1 + z2 / n)) * Math.sqrt((p * (1 - p)) / n + z2 / (4 * n * n));
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}

function finish() {
  const pairs = quiz.items.map((item, at) => [item, answers[at].answer]);
  const right = (of) => of.filter(([item, word]) => item.truth === word).length;
  const percent = (value) => (100 * value).toFixed(1);
  const [low, high] = wilson(right(pairs), pairs.length);
  const reading = low > 0.5 ? "better than guessing" : high < 0.5 ? "worse than guessing" : "not shown to be better than guessing";
  byId("score").textContent =
    `${right(pairs)} of ${pairs.length} right: ${percent(right(pairs) / pairs.length)}% (95% interval ${percent(low)} to ${percent(high)}), ${reading}.`;
  const of = (truth) => pairs.filter(([item]) => item.truth === truth);
  byId("detail").textContent =
    `${right(of("real"))} of ${of("real").length} real pictures were called real, ${right(of("synthetic"))} of ${of("synthetic").length} synthetic ones synthetic.`;
  const tiles = pairs.filter(([item, word]) => item.truth !== word).map(([item, word]) => {
    const figure = document.createElement("figure"), image = document.createElement("img"), text = document.createElement("figcaption");
    image.src = item.image;
    image.alt = `${item.truth}, called ${word}`;
    text.textContent = `${item.truth}, called ${word} (${item.class})`;
    figure.append(image, text);
    return figure;
  });
  byId("mistaken").replaceChildren(...(tiles.length ? tiles : ["None."]));
  show("end");
  byId("save").focus();
}

// Text that a spreadsheet would run as a formula gets ' before it, as in all CSV files of augpipe (`core/csv_files.py`).
const FORMULA = /(?:^|(?<=;))(?='*(?:[=@\t\r\n\uff1d\uff0b\uff0d\uff20]|[+-](?!\d+(?:\.\d+)?$)))/g;

function cell(value) {
  const safe = String(value).replace(FORMULA, "'");
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function csv() {
  const rows = quiz.items.map((item, at) =>
    [quiz.quiz, at + 1, item.class, item.truth, answers[at].answer, answers[at].seconds.toFixed(2)]);
  return [["quiz", "item", "class", "truth", "answer", "seconds"], ...rows].map((row) => row.map(cell).join(",") + "\r\n").join("");
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = "answers.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function begin() {
  answers = [];
  ask();
}

const keys = {
  start: { Enter: begin },
  question: { r: () => answer("real"), ArrowLeft: () => answer("real"), s: () => answer("synthetic"), ArrowRight: () => answer("synthetic"), Backspace: back },
  end: { Enter: save, Backspace: back },
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const act = keys[stage][event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
byId("begin").onclick = begin;
byId("real").onclick = () => answer("real");
byId("synthetic").onclick = () => answer("synthetic");
byId("back").onclick = back;
byId("save").onclick = save;
byId("again").onclick = begin;
