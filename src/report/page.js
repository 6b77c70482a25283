"use strict";
(() => {
  const form = document.getElementById("filter");
  const find = document.getElementById("find");
  const shown = document.getElementById("shown");
  const nothing = document.getElementById("nothing");
  const topics = [...document.querySelectorAll("details.topic")].map((box) => ({
    box,
    wasOpen: box.open,
    quiet: box.querySelector("details.quiet"),
    rows: [...box.querySelectorAll("tbody tr")].map((row) => ({
      row,
      status: row.dataset.s,
      count: Number(row.dataset.n),
      text: null,
    })),
  }));
  const all = topics.reduce((sum, topic) => sum + topic.rows.reduce((n, one) => n + one.count, 0), 0);
  let filtering = false;

  const apply = () => {
    const statuses = new Set([...form.elements.status].filter((box) => box.checked).map((box) => box.value));
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const everything = words.length === 0 && statuses.size === form.elements.status.length;
    let count = 0;
    for (const topic of topics) {
      let any = false;
      for (const one of topic.rows) {
        let match = statuses.has(one.status);
        if (match && words.length > 0) {
          one.text ??= one.row.textContent.toLowerCase();
          match = words.every((word) => one.text.includes(word));
        }
        one.row.hidden = !match;
        if (match) {
          any = true;
          count += one.count;
        }
      }
      topic.box.hidden = !any;
      if (topic.quiet) topic.quiet.open = !everything;
      if (everything) {
        if (filtering) topic.box.open = topic.wasOpen;
      } else {
        if (!filtering) topic.wasOpen = topic.box.open;
        topic.box.open = any;
      }
    }
    filtering = !everything;
    nothing.hidden = count > 0;
    shown.textContent = everything ? "" : `${count} of ${all} outcomes shown`;
  };

  // `elements.status` is a list only where there are several.
  if (form && form.elements.status && form.elements.status.length > 1) {
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", apply);
    let timer;
    find.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(apply, 80);
    });
    // What a browser filled in again after a reload counts.
    apply();
  }
})();
