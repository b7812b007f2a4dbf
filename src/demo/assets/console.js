// New records as they are written. The server sends each as the same list item that a reload would show.

const records = document.getElementById("records");
const live = document.getElementById("live");
const SHOWN = 300;

const events = new EventSource(`/console/events?after=${encodeURIComponent(records.dataset.last)}`);
events.addEventListener("open", () => tell("Live", true));
events.addEventListener("error", () => tell("Connection lost, trying again", false));
events.addEventListener("record", (event) => {
  const template = document.createElement("template");
  template.innerHTML = event.data;
  const item = template.content.firstElementChild;
  if (!item || (item.dataset.seq && records.querySelector(`[data-seq="${CSS.escape(item.dataset.seq)}"]`))) return;
  document.getElementById("none").hidden = true;
  records.prepend(item);
  while (records.children.length > SHOWN) records.lastElementChild.remove();
});

function tell(text, on) {
  live.textContent = text;
  live.classList.toggle("on", on);
}
