// The page: shows the document of one region and follows its changes. Figures come ready from the server; nothing is
// counted here, and the percentages are the server's texts. The region shown is in the address, with the day if it is
// not the present one: #16.09 or #16.09@2024-11-27.

const LEVELS = {
  country: ["Country", "negara"],
  province: ["Province", "provinsi"],
  regency: ["Regency or city", "kabupaten/kota"],
  district: ["District", "kecamatan"],
  village: ["Village", "desa/kelurahan"],
  transit: ["In transit", "pindah, belum datang"],
};
const BELOW = {
  country: ["Provinces", "provinsi", "Not yet in a province"],
  province: ["Regencies and cities", "kabupaten/kota", "Not yet in a regency"],
  regency: ["Districts", "kecamatan", "Not yet in a district"],
  district: ["Villages", "desa/kelurahan", "Not yet in a village"],
};
const OPENINGS = {
  register: ["Person register", "everybody is counted one by one."],
  balance: ["Opening balance", "totals stated for one day, moved on by what has happened since."],
  partial: ["Partly opening balances", "some regions below count from a balance, the others person by person."],
  parent: ["Known people only", "the balance is that of a region above; here are those whom events have named. No coverage can be said."],
  none: ["Balance still to come", "there are no figures before its first day."],
};
const NUMBERS = [
  ["population", "Population", "penduduk"],
  ["obliged", "Obliged", "wajib KTP"],
  ["recorded", "Recorded", "sudah rekam"],
  ["unrecorded", "Unrecorded", "belum rekam"],
  ["recorded_early", "Recorded early, at 16", "rekam pemula"],
  ["print_ready", "Ready to print", "PRR"],
];
const COLUMNS = [
  { key: "name", title: "Region", className: "region", value: (entry) => entry.name ?? entry.region },
  { key: "population", title: "Population", className: "wide" },
  { key: "obliged", title: "Obliged", className: "wide" },
  { key: "recorded", title: "Recorded", className: "wide" },
  { key: "unrecorded", title: "Unrecorded", className: "" },
  { key: "coverage", title: "Coverage", className: "cover", value: (entry) => entry.coverage },
];
// As the server takes them. Anything else that is typed is neither sent nor repeated: it could be a NIK.
const CODE = /^(ID|ID-transit|[0-9]{2}(\.[0-9]{2}(\.[0-9]{2}(\.[0-9]{4})?)?)?)$/;
const NO_CODE = "That is no region code. A code is ID, 16, 16.05, 16.05.02 or 16.05.02.2001.";
const NO_DAY = "That is no day of the calendar, written YYYY-MM-DD.";
const NOT_STATED = "not stated";
const ANNOUNCE_EVERY_MS = 10_000;
const ASK_AGAIN_MS = 2_000;

const byId = (id) => document.getElementById(id);
const numbers = new Intl.NumberFormat("en-GB");
const days = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeZone: "UTC" });
const format = (count) => (count === null ? NOT_STATED : numbers.format(count).replace("-", "−"));
const total = (entry, measure) => (entry[measure] === null || typeof entry[measure] === "number" ? entry[measure] : entry[measure].total);

let shown = null; // the document on the page
let source = null; // the stream of changes
let sorting = { key: "name", descending: false };
let announcedAt = 0;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function show(id, text) {
  byId(id).textContent = text ?? "";
  byId(id).hidden = !text;
}

function wordsAsked() {
  try {
    return decodeURIComponent(location.hash.slice(1)).split("@");
  } catch {
    return [location.hash]; // a stray %: no code
  }
}

function regionAsked() {
  const [asked] = wordsAsked();
  return asked && asked !== "main" ? asked : "ID";
}

function dayAsked() {
  return wordsAsked()[1] ?? "";
}

const address = (region, day = dayAsked()) => (day ? `#${region}@${day}` : `#${region}`);

// ---- the region ----

function state(kind, text, why) {
  byId("state").dataset.state = kind;
  byId("state-text").textContent = text;
  byId("state").title = why ?? "";
}

function setBar(bar, entry) {
  const ratio = entry.coverage ?? null;
  bar.classList.toggle("silent", ratio === null);
  bar.classList.toggle("over", ratio !== null && ratio > 1);
  bar.firstElementChild.style.width = `${Math.max(0, Math.min(1, ratio ?? 0)) * 100}%`;
}

