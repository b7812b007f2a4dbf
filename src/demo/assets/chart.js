// A line chart as SVG, drawn to the width it has, so that its text keeps its size on a phone.

const SVG = "http://www.w3.org/2000/svg";
const DAY = 86_400_000;

/** Draws `points` ({date, values}) of `series` ({unit, lines}) into `place`. */
export function draw(place, series, points) {
  const width = Math.max(260, Math.round(place.clientWidth));
  const height = width < 480 ? 190 : 230;
  const edge = { left: 38, right: series.lines.length > 1 ? 62 : 14, top: 12, bottom: 26 };
  const times = points.map((point) => Date.parse(point.date));
  const [from, to] = [times[0], Math.max(times.at(-1), times[0] + DAY)];
  const ticks = scale(points.flatMap((point) => point.values));
  const x = (time) => edge.left + ((time - from) / (to - from)) * (width - edge.left - edge.right);
  const y = (value) => height - edge.bottom - ((value - ticks[0]) / (ticks.at(-1) - ticks[0])) * (height - edge.top - edge.bottom);
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": "true" });
  for (const tick of ticks) {
    svg.append(element("line", { class: "grid", x1: edge.left, x2: width - edge.right, y1: y(tick), y2: y(tick) }));
    svg.append(label(tick, { x: edge.left - 8, y: y(tick) + 4, "text-anchor": "end" }));
  }
  for (const [time, name] of months(from, to, width)) svg.append(label(name, { x: x(time), y: height - 6, "text-anchor": "middle" }));
  series.lines.forEach(([, name], at) => {
    const style = `series-${at + 1}`;
    const path = points.map((point, index) => `${index ? "L" : "M"}${x(times[index]).toFixed(1)} ${y(point.values[at]).toFixed(1)}`).join("");
    svg.append(element("path", { class: `line ${style}`, d: path }));
    points.forEach((point, index) => {
      const dot = element("circle", { class: style, cx: x(times[index]), cy: y(point.values[at]), r: 3.5 });
      const title = element("title", {});
      title.textContent = `${point.date.slice(0, 10)}: ${point.values[at]} ${series.unit}`;
      dot.append(title);
      svg.append(dot);
    });
    if (series.lines.length > 1) svg.append(label(name, { class: style, x: width - edge.right + 8, y: y(points.at(-1).values[at]) + 4 }));
  });
  place.replaceChildren(svg);
}

/** Round numbers from below the least to above the greatest value. */
function scale(values) {
  const [least, greatest] = [Math.min(...values), Math.max(...values)];
  const step = [1, 2, 5, 10, 20, 50, 100].find((size) => (greatest - least) / size <= 5) ?? 200;
  const first = Math.floor((least - step / 4) / step) * step;
  const ticks = [];
  for (let tick = first; ticks.length < 12; tick += step) {
    ticks.push(tick);
    if (tick >= greatest + step / 4) break;
  }
  return ticks;
}

/** The first days of months, as many as fit. */
function months(from, to, width) {
  const every = [3, 6, 12].find((size) => (to - from) / (size * 30 * DAY) <= (width - 60) / 64) ?? 24;
  const start = new Date(from);
  const found = [];
  for (let month = Math.ceil(start.getUTCMonth() / every) * every; found.length < 40; month += every) {
    const date = new Date(Date.UTC(start.getUTCFullYear(), month, 1));
    if (date.getTime() > to) break;
    if (date.getTime() >= from) found.push([date.getTime(), date.toLocaleDateString("en-GB", { month: "short", year: "2-digit", timeZone: "UTC" })]);
  }
  return found;
}

function label(text, attributes) {
  const node = element("text", attributes);
  node.textContent = text;
  return node;
}

function element(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}
