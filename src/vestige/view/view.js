// Sorts and filters a table, keeps what was chosen in the address, picks two runs to compare. Without it the page is a plain table.
(() => {
  const table = document.querySelector("table.sheet");
  if (!table) return;
  const heads = [...table.querySelectorAll("thead th")], body = table.tBodies[0], rows = [...body.rows];
  const filters = [...document.querySelectorAll("[data-filter]")], count = document.querySelector(".count");
  const form = document.getElementById("compare"), boxes = form ? [...form.querySelectorAll("input[name=run]")] : [];
  const texts = new Map(), said = (row) => texts.get(row) ?? texts.set(row, row.textContent.toLowerCase()).get(row);
  const more = document.querySelector(".more");
  let most = Number(table.dataset.most);
  const first = heads.find((head) => head.hasAttribute("aria-sort"));
  let sorted = first ? [first.dataset.key, first.getAttribute("aria-sort")] : ["", ""];
  const start = String(sorted);
  let placed = start;

  function value(row, column) {  // what a cell is sorted by: a number, a text, or nothing
    const cell = row.cells[column], raw = cell.dataset.v ?? (cell.querySelector("a, span") ?? cell).firstChild?.textContent ?? "";
    const text = raw.trim().replace("−", "-"), number = Number(text);
    return text === "" || text === "–" ? null : Number.isNaN(number) ? text : number;
  }
  const words = new Intl.Collator("en", { numeric: true });
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : words.compare(a, b));
  function sort() {
    const column = heads.findIndex((head) => head.dataset.key === sorted[0]), sign = sorted[1] === "ascending" ? 1 : -1;
    for (const head of heads) if (head.dataset.key) head.setAttribute("aria-sort", head === heads[column] ? sorted[1] : "none");
    if (String(sorted) === placed) return;
    placed = String(sorted);
    const keyed = rows.map((row, place) => [column < 0 ? null : value(row, column), place, row]);
    keyed.sort(([a, i], [b, j]) => (a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b)) || i - j);  // nothing comes last
    body.append(...keyed.map(([, , row]) => row));
  }
  function filter() {  // shows the first of those that are wanted
    let found = 0;
    for (const row of body.rows) {
      const wanted = filters.every(({ dataset, value: asked }) => !asked || (dataset.filter === "q"
        ? asked.toLowerCase().split(/\s+/).every((word) => said(row).includes(word)) : row.dataset[dataset.filter] === asked));
      found += wanted;
      row.hidden = !wanted || found > most;
    }
    count.textContent = found === rows.length ? `${found} rows` : `${found} of ${rows.length} rows`;
    more.hidden = found <= most;
    more.firstChild.textContent = `Show all ${found} rows`;
  }
  function chosen() { return boxes.filter((box) => box.checked).map((box) => box.value); }
  function choose() {
    if (!form) return;
    const picked = chosen(), made = form.dataset.pairs?.split(" "), both = picked.toReversed().join("-");  // the older first
    const pair = !made || made.includes(both) ? both : "";
    for (const box of boxes) box.disabled = picked.length > 1 && !box.checked;
    form.querySelector("button").disabled = picked.length !== 2 || !pair;
    if (picked.length === 1) form.querySelector(".hint").textContent = "One is chosen; choose another.";
    if (picked.length === 2) form.querySelector(".hint").textContent = pair ? "" : "This copy does not hold their comparison; vestige view makes it.";
    return picked.length === 2 && pair ? `compare/${pair}.html` : null;
  }
  function note() {  // what was chosen, into the address
    const state = new URLSearchParams();
    for (const one of filters) if (one.value) state.set(one.dataset.filter, one.value);
    if (String(sorted) !== start) state.set("sort", sorted.join(" "));
    for (const id of chosen()) state.append("run", id);
    history.replaceState(null, "", `#${state}`);
  }
  function read() {  // and back from there
    const state = new URLSearchParams(location.hash.slice(1)), picked = state.getAll("run");
    for (const one of filters) one.value = state.get(one.dataset.filter) ?? "";
    const [key, way] = state.get("sort")?.split(" ") ?? start.split(",");
    sorted = [key, way === "ascending" ? way : way && "descending"];
    for (const box of boxes) box.checked = picked.includes(box.value);
    sort(); filter(); choose();
  }

  for (const head of heads) {
    if (!head.dataset.key) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "ascending" || (head.getAttribute("aria-sort") !== "descending" && head.classList.contains("n"));
      sorted = [head.dataset.key, up ? "descending" : "ascending"];
      sort(); filter(); note();
    });
  }
  for (const one of filters) one.addEventListener("input", () => { filter(); note(); });
  for (const box of boxes) box.addEventListener("change", () => { choose(); note(); });
  for (const bar of document.querySelectorAll(".filters, .choice")) bar.hidden = false;
  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    const page = choose();
    if (page) location.href = page;
  });
  form?.addEventListener("keydown", (event) => {  // Enter in the search box is no wish to compare
    if (event.key === "Enter" && event.target.matches("[data-filter]")) event.preventDefault();
  });
  body.addEventListener("keydown", (event) => {  // up and down move from row to row, in the same column
    const way = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key], cell = event.target.closest("td, th");
    if (!way || !cell) return;
    let row = cell.parentNode[way];
    while (row && (row.hidden || !row.cells[cell.cellIndex].querySelector("a, input:enabled"))) row = row[way];
    if (row) { event.preventDefault(); row.cells[cell.cellIndex].querySelector("a, input").focus(); }
  });
  more.firstChild.addEventListener("click", () => { most = Infinity; filter(); });
  addEventListener("hashchange", read);
  read();
})();