function showPath(path) {
  byId("path").replaceChildren(
    ...path.map((step, index) => {
      const item = element("li");
      const name = step.region === "ID" ? "Indonesia" : (step.name ?? step.region);
      if (index === path.length - 1) {
        item.append(element("span", "", name));
        item.firstChild.setAttribute("aria-current", "page");
      } else {
        item.append(element("a", "", name));
        item.firstChild.href = address(step.region);
      }
      return item;
    }),
  );
}

function sexes(count) {
  if (count.M === null || count.F === null) return count.total === null ? "" : "by sex: not stated";
  const unknown = count.unknown ? ` · unknown ${format(count.unknown)}` : "";
  return `men ${format(count.M)} · women ${format(count.F)}${unknown}`;
}

function showNumbers(region) {
  byId("numbers").replaceChildren(
    ...NUMBERS.map(([measure, title, term]) => {
      const block = element("div");
      const name = element("dt", "", `${title} `);
      name.append(element("span", "", term));
      name.lastChild.lang = "id";
      const count = region[measure];
      const value = element("dd", count.total === null ? "silent" : "", format(count.total));
      value.id = `total-${measure}`;
      value.append(element("span", "sexes", sexes(count)));
      block.append(name, value);
      return block;
    }),
  );
}

function showRegion(document_) {
  const region = document_.region;
  const [level, term] = LEVELS[region.level];
  const name = region.name ?? `Region ${region.region}`;
  document.title = `${name} ${region.percent === null ? "" : `${region.percent} % `}· Lampit`;
  byId("name").textContent = name;
  byId("level").textContent = `${level} (${term})`;
  byId("code").textContent = region.region;
  showRecord(region.region);
  byId("as-of").dateTime = document_.as_of;
  byId("as-of").textContent = days.format(new Date(`${document_.as_of}T00:00:00Z`));
  byId("day").hidden = false;
  // A day that is being typed is not written over: figures come at any moment.
  if (document.activeElement !== byId("ask")) byId("ask").value = document_.as_of;
  byId("now").href = address(region.region, "");
  byId("now").hidden = !dayAsked();
  showPath(document_.path);

  const percent = byId("percent");
  percent.className = region.percent === null ? "percent silent" : "percent";
  percent.textContent = region.percent ?? NOT_STATED;
  if (region.percent !== null) percent.append(element("small", "", " %"));
  setBar(byId("bar"), region);
  byId("explain").textContent = explain(region);
  showNumbers(region);
  byId("figures").hidden = false;

  const [kind, meaning] = OPENINGS[region.opening];
  const stale = region.stale_denominator ? " The balance is older than 90 days and has no schedule of 17th birthdays: the denominator is stale." : "";
  byId("opening").replaceChildren(element("b", "", `${kind}: `), meaning + stale);
  byId("opening").hidden = false;
  show("note", region.note?.text);
}

function showRecord(region) {
  byId("record").href = `/api/coverage/${region}${dayAsked() ? `?as_of=${encodeURIComponent(dayAsked())}` : ""}`;
}

function explain(region) {
  if (region.opening === "parent") return "Known people only: no coverage.";
  if (region.obliged.total === 0) return "Nobody is obliged here.";
  if (region.coverage === null) return "";
  if (region.coverage > 1) return "Over 100 %: more people are recorded than obliged. Nothing is cut off.";
  return `${format(region.unrecorded.total)} of ${format(region.obliged.total)} obliged are still to be recorded.`;
}

// ---- the regions below ----

function valueOf(entry, column) {
  return column.value ? column.value(entry) : total(entry, column.key);
}

function sorted(entries) {
  const column = COLUMNS.find((one) => one.key === sorting.key);
  const factor = sorting.descending ? -1 : 1;
  return [...entries].sort((first, second) => {
    const [a, b] = [valueOf(first, column), valueOf(second, column)];
    // What is not stated comes last, whichever way.
    if (a === null || b === null) return (a === null) - (b === null) || compare(first.region, second.region);
    return factor * (typeof a === "string" ? a.localeCompare(b, "id") : a - b) || compare(first.region, second.region);
  });
}

const compare = (first, second) => (first < second ? -1 : first > second ? 1 : 0);

