"use strict";
// Sorts the table by a column; without this script it stays as it came, worst first.
(() => {
  const table = document.getElementById("cases");
  const heads = [...table.tHead.rows[0].cells];
  const cases = () => [...table.tBodies];

  function sort(column, descending) {
    const numeric = heads[column].dataset.sort === "number";
    const value = (body) => body.rows[0].cells[column].dataset.value;
    const sign = descending ? -1 : 1;
    const order = cases().sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (!numeric) return sign * x.localeCompare(y, undefined, { numeric: true });
      // What has no number comes last, either way.
      if (x === "" || y === "") return (x === "") - (y === "");
      return sign * (Number(x) - Number(y));
    });
    table.append(...order);
    heads.forEach((head, i) => {
      if (i === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    select.value = column + (descending ? "-" : "+");
  }

  const select = document.createElement("select");
  const first = new Option("worst first", "");
  const worst = cases();
  select.append(first);
  heads.forEach((head, column) => {
    const name = head.textContent;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.textContent = name;
    button.addEventListener("click", () => sort(column, head.getAttribute("aria-sort") === "ascending"));
    head.replaceChildren(button);
    select.append(new Option(name + ", rising", column + "+"), new Option(name + ", falling", column + "-"));
  });
  select.addEventListener("change", () => {
    if (select.value) sort(parseInt(select.value, 10), select.value.endsWith("-"));
    else {
      table.append(...worst);
      heads.forEach((head) => head.removeAttribute("aria-sort"));
    }
  });
  const label = document.createElement("label");
  label.className = "pick";
  label.append("Sort by", select);
  table.before(label);
})();
