// The Vitals app itself: one patient's series, problems, medications and visits.
import { fetchFhir, fhirBase, forget, session } from "./smart.js";
import { day, fail, make } from "./page.js";
import { draw } from "./chart.js";

const content = document.getElementById("content");
const progress = document.getElementById("progress");

const SERIES = [
  { title: "Blood pressure", unit: "mmHg", digits: 0, code: "85354-9", lines: [["8480-6", "systolic"], ["8462-4", "diastolic"]] },
  { title: "Weight", unit: "kg", digits: 1, code: "29463-7", lines: [["29463-7", "weight"]] },
  { title: "Heart rate", unit: "per minute", digits: 0, code: "8867-4", lines: [["8867-4", "heart rate"]] },
];

session().then((current) => (current ? show(current) : welcome())).catch(fail);

function welcome() {
  content.replaceChildren(
    make("div", { class: "heading" }, make("h1", {}, "Vitals"), make("p", { class: "lead" }, "See how blood pressure, weight and heart rate change over time. Sign in to choose what this app may read.")),
    make("p", {}, make("a", { class: "button", href: `/app/launch?iss=${encodeURIComponent(fhirBase)}` }, "Sign in")),
  );
  content.hidden = false;
}

async function show(current) {
  const { patient } = current.token;
  if (!patient) throw new Error("The launch named no patient.");
  progress.textContent = "Reading the record…";
  const of = (type, rest) => pages(current, `${type}?patient=${encodeURIComponent(patient)}${rest}`).catch((error) => error);
  const [person, observations, conditions, medications, encounters, user] = await Promise.all([
    fetchFhir(current, `Patient/${encodeURIComponent(patient)}`).catch((error) => error),
    of("Observation", "&category=vital-signs&_sort=-date&_count=100"),
    of("Condition", "&_count=100"), of("MedicationRequest", "&_count=100"), of("Encounter", "&_sort=-date&_count=50"),
    userName(current),
  ]);
  if (person instanceof Error && person.status === 401) { forget(); throw person; }
  document.getElementById("user").textContent = user ? `for ${user}` : "";
  progress.textContent = "";
  content.replaceChildren(
    current.token.need_patient_banner === false ? make("h1", {}, "Vitals") : banner(person),
    ...charts(observations),
    make("div", { class: "columns even" },
      list("Problems", conditions, (one) => [text(one.code), `${coded(one.clinicalStatus)}${one.onsetDateTime ? `, since ${day(one.onsetDateTime)}` : ""}`]),
      list("Medications", medications, (one) => [text(one.medicationCodeableConcept), one.dosageInstruction?.[0]?.text ?? one.status]),
      list("Visits", encounters, (one) => [text(one.type?.[0]), `${day(one.period?.start)}${one.id === current.token.encounter ? ", this visit" : ""}`], 6)),
    given(current),
  );
  content.hidden = false;
}

/** All matches of a search, over at most 20 pages. */
async function pages(current, first) {
  const found = [];
  for (let next = first, turn = 0; next && turn < 20; turn += 1) {
    const bundle = await fetchFhir(current, next);
    found.push(...(bundle.entry ?? []).filter((entry) => entry.search?.mode !== "outcome").map((entry) => entry.resource));
    next = bundle.link?.find((link) => link.relation === "next")?.url;
  }
  return found;
}

async function userName(current) {
  const { name, fhirUser } = current.user ?? {};
  const relative = fhirUser?.startsWith(`${current.iss}/`) ? fhirUser.slice(current.iss.length + 1) : fhirUser;
  if (!/^(Patient|Practitioner)\/[A-Za-z0-9.-]{1,64}$/.test(relative ?? "")) return name;
  return fetchFhir(current, relative).then(humanName, () => name ?? relative);
}

const humanName = ({ name: [first] = [] }) => [...(first?.prefix ?? []), ...(first?.given ?? []), first?.family].filter(Boolean).join(" ");
const text = (concept) => concept?.text ?? concept?.coding?.[0]?.display ?? concept?.coding?.[0]?.code ?? "not coded";
const coded = (concept) => concept?.coding?.[0]?.code ?? "";