function showHeads() {
  byId("heads").replaceChildren(
    ...COLUMNS.map((column) => {
      const head = element("th", column.className);
      head.scope = "col";
      const active = sorting.key === column.key;
      head.setAttribute("aria-sort", active ? (sorting.descending ? "descending" : "ascending") : "none");
      const button = element("button", "", column.title);
      button.type = "button";
      const arrow = element("i", "", active ? (sorting.descending ? "↓" : "↑") : "");
      arrow.setAttribute("aria-hidden", "true");
      button.append(arrow);
      button.addEventListener("click", () => {
        // Figures are looked at from the largest down; names and coverage from the lowest up.
        const first = column.key !== "name" && column.key !== "coverage";
        sorting = { key: column.key, descending: active ? !sorting.descending : first };
        showHeads();
        byId("heads").children[COLUMNS.indexOf(column)].firstChild.focus();
        arrange(byId("rows"), sorted(shown.children));
      });
      head.append(button);
      return head;
    }),
  );
}

function makeRow(entry) {
  const row = element("tr");
  row.dataset.region = entry.region;
  for (const column of COLUMNS) {
    const cell = element(column.key === "name" ? "th" : "td", column.className);
    if (column.key === "name") {
      cell.scope = "row";
      const link = element("a", "", entry.name ?? entry.region);
      link.href = address(entry.region);
      cell.append(link, element("span", "small"), element("span", "small narrow"));
    } else if (column.key === "coverage") {
      const bar = element("div", "bar");
      bar.setAttribute("aria-hidden", "true");
      bar.append(element("i"));
      cell.append(element("div"), bar);
    }
    row.append(cell);
  }
  row.addEventListener("click", (event) => {
    if (!event.target.closest("a") && !String(getSelection())) location.hash = address(entry.region);
  });
  return row;
}

function fillRow(row, entry, before) {
  let changed = false;
  COLUMNS.forEach((column, index) => {
    const cell = row.children[index];
    if (column.key === "name") {
      const kind = ["register", "parent"].includes(entry.opening) ? "" : ` · ${OPENINGS[entry.opening][0].toLowerCase()}`;
      const note = entry.note ? ` · ${entry.note.label}` : "";
      cell.children[1].textContent = `${entry.region}${kind}${note}`;
      cell.children[2].textContent = `${format(total(entry, "recorded"))} of ${format(total(entry, "obliged"))}`;
    } else if (column.key === "coverage") {
      const silent = entry.opening === "parent" ? "known people only" : total(entry, "obliged") === 0 ? "nobody obliged" : NOT_STATED;
      const text = element("span", entry.percent === null ? "silent" : "", entry.percent === null ? silent : `${entry.percent} %`);
      const over = entry.coverage !== null && entry.coverage > 1 ? element("span", "small", "over 100 %") : "";
      cell.firstChild.replaceChildren(text, over);
      setBar(cell.lastChild, entry);
    } else {
      const [now, then] = [total(entry, column.key), before ? total(before, column.key) : null];
      if (before && now === then && cell.childNodes.length) return;
      cell.replaceChildren(element("span", now === null ? "silent" : "", format(now)));
      if (now !== null && then !== null && now !== then) {
        cell.prepend(element("span", "delta", now > then ? `+${format(now - then)}` : format(now - then)));
        changed = true;
      }
    }
  });
  if (changed) {
    row.classList.remove("changed");
    void row.offsetWidth; // begins the animation again
    row.classList.add("changed");
  }
}

function arrange(body, entries) {
  const rows = new Map([...body.children].map((row) => [row.dataset.region, row]));
  const focused = document.activeElement;
  entries.forEach((entry, index) => {
    const row = rows.get(entry.region);
    if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
  });
  if (focused !== document.activeElement && body.contains(focused)) focused.focus();
}

function showBelow(document_, previous) {
  const region = document_.region;
  byId("below").hidden = document_.children.length === 0;
  if (!document_.children.length) return;
  const [title, term, none] = BELOW[region.level];
  byId("below-title").replaceChildren(`${title} `, element("span", "", term));
  byId("caption").textContent = `${title} of ${region.name ?? region.region}`;
  const body = byId("rows");
  const before = new Map((previous?.children ?? []).map((entry) => [entry.region, entry]));
  if (!previous) body.replaceChildren();
  const rows = new Map([...body.children].map((row) => [row.dataset.region, row]));
  for (const entry of document_.children) {
    let row = rows.get(entry.region);
    if (!row) {
      row = makeRow(entry);
      body.append(row);
    }
    rows.delete(entry.region);
    fillRow(row, entry, before.get(entry.region));
  }
  for (const row of rows.values()) row.remove();
  arrange(body, sorted(document_.children));
  showOwn(document_.own, none);
}

