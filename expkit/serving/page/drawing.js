// The canvas: strokes by mouse, pen or finger, and the picture that is made of them.

const SIDE = 280;
const BOX = 20 / 28; // MNIST's digits fill 20 of 28 pixels, their centre of mass in the middle

export function startDrawing(input, changed) {
  const canvas = document.getElementById("canvas");
  const pen = document.getElementById("pen");
  const colour = document.getElementById("colour");
  const centre = document.getElementById("centre");
  const [paper, ink] = input.bright_on_dark ? ["#000", "#fff"] : ["#fff", "#000"];
  const coloured = input.channels === 3;
  const scale = SIDE / Math.max(input.width, input.height);
  canvas.width = Math.round(input.width * scale);
  canvas.height = Math.round(input.height * scale);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  let strokes = [];
  let stroke = null;

  pen.value = Math.max(8, Math.round(2.2 * scale)); // MNIST's lines are two to three pixels wide
  document.getElementById("colour-label").hidden = !coloured;
  document.getElementById("centre-row").hidden = coloured;
  centre.checked = !coloured && input.bright_on_dark;

  function draw() {
    context.fillStyle = paper;
    context.fillRect(0, 0, canvas.width, canvas.height);
    for (const one of strokes) line(one);
    document.getElementById("undo").disabled = document.getElementById("clear").disabled = strokes.length === 0;
  }
  function line({ points, width, colour }) {
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = width;
    context.strokeStyle = colour;
    context.beginPath();
    context.moveTo(points[0].x, points[0].y);
    for (let i = 1; i < points.length - 1; i++) {
      const next = points[i + 1];
      context.quadraticCurveTo(points[i].x, points[i].y, (points[i].x + next.x) / 2, (points[i].y + next.y) / 2);
    }
    const end = points[points.length - 1];
    context.lineTo(end.x, end.y + (points.length === 1 ? 0.01 : 0));
    context.stroke();
  }
  function at(event) {
    const box = canvas.getBoundingClientRect();
    const edge = canvas.clientLeft;
    return {
      x: ((event.clientX - box.left - edge) * canvas.width) / (box.width - 2 * edge),
      y: ((event.clientY - box.top - edge) * canvas.height) / (box.height - 2 * edge),
    };
  }
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || stroke) return;
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    stroke = { id: event.pointerId, points: [at(event)], width: Number(pen.value), colour: coloured ? colour.value : ink };
    strokes.push(stroke);
    draw();
    changed();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!stroke || event.pointerId !== stroke.id) return;
    const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const one of events.length ? events : [event]) stroke.points.push(at(one));
    draw();
    changed();
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => {
      if (!stroke || event.pointerId !== stroke.id) return;
      stroke = null;
      changed();
    });
  }
  function clear() { strokes = []; stroke = null; draw(); changed(); }
  function undo() { strokes.pop(); stroke = null; draw(); changed(); }
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Delete" || event.key === "Escape") clear();
    else if (event.key === "Backspace" || (event.key === "z" && (event.ctrlKey || event.metaKey))) undo();
    else return;
    event.preventDefault();
  });
  document.getElementById("clear").addEventListener("click", clear);
  document.getElementById("undo").addEventListener("click", undo);
  const width = () => { document.getElementById("pen-value").value = `${(pen.value / scale).toFixed(1)} px of ${input.width}`; };
  pen.addEventListener("input", width);
  centre.addEventListener("change", changed);
  width();
  draw();

  return {
    isEmpty: () => strokes.length === 0,
    picture: () => blob(centre.checked && !coloured ? centred(canvas, context, paper, input.bright_on_dark) : canvas),
  };
}

function blob(canvas) {
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

// The drawing as MNIST's were prepared: its longer side fills 20 of 28 pixels, its centre of mass is in the middle.
function centred(canvas, context, paper, bright) {
  const { width, height } = canvas;
  const pixels = context.getImageData(0, 0, width, height).data;
  let left = width, right = -1, top = height, bottom = -1, mass = 0, sumX = 0, sumY = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const value = pixels[4 * (y * width + x)];
      const ink = bright ? value : 255 - value;
      if (ink < 16) continue;
      left = Math.min(left, x); right = Math.max(right, x);
      top = Math.min(top, y); bottom = Math.max(bottom, y);
      mass += ink; sumX += ink * (x + 0.5); sumY += ink * (y + 0.5);
    }
  }
  const made = document.createElement("canvas");
  made.width = width; made.height = height;
  const target = made.getContext("2d");
  target.fillStyle = paper;
  target.fillRect(0, 0, width, height);
  if (mass === 0) return made;
  const longer = Math.max(right - left + 1, bottom - top + 1);
  const factor = Math.min(3, (BOX * Math.min(width, height)) / longer); // a dot is not blown up to a disc
  target.imageSmoothingQuality = "high";
  target.translate(width / 2 - (factor * sumX) / mass, height / 2 - (factor * sumY) / mass);
  target.scale(factor, factor);
  target.drawImage(canvas, left, top, right - left + 1, bottom - top + 1, left, top, right - left + 1, bottom - top + 1);
  return made;
}