function banner(person) {
  if (person instanceof Error) return make("p", { class: "notice error", role: "alert" }, person.message);
  return make("div", { class: "banner" }, make("h1", {}, humanName(person)), make("span", {}, `Born ${day(person.birthDate)}`), make("span", {}, person.gender ?? ""), make("span", { class: "number" }, person.identifier?.[0]?.value ?? ""));
}

function charts(observations) {
  if (observations instanceof Error) return [make("section", { class: "panel" }, make("h2", {}, "Vital signs"), make("p", { class: "quiet" }, refused(observations)))];
  const [first, ...others] = SERIES.map((series) => {
    const points = observations.filter((one) => one.code?.coding?.some((coding) => coding.code === series.code)).map((one) => ({ date: one.effectiveDateTime, values: series.lines.map(([code]) => valueOf(one, code)) })).filter((point) => point.date && point.values.every(Number.isFinite)).reverse();
    return figure(series, points);
  });
  return [first, make("div", { class: "columns" }, ...others)];
}

function valueOf(observation, code) {
  const holder = [observation, ...(observation.component ?? [])].find((one) => one.valueQuantity && one.code?.coding?.some((coding) => coding.code === code));
  return holder?.valueQuantity.value;
}

function figure(series, points) {
  const panel = make("section", { class: "panel" });
  const latest = points.at(-1);
  panel.append(make("div", { class: "figure-head" }, make("h2", {}, series.title), latest ? make("span", { class: "latest" }, latest.values.map((value) => value.toFixed(series.digits)).join("/"), make("small", {}, ` ${series.unit}, ${day(latest.date)}`)) : null));
  if (!latest) {
    panel.append(make("p", { class: "quiet" }, "Nothing was measured."));
    return panel;
  }
  const place = make("div", { class: "chart", role: "img", "aria-label": `${series.title} from ${day(points[0].date)} to ${day(latest.date)}: first ${points[0].values.join("/")}, latest ${latest.values.join("/")} ${series.unit}` });
  new ResizeObserver(() => draw(place, series, points)).observe(place);
  const rows = points.toReversed().map((point) => make("tr", {}, make("th", { scope: "row" }, day(point.date)), ...point.values.map((value) => make("td", { class: "number" }, value.toFixed(series.digits)))));
  const head = make("tr", {}, make("th", { scope: "col" }, "Date"), ...series.lines.map(([, name]) => make("th", { scope: "col" }, `${name} (${series.unit})`)));
  panel.append(place, make("details", { class: "small" }, make("summary", {}, "All values"), make("div", { class: "scroll" }, make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)))));
  return panel;
}

function list(title, found, describe, limit = 20) {
  const items = found instanceof Error ? [] : found.slice(0, limit).map((one) => describe(one)).map(([line, detail]) => make("li", {}, line, make("br"), make("span", { class: "quiet small" }, detail)));
  const empty = found instanceof Error ? refused(found) : items.length === 0 ? "None recorded." : found.length > limit ? `The latest ${limit} of ${found.length}.` : null;
  return make("section", { class: "panel" }, make("h2", {}, title), items.length ? make("ul", { class: "plain rows" }, ...items) : null, empty && make("p", { class: "quiet small" }, empty));
}

const refused = (error) => (error.status === 403 ? "Not shared with this app." : `Could not be read: ${error.message}`);

function given(current) {
  const { scope, patient, encounter, need_patient_banner, refresh_token } = current.token;
  const pairs = [["Patient", patient], ["Encounter", encounter ?? "none"], ["Scopes", scope], ["Patient banner", need_patient_banner === false ? "shown by the EHR" : "shown by the app"], ["Renewal", refresh_token ? "without signing in again" : "by signing in again"]];
  const terms = pairs.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value ?? "")]);
  const again = make("a", { class: "button plain", href: `/app/launch?iss=${encodeURIComponent(current.iss)}&prompt=consent` }, "Launch again");
  return make("section", { class: "panel" }, make("h2", {}, "What this app was given"), make("dl", { class: "pairs" }, ...terms), make("div", { class: "buttons" }, again));
}
