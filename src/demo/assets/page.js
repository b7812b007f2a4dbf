// Small helpers for building a page out of text that is never HTML.

/** An element: `make("p", { class: "quiet" }, "text", child)`. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Shows an error where everybody hears of it, with a way on. */
export function fail(error) {
  document.getElementById("progress").textContent = "";
  const problem = document.getElementById("problem");
  problem.replaceChildren(make("h1", {}, "That did not work"), make("p", {}, error.message), make("p", {}, make("a", { href: "/app/launch" }, "Launch again")));
  problem.hidden = false;
}

/** A date in words. */
export const day = (text) => (text ? new Date(text).toLocaleDateString("en-GB", { year: "numeric", month: "short", day: "numeric", timeZone: "UTC" }) : "");
