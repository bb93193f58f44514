// Renders openapi.json: one fold for each route, grouped by tag.
"use strict";

const el = (name, attributes, ...children) => {
  const e = Object.assign(document.createElement(name), attributes);
  e.append(...children.filter((c) => c != null));
  return e;
};

const resolve = (doc, schema) =>
  schema && schema.$ref ? doc.components.schemas[schema.$ref.split("/").pop()] : schema;

// example writes a body as its schema describes it; seen stops recursion.
function example(doc, schema, seen = []) {
  const s = resolve(doc, schema);
  if (!s || seen.includes(s)) return {};
  const inner = (p) => example(doc, p, [...seen, s]);
  if (s.oneOf) return inner(s.oneOf[0]);
  if (s.enum) return s.enum.join(" | ");
  if (s.type === "array") return [inner(s.items)];
  if (s.type === "object") {
    const required = s.required || [];
    return Object.fromEntries(Object.entries(s.properties || {}).map(
      ([name, p]) => [required.includes(name) ? name : name + "?", inner(p)]));
  }
  return s.format === "date-time" ? "time" : s.type || "any";
}

function body(doc, title, content) {
  if (!content) return null;
  const [media, { schema }] = Object.entries(content)[0];
  const lines = media.includes("ndjson") ? ", one on each line" : "";
  return el("section", {},
    el("h3", { textContent: `${title} · ${media}${lines}` }),
    media.includes("json")
      ? el("pre", { textContent: JSON.stringify(example(doc, schema), null, 2) })
      : null);
}

function parameters(op) {
  if (!op.parameters || !op.parameters.length) return null;
  const rows = op.parameters.map((p) => el("tr", {},
    el("td", {}, el("code", { textContent: p.name }), p.required ? "" : " (optional)"),
    el("td", { className: "soft", textContent: p.in }),
    el("td", { textContent: p.description || "" })));
  return el("section", {}, el("h3", { textContent: "Parameters" }), el("table", {}, ...rows));
}

function route(doc, path, method, op) {
  const answers = Object.entries(op.responses || {}).map(([status, r]) =>
    body(doc, status === "default" ? "Error" : `${status} ${r.description}`, r.content)
      || el("h3", { textContent: `${status} ${r.description}` }));
  const fold = el("details", { id: op.operationId },
    el("summary", {},
      el("span", { className: `method ${method}`, textContent: method.toUpperCase() }),
      el("code", { textContent: path }),
      el("span", { className: "soft", textContent: op.summary || "" })),
    el("div", {},
      el("p", { textContent: op.description || "" }),
      parameters(op),
      op.requestBody ? body(doc, "Request", op.requestBody.content) : null,
      ...answers));
  fold.dataset.words = `${method} ${path} ${op.summary} ${op.description}`.toLowerCase();
  return fold;
}

function render(doc) {
  document.getElementById("about").textContent = `${doc.info.description} Version ${doc.info.version}.`;
  const groups = new Map();
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const method of ["get", "post", "put", "patch", "delete"]) {
      if (!item[method]) continue;
      const tag = (item[method].tags || ["other"])[0];
      groups.set(tag, [...(groups.get(tag) || []), route(doc, path, method, item[method])]);
    }
  }
  const main = document.getElementById("routes");
  main.replaceChildren();
  for (const tag of ["hunts", "teams", "submissions", "tokens", "cluster", "node", "other"]) {
    if (!groups.has(tag)) continue;
    document.getElementById("tags").append(el("a", { href: `#${tag}`, textContent: tag }));
    main.append(el("section", { id: tag, className: "group" }, el("h2", { textContent: tag }), ...groups.get(tag)));
  }
}

function filter(words) {
  const wanted = words.toLowerCase().split(/\s+/);
  for (const group of document.querySelectorAll(".group")) {
    let shown = 0;
    for (const fold of group.querySelectorAll("details")) {
      fold.hidden = !wanted.every((w) => fold.dataset.words.includes(w));
      shown += fold.hidden ? 0 : 1;
    }
    group.hidden = shown === 0;
  }
}

document.getElementById("search").addEventListener("input", (e) => filter(e.target.value));
fetch("/openapi.json")
  .then((r) => r.json())
  .then(render)
  .catch((e) => document.getElementById("routes").replaceChildren(`The document could not be read: ${e.message}`));
