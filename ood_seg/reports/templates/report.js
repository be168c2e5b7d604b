// A click on a head of a table of the class "sortable" sorts its rows; what is no number comes
// last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, column) => {
    const text = row.cells[column].textContent;
    return column ? parseFloat(text.replaceAll(",", "")) : text;
  };
  const order = (a, b) => typeof a === "string" ? a.localeCompare(b, "en", {numeric: true}) : a - b;
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    button.title = "sort";
    head.append(button);
    button.addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
      rows.sort(([a], [b]) => Number.isNaN(a) - Number.isNaN(b) ||
        (falling ? -1 : 1) * order(a, b) || 0);
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}
