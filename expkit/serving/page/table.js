// The form for a row of a table.

import { element } from "/answers.js";

export function startForm(input, examples, changed) {
  const form = document.getElementById("columns");
  const fields = input.columns.map((column) => {
    const label = element("label", column.name);
    const field = document.createElement("input");
    Object.assign(field, { type: "number", step: "any", required: true, name: column.name, value: neat(column.start) });
    field.addEventListener("input", changed);
    label.append(field);
    form.append(label);
    return field;
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); changed(); });
  const fill = (values) => { fields.forEach((field, i) => { field.value = values[i]; }); changed(); };
  document.getElementById("reset").addEventListener("click", () => fill(input.columns.map((column) => neat(column.start))));
  examples.forEach((row, i) => {
    const button = element("button", `Example ${i + 1}`);
    button.type = "button";
    button.title = "a row of the data";
    button.addEventListener("click", () => fill(row));
    document.getElementById("rows-to-try").append(button);
  });
  return {
    row() {
      const wrong = fields.filter((field) => !Number.isFinite(field.valueAsNumber)).map((field) => field.name);
      if (wrong.length) throw new Error(`No number in ${wrong.join(", ")}.`);
      return Object.fromEntries(fields.map((field) => [field.name, field.valueAsNumber]));
    },
  };
}

// Short enough for a field. Rows of the data stay as they are.
function neat(value) {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}
