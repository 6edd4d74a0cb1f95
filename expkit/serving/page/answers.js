// Shows the answer for one input: the best class and the bars, or the values.

const MOST_BARS = 40;
const $ = (id) => document.getElementById(id);

export function percent(p) {
  const value = 100 * p;
  if (value > 99.9 && value < 100) return "> 99.9 %";
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value.toFixed(1)} %`;
}

export function number(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e6 || size < 1e-3 ? value.toExponential(3) : Number(value.toPrecision(5)).toString();
}

// "× 1000 dollars", "mm"
export function unitOf(answer) {
  return /^\d/.test(answer.unit) ? `× ${answer.unit}` : answer.unit;
}

export function summary(answer) {
  if (answer.label !== undefined) return `${answer.label}, ${percent(answer.probability)}`;
  return Object.entries(answer.values).map(([name, value]) => `${name} ${number(value)} ${unitOf(answer)}`.trim()).join(", ");
}

export function showError(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}

export function showNothing(text) {
  speak("");
  showError("");
  $("best").replaceChildren(element("small", text));
  $("seen-figure").hidden = true;
  $("more").hidden = true;
  for (const bar of $("bars").children) setBar(bar, 0, false, "");
}

export function showAnswer(item, name = "") {
  if (item.error) {
    showNothing("");
    showError(name ? `${name}: ${item.error}` : item.error);
    return;
  }
  const answer = item.answers[0];
  showError("");
  if (answer.label !== undefined) showClasses(answer, name);
  else showValues(answer, name);
  speak(summary(answer));
  const seen = item.seen && item.seen[0];
  $("seen-figure").hidden = !seen;
  if (seen) $("seen").src = seen;
}

// To those who do not see the bars, once the drawing has rested.
let speaking = 0;
function speak(text) {
  clearTimeout(speaking);
  speaking = setTimeout(() => { $("spoken").textContent = text; }, 800);
}

function showClasses(answer, name) {
  const from = name ? ` for ${name}` : "";
  $("best").replaceChildren(element("strong", answer.label), element("small", percent(answer.probability) + from));
  let entries = Object.entries(answer.probabilities);
  const all = entries.length;
  if (all > MOST_BARS) entries = entries.sort((a, b) => b[1] - a[1]).slice(0, MOST_BARS);
  $("more").hidden = all <= MOST_BARS;
  $("more").textContent = `The ${MOST_BARS} best of ${all} classes.`;
  const bars = $("bars");
  while (bars.children.length < entries.length) bars.append(makeBar());
  while (bars.children.length > entries.length) bars.lastChild.remove();
  entries.forEach(([label, p], i) => {
    const bar = bars.children[i];
    bar.firstChild.textContent = label;
    bar.firstChild.title = label;
    setBar(bar, p, label === answer.label, percent(p));
  });
}

function showValues(answer, name) {
  const entries = Object.entries(answer.values);
  const shown = entries.flatMap(([what, value]) => [
    element("small", what), element("strong", number(value)), element("small", unitOf(answer)),
  ]);
  if (name) shown.push(element("small", `for ${name}`));
  $("best").replaceChildren(...shown);
}

// A class in place before the first answer, so that nothing jumps when it comes.
export function prepare(labels) {
  if (labels.length > MOST_BARS) return;
  for (const label of labels) {
    const bar = makeBar();
    bar.firstChild.textContent = label;
    bar.firstChild.title = label;
    $("bars").append(bar);
  }
}

function makeBar() {
  const bar = element("div", "", "bar");
  bar.setAttribute("role", "listitem");
  const track = element("div", "", "track");
  track.append(element("div", "", "fill"));
  bar.append(element("span", "", "label"), track, element("span", "", "number"));
  return bar;
}

function setBar(bar, p, best, text) {
  bar.classList.toggle("best", best);
  bar.querySelector(".fill").style.width = `${Math.min(100, 100 * p)}%`;
  bar.lastChild.textContent = text;
}

export function element(tag, text = "", classes = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (classes) made.className = classes;
  return made;
}