function showOwn(own, title) {
  const foot = byId("foot");
  foot.replaceChildren();
  if (!own) return;
  const row = element("tr");
  for (const column of COLUMNS) {
    const cell = element(column.key === "name" ? "th" : "td", column.className);
    if (column.key === "name") {
      cell.scope = "row";
      cell.append(title, element("span", "small", "totals less the rows above"));
    } else {
      const text = column.key === "coverage" ? (own.percent === null ? NOT_STATED : `${own.percent} %`) : format(own[column.key]);
      cell.append(element("span", text === NOT_STATED ? "silent" : "", text));
    }
    row.append(cell);
  }
  foot.append(row);
}

// ---- following ----

function take(document_) {
  show("notice", document_.notice);
  if (dayAsked()) state("past", "As known now", "The figures of another day, from everything known by now.");
  else if (document_.live) state("live", "Live");
  else state("behind", `Behind: ${document_.behind[0] ?? "not ready"}`, document_.behind.join("; "));
  if (!document_.region) {
    shown = null;
    clear(document_.live ? `Nothing is counted in region ${regionAsked()}.` : "No figures yet: they are being added up.");
    return;
  }
  const previous = shown?.region.region === document_.region.region && shown.as_of === document_.as_of ? shown : null;
  shown = document_;
  show("empty", "");
  showRegion(document_);
  showBelow(document_, previous);
  announce(document_, previous);
}

function clear(sentence) {
  for (const id of ["figures", "below", "opening", "note", "day"]) byId(id).hidden = true;
  const region = CODE.test(regionAsked()) ? regionAsked() : null;
  const name = region === "ID" ? "Indonesia" : `Region ${region ?? "unknown"}`;
  document.title = `${name} · Lampit`;
  byId("name").textContent = name;
  byId("level").textContent = "";
  byId("code").textContent = "";
  showRecord(region ?? "ID");
  showPath([{ region: "ID" }, ...(region === "ID" ? [] : [{ region: region ?? "unknown" }])]);
  show("empty", sentence);
}

function refuse() {
  shown = null;
  state("behind", "No region");
  clear(NO_CODE);
}

function announce(document_, previous) {
  const now = Date.now();
  if (previous && now - announcedAt < ANNOUNCE_EVERY_MS) return;
  if (previous && previous.region.percent === document_.region.percent) return;
  announcedAt = now;
  const region = document_.region;
  byId("announce").textContent = `${region.name ?? region.region}: coverage ${region.percent === null ? NOT_STATED : `${region.percent} percent`}`;
}

async function ask(region, day) {
  const where = location.hash;
  state("waiting", "Adding up …");
  const answer = await fetch(`/api/coverage/${encodeURIComponent(region)}/children?as_of=${encodeURIComponent(day)}`).catch(() => null);
  const found = answer ? await answer.json().catch(() => ({})) : {};
  if (where !== location.hash) return; // something else is asked for by now
  if (answer?.ok) return take(found);
  shown = null;
  state("behind", "No figures of that day");
  clear(answer?.status === 400 ? NO_DAY : (found.error ?? "The server cannot be reached."));
  byId("day").hidden = false;
  byId("now").hidden = false;
  byId("now").href = address(region, "");
}

function follow() {
  source?.close();
  source = null;
  const asked = regionAsked();
  if (!CODE.test(asked)) return refuse();
  if (dayAsked()) return void ask(asked, dayAsked());
  const stream = new EventSource(`/api/changes?region=${encodeURIComponent(asked)}`);
  source = stream;
  stream.addEventListener("figures", (event) => take(JSON.parse(event.data)));
  stream.addEventListener("error", () => {
    if (source !== stream) return;
    state("lost", "Connection lost, trying again", "The figures shown are the last ones received.");
    // A refused request ends the stream for good; a lost connection is taken up again by the browser itself.
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => source === stream && follow(), ASK_AGAIN_MS);
  });
}

byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});

// While a year is typed it is a day of the years 0002, 0020, 0202: nobody means those.
const dayTyped = () => (byId("ask").validity.valid ? byId("ask").value : "");

byId("ask").addEventListener("change", () => {
  if (dayTyped()) location.hash = address(regionAsked(), dayTyped());
});

byId("ask").addEventListener("blur", () => {
  if (shown && !dayTyped()) byId("ask").value = shown.as_of;
});

addEventListener("hashchange", () => {
  follow();
  scrollTo({ top: 0 });
});

showHeads();
follow();
