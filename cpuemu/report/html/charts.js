// Memory over time, interrupts from CPU to CPU, latencies.

/** Columns of a level that goes on to the end of the run. */
const steps = ({ at: times, low, high, last }) => {
  const at = [...Array.from(times, (ns) => ns / SECOND), WHOLE[1]]
  const final = last[last.length - 1]
  return { at, until: [...at.slice(1), WHOLE[1]], low: [...low, final], high: [...high, final], last: [...last, final] }
}

const between = (low, high) => (low === high ? "" : `${number.format(low)} to `) + number.format(high)

// --- zones: free pages against the watermarks

const zoneFigures = run.levels.zones.filter((zone) => zone.at.length).map((zone) => {
  const data = steps(zone)
  const range = new Bokeh.Range1d({ start: 0 })
  const figure = timeFigure({ height: 190, y_range: range, title: `Zone ${zone.name}: free pages` })
  data.tip = data.at.map((at, i) => `${at.toFixed(6)}: ${between(data.low[i], data.high[i])} pages free`)
  const source = new Bokeh.ColumnDataSource({ data })
  const fill = figure.varea_step({ source, x: { field: "at" }, y1: 0, y2: { field: "last" }, step_mode: "after",
    fill_alpha: 0.22 })
  const felt = figure.quad({ source, left: { field: "at" }, right: { field: "until" }, bottom: 0, top: zone.managed,
    line_color: null, fill_color: null }) // seen by the pointer only
  const spread = figure.quad({ source, left: { field: "at" }, right: { field: "until" }, bottom: { field: "low" },
    top: { field: "high" }, line_color: null, fill_alpha: 0.5 })
  const line = figure.step({ source, x: { field: "at" }, y: { field: "last" }, mode: "after", line_width: 1.5 })
  figure.add_tools(tip([felt]))
  const [min, low, high] = zone.marks
  const spans = zone.marks.map((location, i) => new Bokeh.Span({
    location, dimension: "width", line_width: 1.5, line_dash: ["solid", "dashed", "dotted"][i] }))
  const label = new Bokeh.Label({ x: 6, x_units: "screen", y: high, text: `min ${number.format(min)} (line), low ` +
    `${number.format(low)} (dashes), high ${number.format(high)} (dots)`, text_font_size: "12px", y_offset: 2 })
  for (const each of [...spans, label]) figure.add_layout(each)
  /** As high as what is seen now needs, and the watermarks always. */
  const fit = () => {
    let highest = high * 1.6
    for (let i = Math.max(0, lower(data.at, time.start) - 1); i < data.at.length && data.at[i] <= time.end; i++)
      highest = Math.max(highest, data.high[i])
    range.end = highest * 1.15 + 1
  }
  fit()
  whenMoved(fit)
  dress(() => {
    dressFigure(figure)
    for (const drawn of [fill, spread]) drawn.glyph.fill_color = { value: colour("accent") }
    line.glyph.line_color = { value: colour("accent") }
    for (const span of spans) span.line_color = colour("warn")
    label.text_color = colour("text")
  })
  return figure
})

// --- pages on each CPU's lists: an area a CPU, all on one scale

const fullest = Math.max(1, ...run.levels.cpus.flatMap((level) => level.high))
const PCP_HEIGHT = run.cpus <= 16 ? 30 : run.cpus <= 64 ? 14 : 8
const pcps = timeFigure({
  height: run.cpus * PCP_HEIGHT + 48, y_range: new Bokeh.Range1d({ start: run.cpus, end: 0 }), x_axis_label: "seconds",
})
bands(pcps, run.cpus, PCP_HEIGHT < 14 ? 2 : 1, (cpu) => `cpu ${cpu}`)

const areas = { left: [], right: [], bottom: [], top: [], tip: [] }
run.levels.cpus.forEach((level, cpu) => {
  const { at, until, low, high } = level.at.length ? steps(level) : { at: [] }
  at.forEach((left, i) => {
    areas.left.push(left)
    areas.right.push(until[i])
    areas.bottom.push(cpu + 1)
    areas.top.push(cpu + 1 - (0.92 * high[i]) / fullest)
    areas.tip.push(`cpu ${cpu}, ${left.toFixed(6)}: ${between(low[i], high[i])} pages`)
  })
})
const drawnAreas = pcps.quad({
  source: new Bokeh.ColumnDataSource({ data: areas }), left: { field: "left" }, right: { field: "right" },
  bottom: { field: "bottom" }, top: { field: "top" }, line_color: null,
})
pcps.add_tools(tip([drawnAreas]))
pcps.add_layout(new Bokeh.Title({ text: `a full lane is ${number.format(fullest)} pages`, text_font_style: "normal",
  align: "right" }), "above")
dress(() => {
  dressFigure(pcps)
  drawnAreas.glyph.fill_color = { value: colour("kind-kthread") }
  for (const title of pcps.above) if (title.text) {
    title.text_color = colour("faint")
    title.text_font_size = "12px"
    title.text_font = FONT
  }
})

// --- the matrix: who interrupted whom

