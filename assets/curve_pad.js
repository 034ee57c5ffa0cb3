// A pad on which a curve is drawn with the pointer. It tells Streamlit the values at the given places.
const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 220, LEFT = 52, RIGHT = 16, TOP = 12, BOTTOM = 40;
const NEAR = 0.04; // a pointer so close to a place sets its value

function add(parent, name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

export default function (component) {
  const host = component.parentElement.host ?? component.parentElement;
  let drawn = 0;
  const resized = new ResizeObserver(() => {
    if (host.clientWidth && host.clientWidth !== drawn) show(component, (drawn = host.clientWidth));
  });
  resized.observe(host);
  show(component, (drawn = host.clientWidth || 320));
  return () => resized.disconnect();
}

function show({ parentElement, data, setTriggerValue }, width) {
  const { places, low, high, step, unit, label } = data;
  const values = [...data.values];
  parentElement.querySelector("svg")?.remove();
  const x = (place) => LEFT + place * (width - LEFT - RIGHT);
  const y = (value) => TOP + ((high - value) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const svg = add(parentElement, "svg", {
    viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label,
    style: "display: block; width: 100%; touch-action: none; cursor: crosshair; font: 13px var(--st-font)",
  });
  const words = { fill: "var(--st-text-color)" };
  for (const value of [low, (low + high) / 2, high]) {
    add(svg, "line", { x1: x(0), x2: x(1), y1: y(value), y2: y(value), stroke: "var(--st-border-color)" });
    add(svg, "text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end", ...words }, `${+value.toFixed(2)}`);
  }
  for (const place of places) {
    add(svg, "line", { x1: x(place), x2: x(place), y1: TOP, y2: HEIGHT - BOTTOM, stroke: "var(--st-border-color)" });
    add(svg, "text", { x: x(place), y: HEIGHT - BOTTOM + 16, "text-anchor": "middle", ...words }, `${place}`);
  }
  add(svg, "text", { x: x(0.5), y: HEIGHT - 6, "text-anchor": "middle", ...words }, `λ (A to B)${unit}`);
  const line = add(svg, "polyline", { fill: "none", stroke: "var(--st-primary-color)", "stroke-width": 3 });
  const dots = places.map(() => add(svg, "circle", { r: 6, fill: "var(--st-primary-color)" }));

  const draw = () => {
    line.setAttribute("points", places.map((place, i) => `${x(place)},${y(values[i])}`).join(" "));
    dots.forEach((dot, i) => (dot.setAttribute("cx", x(places[i])), dot.setAttribute("cy", y(values[i]))));
  };
  const at = (event) => {
    const box = svg.getBoundingClientRect(), scale = width / box.width;
    const place = ((event.clientX - box.left) * scale - LEFT) / (width - LEFT - RIGHT);
    const share = ((event.clientY - box.top) * scale - TOP) / (HEIGHT - TOP - BOTTOM);
    const inside = (number) => Math.min(1, Math.max(0, number));
    return { place: inside(place), value: high - inside(share) * (high - low) };
  };
  const set = (i, value) => (values[i] = Math.min(high, +(low + step * Math.round((value - low) / step)).toFixed(9)));
  let last = null;
  svg.onpointerdown = (event) => {
    svg.setPointerCapture(event.pointerId);
    last = at(event);
    const far = places.map((place) => Math.abs(place - last.place));
    set(far.indexOf(Math.min(...far)), last.value); // a tap sets the nearest place
    draw();
  };
  svg.onpointermove = (event) => {
    if (last === null) return;
    const now = at(event), passed = now.place - last.place;
    places.forEach((place, i) => {
      if (Math.abs(place - now.place) < NEAR) set(i, now.value);
      else if ((place - last.place) * (place - now.place) < 0)
        set(i, last.value + ((place - last.place) / passed) * (now.value - last.value));
    });
    last = now;
    draw();
  };
  svg.onpointerup = svg.onpointercancel = () => {
    if (last !== null) setTriggerValue("drawn", values);
    last = null;
  };
  draw();
}
