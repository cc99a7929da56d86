"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let axis = "steps";

  const inHours = (figure) =>
    !figure.layout.keeps_x && figure.data.some((trace) => trace.meta && trace.meta.hours.some((hours) => hours > 0));

  const drawn = (figure) => {
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink"), line = style.getPropertyValue("--line");
    const timed = axis === "hours" && inHours(figure);
    const data = figure.data.map((trace) => (timed && trace.meta ? { ...trace, x: trace.meta.hours } : trace));
    const { keeps_x, shapes = [], xaxis = {}, yaxis = {}, ...rest } = figure.layout;
    const scale = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
    const title = { text: timed ? "hours" : "environment steps" };
    return [data, {
      height: 380, margin: { l: 56, r: 16, t: 8, b: 44 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, size: 13 }, legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, hovermode: "closest",
      ...rest,
      xaxis: { ...scale, title, ...xaxis },
      yaxis: { ...scale, ...yaxis },
      shapes: timed ? shapes.filter((shape) => shape.xref === "paper") : shapes,
    }];
  };

  const draw = () => {
    for (const [key, figure] of Object.entries(figures)) {
      const [data, layout] = drawn(figure);
      Plotly.react(key, data, layout, { responsive: true, displayModeBar: false });
    }
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
  dark.addEventListener("change", draw);
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
