// Sorts and filters a table, keeps what was chosen in the address, picks two runs to compare. Without it the page is a plain table.
(() => {
  const table = document.querySelector("table.sheet");
  if (!table) return;
  const heads = [...table.querySelectorAll("thead th")], body = table.tBodies[0], rows = [...body.rows];
  const filters = [...document.querySelectorAll("[data-filter]")], count = document.querySelector(".count");
  const form = document.getElementById("compare"), boxes = form ? [...form.querySelectorAll("input[name=run]")] : [];
  const words = rows.map((row) => row.textContent.toLowerCase());
  const first = heads.find((head) => head.hasAttribute("aria-sort"));
  let sorted = first ? [first.dataset.key, first.getAttribute("aria-sort")] : ["", ""];
  const start = String(sorted);

  function value(row, column) {  // what a cell is sorted by: a number, a text, or nothing
    const cell = row.cells[column], raw = cell.dataset.v ?? (cell.querySelector("a, span") ?? cell).firstChild?.textContent ?? "";
    const said = raw.trim().replace("−", "-"), number = Number(said);
    return said === "" || said === "–" ? null : Number.isNaN(number) ? said : number;
  }
  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  }
  function sort() {
    const column = heads.findIndex((head) => head.dataset.key === sorted[0]), sign = sorted[1] === "ascending" ? 1 : -1;
    for (const head of heads) if (head.dataset.key) head.setAttribute("aria-sort", head === heads[column] ? sorted[1] : "none");
    if (column < 0) return;
    const keyed = rows.map((row, place) => [value(row, column), place, row]);
    keyed.sort(([a, i], [b, j]) => (a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b)) || i - j);  // nothing comes last
    body.append(...keyed.map(([, , row]) => row));
  }
  function filter() {
    let shown = 0;
    rows.forEach((row, place) => {
      row.hidden = !filters.every(({ dataset, value: wanted }) => !wanted || (dataset.filter === "q"
        ? wanted.toLowerCase().split(/\s+/).every((word) => words[place].includes(word)) : row.dataset[dataset.filter] === wanted));
      shown += !row.hidden;
    });
    count.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
  }
  function chosen() { return boxes.filter((box) => box.checked).map((box) => box.value); }
  function choose() {
    if (!form) return;
    const picked = chosen(), made = form.dataset.pairs?.split(" ");
    const pair = made ? [picked.join("-"), picked.toReversed().join("-")].find((one) => made.includes(one)) : picked.join("-");
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
      sort(); note();
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
  addEventListener("hashchange", read);
  read();
})();
