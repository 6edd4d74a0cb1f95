import { element, number, percent, prepare, showAnswer, showError, showNothing, summary } from "/answers.js";
import { startDrawing } from "/drawing.js";
import { ask, newest } from "/server.js";
import { startForm } from "/table.js";

const MOST_ROWS = 500;
const $ = (id) => document.getElementById(id);
let answered = []; // of files: {name, file, row, answer, error, seen}

async function start() {
  const answer = await fetch("/api/model");
  if (!answer.ok) throw new Error(`The server answers ${answer.status}.`);
  const model = await answer.json();
  describe(model);
  const images = model.input.kind === "image";
  if (model.target.kind === "classes") prepare(model.target.labels);
  else $("bars").hidden = true;
  if (images) pictures(model);
  else rows(model);
  files(model, images);
}

function describe(model) {
  document.title = `${model.name} · expkit`;
  $("name").textContent = model.name;
  const tested = Object.entries(model.metrics).filter(([name]) => name.startsWith("test/"));
  tested.sort(([a], [b]) => (a === "test/loss") - (b === "test/loss"));
  const parts = [
    [model.choices.model, model.data.name].filter(Boolean).join(" on "),
    ...tested.slice(0, 3).map(([name, value]) => `test ${name.slice(5)} ${number(value)}`),
    model.run && `run ${model.run}`,
    `runs with ${model.runtime}`,
  ];
  $("facts").textContent = parts.filter(Boolean).join(" · ");
  const other = model.data.stand_in_for;
  $("stand-in").hidden = !other;
  $("stand-in").textContent = `Not ${other}: this model was trained on ${model.data.name}. Its answers say nothing about ${other}.`;
  const about = {
    data: model.data.name, fingerprint: model.data.fingerprint.slice(0, 12), trained: model.created,
    ...Object.fromEntries(Object.entries(model.metrics).map(([name, value]) => [name, number(value)])),
    "a request": `at most ${model.limits.bytes.toLocaleString("en")} bytes, ${model.limits.items.toLocaleString("en")} `
      + `images or rows, ${model.limits.seconds} seconds`,
    expkit: model.expkit,
  };
  for (const [name, value] of Object.entries(about)) {
    if (value) $("details").append(element("dt", name), element("dd", value));
  }
  $("curl").textContent = curl(model);
}

function curl(model) {
  const address = `${location.origin}/api/predict`;
  if (model.input.kind === "image") {
    return `curl -H 'Content-Type: image/png' --data-binary @digit.png ${address}\n`
      + `curl -F file=@one.png -F file=@two.png ${address}`;
  }
  const row = JSON.stringify({ rows: [model.input.columns.map((column) => Number(column.start.toPrecision(4)))] });
  return `curl -H 'Content-Type: application/json' -d '${row}' ${address}\n`
    + `curl -H 'Content-Type: text/csv' --data-binary @rows.csv ${address}`;
}

function pictures(model) {
  $("draw").hidden = false;
  $("seen-size").textContent = `${model.input.width} × ${model.input.height} pixels`;
  const blank = "Draw on the left, or choose a file.";
  const drawing = startDrawing(model.input, newest(async () => {
    if (drawing.isEmpty()) return showNothing(blank);
    try {
      const [item] = await ask(await drawing.picture(), "image/png", true);
      if (!drawing.isEmpty()) showAnswer(item);
    } catch (error) {
      showError(error.message);
    }
  }, 40));
  showNothing(blank);
  model.examples.forEach((picture, i) => {
    const button = element("button");
    const image = document.createElement("img");
    Object.assign(image, { src: picture, alt: `example ${i + 1}` });
    button.type = "button";
    button.append(image);
    button.addEventListener("click", async () => {
      const bytes = Uint8Array.from(atob(picture.split(",")[1]), (c) => c.charCodeAt(0));
      send([new File([bytes], `example ${i + 1}.png`, { type: "image/png" })], model);
    });
    $("try").append(button);
  });
  $("try").hidden = model.examples.length === 0;
}

function rows(model) {
  $("form").hidden = false;
  document.body.classList.add("table");
  const changed = newest(async () => {
    try {
      const [item] = await ask(JSON.stringify({ rows: [form.row()] }), "application/json", false);
      showAnswer(item);
    } catch (error) {
      showError(error.message);
    }
  }, 60);
  const form = startForm(model.input, model.examples, changed);
  changed();
}

