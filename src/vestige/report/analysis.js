// Brings the map to life: hover, wheel, drag, click. Without it the page is the same, as a still picture with links.
(() => {
  const map = document.querySelector(".figure.map"), marks = map.querySelector(".marks");
  const points = [...marks.querySelectorAll(".pt")].map((mark) => {
    const [x, y] = mark.getAttribute("transform").match(/-?[\d.]+/g).map(Number);
    return { mark, x, y, link: mark.parentNode, says: mark.querySelector("title").textContent };
  });
  const labels = [...map.querySelectorAll(".label")];
  const [, , width, height] = map.getAttribute("viewBox").split(" ").map(Number), top = 30;
  let zoom = 1, left = 0, up = 0, dragged = false;

  function place() {
    zoom = Math.min(Math.max(zoom, 1), 60);
    left = Math.min(Math.max(left, width * (1 - zoom)), 0);
    up = Math.min(Math.max(up, height * (1 - zoom)), 0);
    const size = Math.sqrt(zoom);
    const at = (x, y) => [x * zoom + left, (y - top) * zoom + up + top];
    const seen = ([x, y]) => x > 4 && x < width - 4 && y > top + 4 && y < height - 4;
    for (const { mark, x, y, link } of points) {
      const [px, py] = at(x, y);
      link.style.display = px > -40 && px < width + 40 && py > top - 40 && py < height + 40 ? "" : "none";
      mark.setAttribute("transform", `translate(${px.toFixed(1)} ${py.toFixed(1)}) scale(${size.toFixed(3)})`);
    }
    for (const label of labels) {
      const [px, py] = at(+label.dataset.x, +label.dataset.y);
      label.setAttribute("x", px); label.setAttribute("y", py + 4);
      label.style.display = seen([px, py]) ? "" : "none";
    }
  }
  function inside(event) {  // from the screen to the map's own units
    const box = map.getBoundingClientRect();
    return [(event.clientX - box.left) * width / box.width, (event.clientY - box.top) * height / box.height - top];
  }
  function zoomAt(x, y, factor) {
    const old = zoom;
    zoom = Math.min(Math.max(zoom * factor, 1), 60);
    left = x - (x - left) * zoom / old; up = y - (y - up) * zoom / old;
    place();
  }
  function choose(mark) {  // green: its group; red: the class of that group's target
    const group = mark.dataset.g;
    if (!group) return;
    const kind = mark.dataset.k;
    for (const { mark: one, link } of points) {
      const green = one.dataset.g === group;
      one.classList.toggle("green", green);
      one.classList.toggle("red", !green && kind !== "" && one.dataset.k === kind);
      if (green) marks.append(link);
    }
    map.querySelector(".legend.chosen").textContent = `${group} and its similar samples`;
    const named = map.querySelector(".legend.kind");
    if (named) named.textContent = `class ${kind}`;
    const key = map.querySelector(".key.red"), x = 40 + 7.2 * `${group} and its similar samples`.length;
    if (key) { key.setAttribute("transform", `translate(${x} 12)`); named.setAttribute("x", x + 13); }
  }
  function flash(element) {
    for (const other of document.querySelectorAll(".found")) other.classList.remove("found");
    element.classList.add("found");
  }

  const card = document.createElement("div");
  card.className = "card"; card.hidden = true;
  document.body.append(card);
  function show({ mark, says }, event) {
    const image = mark.querySelector("image"), words = document.createElement("p"), parts = [words];
    words.textContent = says;
    if (image) { parts.unshift(new Image()); parts[0].src = image.getAttribute("href"); }
    card.replaceChildren(...parts); card.hidden = false;
    const { offsetWidth: w, offsetHeight: h } = card;
    card.style.left = `${Math.max(Math.min(event.clientX + 16, innerWidth - w - 8), 8)}px`;
    card.style.top = `${Math.max(Math.min(event.clientY + 16, innerHeight - h - 8), 8)}px`;
  }
  for (const point of points) {
    point.mark.querySelector("title").remove();  // the card says it
    point.link.setAttribute("aria-label", point.says);
    point.mark.addEventListener("pointermove", (event) => { if (!event.buttons) show(point, event); });
    point.mark.addEventListener("pointerleave", () => { card.hidden = true; });
    point.link.addEventListener("click", (event) => {
      event.preventDefault();
      card.hidden = true;
      if (dragged) return;
      choose(point.mark);
      const sample = document.getElementById(point.link.getAttribute("href").slice(1));
      for (let above = sample.parentNode; above; above = above.parentNode) if (above.tagName === "DETAILS") above.open = true;
      flash(sample);
      sample.scrollIntoView({ block: "center" });
    });
  }
  document.addEventListener("click", (event) => {  // from a sample back to its point
    const link = event.target.closest('a[href^="#p"]'), point = link && points.find(({ mark }) => `#${mark.id}` === link.getAttribute("href"));
    if (!point) return;
    event.preventDefault();
    choose(point.mark);
    left = width / 2 - point.x * zoom; up = (height - top) / 2 - (point.y - top) * zoom;
    place();
    marks.append(point.link);
    flash(point.mark);
    map.scrollIntoView({ block: "center" });
  });

  map.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomAt(...inside(event), Math.exp(-event.deltaY / 400));
  }, { passive: false });
  map.addEventListener("pointerdown", (event) => { dragged = false; event.preventDefault(); });
  map.addEventListener("pointermove", (event) => {
    if (!event.buttons || !(event.movementX || event.movementY)) return;
    const scale = width / map.getBoundingClientRect().width;
    dragged = true; card.hidden = true;
    left += event.movementX * scale; up += event.movementY * scale;
    place();
  });
  map.addEventListener("dragstart", (event) => event.preventDefault());
  const tools = document.createElement("div");
  tools.className = "tools";
  for (const [name, act] of [["Zoom in", () => zoomAt(width / 2, height / 2, 2)], ["Zoom out", () => zoomAt(width / 2, height / 2, .5)],
                             ["Whole map", () => { zoom = 1; left = up = 0; place(); }]]) {
    const button = document.createElement("button");
    button.textContent = name; button.type = "button";
    button.addEventListener("click", act);
    tools.append(button);
  }
  map.parentNode.after(tools);
  for (const note of document.querySelectorAll(".live")) note.hidden = false;
})();