const CELL = run.cpus <= 16 ? 34 : run.cpus <= 64 ? 12 : 3
const matrix = figureOf({
  sizing_mode: "fixed", width: run.cpus * CELL + LEFT + 40, height: run.cpus * CELL + 70,
  x_range: new Bokeh.Range1d({ start: 0, end: run.cpus }), y_range: new Bokeh.Range1d({ start: run.cpus, end: 0 }),
  x_axis_label: "to cpu", y_axis_label: "from cpu",
})
const step = Math.ceil(run.cpus / 16)
bands(matrix, run.cpus, step, (cpu) => `${cpu}`)
xAxis(matrix).ticker = yAxis(matrix).ticker
xAxis(matrix).major_label_overrides = yAxis(matrix).major_label_overrides
gridOf(matrix, 1).visible = false

const cells = new Bokeh.ColumnDataSource({ data: { x: [], y: [], fill: [], ink: [], text: [], tip: [] } })
const drawnCells = matrix.rect({ source: cells, x: { field: "x" }, y: { field: "y" }, width: 0.94, height: 0.94,
  fill_color: { field: "fill" }, line_color: null })
matrix.text({ source: cells, x: { field: "x" }, y: { field: "y" }, text: { field: "text" }, text_align: "center",
  text_baseline: "middle", text_font_size: "12px", text_font: FONT, text_color: { field: "ink" } })
matrix.add_tools(tip([drawnCells]))

const vectorChoice = document.getElementById("vector")
vectorChoice.append(new Option("all interrupts", "-1"))
run.vectors.forEach((name, vector) => {
  if (run.sent.some(([, , each]) => each === vector)) vectorChoice.append(new Option(`${name}s`, `${vector}`))
})

/** Between two colours given as rgb(…). */
const mix = (from, to, share) => {
  const [a, b] = [from, to].map((each) => each.match(/[\d.]+/g).map(Number))
  return `rgb(${[0, 1, 2].map((i) => Math.round(a[i] + (b[i] - a[i]) * share)).join(", ")})`
}

function paintMatrix() {
  const chosen = Number(vectorChoice.value)
  const counts = new Map()
  for (const [from, to, vector, count] of run.sent) {
    if (chosen >= 0 && vector !== chosen) continue
    const key = from * 65536 + to
    counts.set(key, (counts.get(key) ?? 0) + count)
  }
  const most = Math.max(1, ...counts.values())
  const data = { x: [], y: [], fill: [], ink: [], text: [], tip: [] }
  for (const [key, count] of counts) {
    const [from, to] = [Math.floor(key / 65536), key % 65536]
    const share = Math.sqrt(count / most)
    data.x.push(to + 0.5)
    data.y.push(from + 0.5)
    data.fill.push(mix(colour("heat-low"), colour("heat-high"), share))
    data.ink.push(share > 0.55 ? colour("heat-ink-high") : colour("heat-ink-low"))
    data.text.push(run.cpus <= 16 ? number.format(count) : "")
    data.tip.push(`cpu ${from} to cpu ${to}: ${number.format(count)} sent`)
  }
  cells.data = data
}
dress(() => {
  dressFigure(matrix)
  paintMatrix()
})
vectorChoice.addEventListener("change", paintMatrix)

// --- latencies: a histogram of each kind, all on one scale

const allBars = run.latencies.flatMap((each) => each.bars)
const scale = [Math.max(1, Math.min(...allBars.map(([low]) => low))) / 1500, Math.max(...allBars.map(([, high]) => high)) / 700]
const US = 1000
const histogramFigures = run.latencies.map((each) => {
  const data = { left: [], right: [], top: [], tip: [] }
  for (const [low, high, count] of each.bars) {
    data.left.push(Math.max(low, 1) / US)
    data.right.push(high / US)
    data.top.push(count)
    data.tip.push(`${duration(low)} to ${duration(high)}: ${number.format(count)}`)
  }
  const us = (value) => duration(value * US)
  const figure = figureOf({
    height: 210, min_border_left: 64, x_axis_type: "log", x_range: new Bokeh.Range1d({ start: scale[0], end: scale[1] }),
    y_range: new Bokeh.Range1d({ start: 0, end: Math.max(...data.top) * 1.08 }), x_axis_label: "µs",
    title: `${each.name}: ${number.format(each.n)}, median ${us(each.median)}, p99 ${us(each.p99)}, max ${us(each.max)}`,
  })
  const quads = figure.quad({ source: new Bokeh.ColumnDataSource({ data }), left: { field: "left" },
    right: { field: "right" }, bottom: 0, top: { field: "top" } })
  const spans = [["solid", each.median], ["dashed", each.p99]].map(([line_dash, location]) =>
    new Bokeh.Span({ location, dimension: "height", line_dash, line_width: 2 }))
  for (const span of spans) figure.add_layout(span)
  figure.add_tools(tip([quads]))
  dress(() => {
    dressFigure(figure)
    quads.glyph.fill_color = { value: colour("accent") }
    quads.glyph.line_color = { value: colour("page") }
    for (const span of spans) span.line_color = colour("warn")
  })
  return figure
})