function files(model, images) {
  const chooser = $("chooser");
  const names = images ? [] : model.input.columns.map((column) => column.name);
  $("drop-text").textContent = images
    ? "Drop images here, paste one, or choose:"
    : `Drop a CSV file here, paste its text, or choose one. Columns: ${names.join(", ")}.`;
  chooser.accept = images ? "image/*" : ".csv,.txt,text/csv";
  chooser.addEventListener("change", () => { send([...chooser.files], model); chooser.value = ""; });
  document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dragging"); });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    if (event.dataTransfer.files.length) send([...event.dataTransfer.files], model);
  });
  document.addEventListener("paste", (event) => {
    const given = [...event.clipboardData.files];
    const text = event.clipboardData.getData("text");
    if (given.length) send(given, model);
    else if (!images && text.includes("\n")) send([new File([text], "pasted.csv", { type: "text/csv" })], model);
    else return;
    event.preventDefault();
  });
  $("download").addEventListener("click", () => save(model));
  $("forget").addEventListener("click", () => { answered = []; list(model); showError(""); });
}

async function send(given, model) {
  const limits = model.limits;
  const before = answered.length;
  try {
    for (const part of portions(given, limits)) {
      const form = new FormData();
      for (const file of part) form.append("file", file, file.name);
      const items = await ask(form, "", true);
      items.forEach((item, i) => keep(item, part[i]));
      list(model);
    }
    const found = answered.slice(before);
    const shown = found.find((one) => !one.error) || found[0];
    if (shown) show(shown);
  } catch (error) {
    showError(error.message);
  }
}

// Files in groups of which each fits into a request.
function portions(given, limits) {
  const room = limits.bytes * 0.9;
  const found = [];
  let size = Infinity;
  for (const file of given) {
    if (file.size > room) {
      throw new Error(`${file.name} has ${file.size.toLocaleString("en")} bytes; a request may have ${limits.bytes.toLocaleString("en")}.`);
    }
    if (size + file.size > room || found[found.length - 1].length >= Math.min(100, limits.items)) { found.push([]); size = 0; }
    found[found.length - 1].push(file);
    size += file.size + 500;
  }
  return found;
}

function keep(item, file) {
  if (item.error) answered.push({ name: item.name, error: item.error });
  else item.answers.forEach((answer, i) => answered.push({
    name: item.answers.length > 1 ? `${item.name}, row ${i + 1}` : item.name, answer, seen: item.seen && item.seen[i],
  }));
}

function show(one) {
  showAnswer(one.error ? { error: one.error } : { answers: [one.answer], seen: one.seen && [one.seen] }, one.name);
}

function list(model) {
  const images = model.input.kind === "image";
  const classes = model.target.kind === "classes";
  const heads = [images && "seen", "file", classes ? "label" : model.target.names.join(", "), classes && "probability"];
  const head = document.createElement("tr");
  for (const text of heads) if (text) head.append(element("th", text, text === "probability" ? "number" : ""));
  $("table").tHead.replaceChildren(head);
  const body = $("table").tBodies[0];
  body.replaceChildren(...answered.slice(0, MOST_ROWS).map((one) => line(one, images, classes)));
  $("table-frame").hidden = $("table-actions").hidden = answered.length === 0;
  $("table-note").textContent = answered.length > MOST_ROWS ? `The first ${MOST_ROWS} of ${answered.length}; the CSV has all.` : "";
}

function line(one, images, classes) {
  const row = document.createElement("tr");
  if (images) {
    const cell = element("td");
    if (one.seen) {
      const image = document.createElement("img");
      Object.assign(image, { src: one.seen, alt: "" });
      cell.append(image);
    }
    row.append(cell);
  }
  const name = element("td");
  const button = element("button", one.name);
  button.type = "button";
  button.title = "show its answer above";
  button.addEventListener("click", () => { show(one); $("result").scrollIntoView({ block: "nearest" }); });
  name.append(button);
  row.append(name);
  if (one.error) {
    const cell = element("td", one.error, "error");
    cell.colSpan = 2;
    row.append(cell);
  } else if (classes) {
    row.append(element("td", one.answer.label), element("td", percent(one.answer.probability), "number"));
  } else {
    row.append(element("td", summary(one.answer)));
  }
  return row;
}

function save(model) {
  const classes = model.target.kind === "classes";
  const columns = classes ? ["label", "probability", ...model.target.labels.map((label) => `p(${label})`)] : model.target.names;
  const lines = answered.map((one) => {
    if (one.error) return [one.name, ...columns.map(() => ""), one.error];
    const { answer } = one;
    const values = classes ? [answer.label, answer.probability, ...model.target.labels.map((label) => answer.probabilities[label])]
      : model.target.names.map((name) => answer.values[name]);
    return [one.name, ...values, ""];
  });
  const text = [["file", ...columns, "error"], ...lines].map((line) => line.map(quoted).join(",")).join("\r\n");
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([text + "\r\n"], { type: "text/csv" }));
  link.download = `${model.name} answers.csv`.replace(/[^\w. -]/g, "_");
  link.click();
  URL.revokeObjectURL(link.href);
}

function quoted(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

start().catch((error) => showError(error.message || "The server does not answer."));
