"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let axis = "steps", printing = false, round = 0;

  const inHours = (figure) =>
    !figure.layout.keeps_x && figure.data.some((trace) => trace.meta && trace.meta.hours.some((hours) => hours > 0));

  const drawn = (figure, width) => {
    const style = getComputedStyle(document.documentElement);
    const ink = printing ? "#1b1f24" : style.getPropertyValue("--ink");
    const line = printing ? "#d0d7de" : style.getPropertyValue("--line");
    const timed = axis === "hours" && inHours(figure);
    const data = figure.data.map((trace) => (timed && trace.meta ? { ...trace, x: trace.meta.hours } : trace));
    const { keeps_x, height = 380, shapes = [], xaxis = {}, yaxis = {}, ...rest } = figure.layout;
    // On a phone the names of a legend stand below each other, and few numbers fit along an axis.
    const narrow = width < 480, named = (trace) => trace.name && trace.showlegend !== false;
    const names = rest.showlegend === false ? 0 : data.filter(named).length;
    const scale = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
    const title = { text: timed ? "hours" : "environment steps" };
    return [data, {
      height: height + (narrow && names > 1 ? 18 * names : 0), margin: { l: 56, r: 16, t: 8, b: 44 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, size: 13 }, legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, hovermode: "closest",
      ...rest,
      xaxis: { ...scale, title, ...(narrow ? { nticks: keeps_x ? 3 : 5, tickangle: 0 } : {}), ...xaxis },
      yaxis: { ...scale, ...yaxis },
      shapes: timed ? shapes.filter((shape) => shape.xref === "paper") : shapes,
    }];
  };

  const drawOne = (key) => {
    const [data, layout] = drawn(figures[key], document.getElementById(key).clientWidth);
    document.querySelector(`#${key} > .still`)?.remove();
    Plotly.react(key, data, layout, { responsive: true, displayModeBar: false });
  };

  // One after the other, so that the first is seen at once; on paper there is no later.
  const draw = () => {
    const keys = Object.keys(figures), mine = ++round;
    const next = () => {
      if (mine !== round || !keys.length) return;
      drawOne(keys.shift());
      if (printing) next();
      else setTimeout(next);
    };
    next();
  };

  for (const button of document.querySelectorAll("[data-axis]")) {
    button.addEventListener("click", () => {
      axis = button.dataset.axis;
      for (const other of document.querySelectorAll("[data-axis]")) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      draw();
    });
  }

  const shown = (cell) => cell.dataset.sort ?? cell.textContent;
  const compared = (one, other, sign) => {
    const [a, b] = [Number(one), Number(other)];
    if (one === "" || other === "") return (one === "") - (other === ""); // what is not known comes last
    return sign * (Number.isNaN(a) || Number.isNaN(b) ? one.localeCompare(other) : a - b);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", sign < 0 ? "descending" : "ascending");
        body.append(...[...body.rows].sort((a, b) => compared(shown(a.cells[column]), shown(b.cells[column]), sign)));
      });
    });
  }

  dark.addEventListener("change", draw);
  addEventListener("beforeprint", () => { printing = true; draw(); });
  addEventListener("afterprint", () => { printing = false; draw(); });
  draw();

  if (document.body.dataset.reloads) {
    let known = null;
    setInterval(async () => {
      const version = await fetch("version").then((answer) => answer.text()).catch(() => known);
      if (known !== null && version !== known) location.reload();
      known = version;
    }, 2000);
  }
})();
