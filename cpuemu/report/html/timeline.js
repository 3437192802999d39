// The CPUs' lanes.  Of all slices those are drawn that can be seen: what is narrower than a pixel becomes one with its
// neighbours, in the colour of what takes most of that pixel.

const HOTPLUG = -2
const LANES = run.cpus + 2
const LANE_HEIGHT = run.cpus <= 16 ? 34 : run.cpus <= 64 ? 20 : 12
const CROWD = { arrows: 30, pixels: 60 } // more of them in so little are a smear: none is drawn then

const WORDS_SIZE = LANE_HEIGHT >= 30 ? 12 : 10
const LETTER = WORDS_SIZE * 0.56 // pixels, about

/** Middle and height of each row of a lane, from the lane's upper edge. */
const ROWS = [{ at: 0.69, height: 0.5 }, { at: 0.32, height: 0.18 }, { at: 0.12, height: 0.16 }]
const top_ = (lane) => lane - HOTPLUG
const PALE = new Set(["idle"]) // too pale for words in the colour of the page
const HATCHED = new Set(["offline", "wait"])

const lanes = timeFigure({
  height: LANES * LANE_HEIGHT + 48, y_range: new Bokeh.Range1d({ start: LANES, end: 0 }), x_axis_label: "seconds",
})
bands(lanes, LANES, LANE_HEIGHT < 14 ? 2 : 1, (lane) => ["hotplug", "stop_machine"][lane] ?? `cpu ${lane - 2}`)

const NO_BARS = () => ({ left: [], right: [], y: [], height: [], fill: [], tip: [] })
const bars = new Bokeh.ColumnDataSource({ data: NO_BARS() })
const hatched = new Bokeh.ColumnDataSource({ data: NO_BARS() }) // apart: a pattern for each bar would be a canvas for each
const barOf = (source, more) => lanes.hbar({
  source, y: { field: "y" }, left: { field: "left" }, right: { field: "right" }, height: { field: "height" },
  fill_color: { field: "fill" }, line_color: null, ...more,
})
const drawnBars = barOf(bars, {})
const drawnHatched = barOf(hatched, { hatch_pattern: "right_diagonal_line", hatch_scale: 6, hatch_weight: 1,
  hatch_alpha: 0.7 })

const words = new Bokeh.ColumnDataSource({ data: { x: [], y: [], text: [], ink: [] } })
lanes.text({ source: words, x: { field: "x" }, y: { field: "y" }, text: { field: "text" }, x_offset: 5,
  text_color: { field: "ink" }, text_baseline: "middle", text_font: FONT, text_font_size: `${WORDS_SIZE}px` })

const rays = new Bokeh.ColumnDataSource({ data: { x0: [], y0: [], x1: [], y1: [], line: [], tip: [] } })
const drawnRays = lanes.segment({
  source: rays, x0: { field: "x0" }, y0: { field: "y0" }, x1: { field: "x1" }, y1: { field: "y1" },
  line_color: { field: "line" }, line_width: 1.2, line_alpha: 0.85,
})
const heads = new Bokeh.ColumnDataSource({ data: { x: [], y: [], marker: [], fill: [], tip: [], size: [] } })
const drawnHeads = lanes.scatter({
  source: heads, x: { field: "x" }, y: { field: "y" }, marker: { field: "marker" }, size: { field: "size" },
  fill_color: { field: "fill" }, line_color: { field: "fill" }, line_width: 2,
})
const marks = new Bokeh.ColumnDataSource({ data: { x: [], y: [], marker: [], fill: [], tip: [], size: [] } })
const drawnMarks = lanes.scatter({
  source: marks, x: { field: "x" }, y: { field: "y" }, marker: { field: "marker" }, size: { field: "size" },
  fill_color: { field: "fill" }, line_color: colour("page"), line_width: 1.5,
})
lanes.add_tools(tip([drawnBars, drawnHatched]), tip([drawnRays]), tip([drawnHeads]), tip([drawnMarks]))

const lower = (numbers, value) => {
  let [low, high] = [0, numbers.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (numbers[middle] < value) low = middle + 1
    else high = middle
  }
  return low
}

/** Slices of one row between two times, as bars; `pixel`: ns that a pixel is wide. */
function addBars(row, start, end, pixel, palette, plain, striped, written) {
  const { at, height } = row.lane < 0 ? { at: 0.5, height: 0.64 } : ROWS[row.row]
  const y = top_(row.lane) + at
  const put = (left, right, kind, text) => {
    const data = HATCHED.has(run.kinds[kind].key) ? striped : plain
    data.left.push(left / SECOND)
    data.right.push(Math.max(right, left + pixel) / SECOND)
    data.y.push(y)
    data.height.push(height)
    data.fill.push(palette[kind])
    data.tip.push(text)
  }
  /** The name of a slice into it, where it is seen and wide enough. */
  const write = (left, right, kind, label) => {
    const from = Math.max(left, time.start * SECOND)
    const text = row.lane >= 0 ? label : label.replace(/^STOPMACHINE_|,.*$/g, "").replace("going ", "").replace("coming ", "")
    if ((Math.min(right, time.end * SECOND) - from) / pixel < text.length * LETTER + 10) return
    written.x.push(from / SECOND)
    written.y.push(y)
    written.text.push(text)
    written.ink.push(colour(PALE.has(run.kinds[kind].key) ? "text" : "page"))
  }
  let group = null
  const flush = () => {
    if (group) {
      if (group.number === 1) put(group.left, group.right, group.kind, sliceTip(row, group.first))
      else put(group.left, group.right, group.kind,
        `${clock(group.left)}: ${number.format(group.count)} slices, most of it ${run.labels[group.label]}`)
    }
    group = null
  }
  const first = Math.max(0, lower(row.start, start) - 1)
  for (let i = first; i < row.start.length && row.start[i] <= end; i++) {
    const left = row.start[i]
    const length = row.length[i]
    if (left + length < start) continue
    const many = row.many[i]
    const count = many ? many[0] : 1
    if (length >= pixel) {
      flush()
      put(left, left + length, row.kind[i], sliceTip(row, i))
      if (row.row === 0 && !HATCHED.has(run.kinds[row.kind[i]].key)) write(left, left + length, row.kind[i], run.labels[row.label[i]])
    } else if (group && left - group.left < pixel) {
      group.right = Math.max(group.right, left + length)
      group.count += count
      group.number++
      if (length > group.longest)
        [group.longest, group.kind, group.label] = [length, row.kind[i], row.label[i]]
    } else {
      flush()
      group = { left, right: left + length, kind: row.kind[i], label: row.label[i], longest: length, count,
        number: 1, first: i }
    }
  }
  flush()
}

function sliceTip(row, i) {
  const label = run.labels[row.label[i]]
  const where = row.lane >= 0 ? `cpu ${row.lane}, ` : ""
  const many = row.many[i]
  const time_ = `${clock(row.start[i])}, ${duration(row.length[i])}`
  if (many) return `${where}${time_}: ${number.format(many[0])} slices, ${duration(many[1])} together, most of it ${label}`
  return `${where}${time_}: ${label} (${run.kinds[row.kind[i]].name})`
}

const plotWidth = () => Math.max(400, document.getElementById("timeline").clientWidth - LEFT)

function paintBars() {
  const shown = (time.end - time.start) * SECOND
  const pixel = shown / plotWidth()
  const palette = run.kinds.map((kind) => colour(`kind-${kind.key}`))
  const [plain, striped] = [NO_BARS(), NO_BARS()]
  const written = { x: [], y: [], text: [], ink: [] }
  // Half a screen more on both sides: it is there when the screen is dragged.
  const [start, end] = [time.start * SECOND - shown / 2, time.end * SECOND + shown / 2]
  for (const row of run.slices) addBars(row, start, end, pixel, palette, plain, striped, written)
  bars.data = plain
  hatched.data = striped
  words.data = LANE_HEIGHT >= 20 ? written : { x: [], y: [], text: [], ink: [] }
}

const centre = (cpu) => (cpu >= 0 && cpu < run.cpus ? top_(cpu) + ROWS[0].at : top_(-1))

function paintArrows() {
  const wanted = document.getElementById("show-arrows").checked
  const [start, end] = [time.start * SECOND, time.end * SECOND]
  const colours = run.vectorKinds.map((kind) => colour(`kind-${run.kinds[kind].key}`))
  const lines = { x0: [], y0: [], x1: [], y1: [], line: [], tip: [] }
  const points = { x: [], y: [], marker: [], fill: [], tip: [], size: [] }
  const { arrows } = run
  const seen = []
  for (let i = 0; i < arrows.start.length; i++)
    if (arrows.start[i] <= end && arrows.start[i] + arrows.length[i] >= start) seen.push(i)
  const few = !crowded(seen.map((i) => arrows.start[i]), (end - start) / plotWidth())
  for (const i of wanted && few ? seen : []) {
    const [from, to, kind] = [arrows.source[i], arrows.target[i], arrows.vector[i]]
    const many = arrows.count[i] > 1 ? `, the first of ${arrows.count[i]}, slowest ${duration(arrows.longest[i])}` : ""
    const text = `${run.vectors[kind]}, ${cpuName(from)} to ${cpuName(to)}: sent ${clock(arrows.start[i])}, taken after ` +
      `${duration(arrows.length[i])}${many}`
    addArrow(lines, points, arrows.start[i], arrows.start[i] + arrows.length[i], from, to, colours[kind], text)
    points.marker.push(to < from ? "triangle" : "inverted_triangle")
    points.size.push(7)
  }
  for (const [at, from, to, kind] of run.missed) {
    if (at > end) continue
    // To the end of what is shown: nobody has ever taken it.
    addArrow(lines, points, at, Math.min(run.end, at + (end - start) * 0.02), from, to, colour("bad"),
      `${run.vectors[kind]}, ${cpuName(from)} to ${cpuName(to)}: sent ${clock(at)}, never taken`)
    points.marker.push("x")
    points.size.push(12)
  }
  rays.data = lines
  heads.data = points
  document.getElementById("arrows-hint").textContent = wanted && !few
    ? `The arrows of ${number.format(seen.length)} interrupts in view would lie too close together: zoom in.` : ""
}

/** Whether there is a place where rising times stand too close; `pixel`: ns that a pixel is wide. */
function crowded(times, pixel) {
  return times.some((at, i) => i >= CROWD.arrows && at - times[i - CROWD.arrows] < CROWD.pixels * pixel)
}

function addArrow(lines, points, start, end, from, to, line, text) {
  lines.x0.push(start / SECOND)
  lines.x1.push(end / SECOND)
  lines.y0.push(centre(from))
  lines.y1.push(centre(to))
  lines.line.push(line)
  lines.tip.push(text)
  points.x.push(end / SECOND)
  points.y.push(centre(to))
  points.fill.push(line)
  points.tip.push(text)
}

const MARKERS = { finding: ["diamond", "bad", 18], fault: ["star", "warn", 15], oom: ["hex", "bad", 12],
  life: ["circle", "accent", 12] }
let lifeMarks = []

function paintMarks() {
  const data = { x: [], y: [], marker: [], fill: [], tip: [], size: [] }
  for (const [at, cpu, kind, text] of [...run.marks, ...lifeMarks]) {
    const [marker, fill, size] = MARKERS[kind]
    data.x.push(at / SECOND)
    data.y.push(cpu < 0 ? 0.5 : top_(cpu) + 0.5)
    data.marker.push(marker)
    data.fill.push(colour(fill))
    data.tip.push(`${clock(at)}: ${text}`)
    data.size.push(size)
  }
  marks.data = data
}

const findingLines = run.marks.filter(([, , kind]) => kind === "finding").slice(0, 20).map(([at]) => {
  const line = new Bokeh.Span({ location: at / SECOND, dimension: "height", line_dash: "dashed", line_width: 2 })
  lanes.add_layout(line)
  return line
})

dress(() => {
  dressFigure(lanes)
  for (const line of findingLines) line.line_color = colour("bad")
  drawnHatched.glyph.hatch_color = { value: colour("hatch") }
  drawnMarks.glyph.line_color = { value: colour("page") }
  paintBars()
  paintArrows()
  paintMarks()
})
whenMoved(() => {
  paintBars()
  paintArrows()
})
addEventListener("resize", paintBars)
document.getElementById("show-arrows").addEventListener("change", paintArrows)

function legend() {
  const colours = (kinds) => [...kinds].sort((a, b) => a - b).map((i) => {
    const { key, name } = run.kinds[i]
    return `<li><i class="swatch${HATCHED.has(key) ? " hatched" : ""}" style="background-color:var(--kind-${key})"></i>` +
      `${name}</li>`
  })
  const used = (lanes_) => new Set(run.slices.filter(({ lane }) => lanes_(lane)).flatMap((row) => row.kind))
  const kinds = new Set(run.marks.map(([, , kind]) => kind))
  const signs = [["finding", "◆", "bad", "finding"], ["fault", "★", "warn", "injected fault"], ["oom", "⬢", "bad", "OOM"]]
    .filter(([kind]) => kinds.has(kind)).map(([, sign, ink, name]) => `<li><b style="color:var(--${ink})">${sign}</b>${name}</li>`)
  if (run.missed.length) signs.push('<li><b style="color:var(--bad)">✕</b>interrupt never taken</li>')
  const groups = [["hotplug", colours(used((lane) => lane === HOTPLUG))], ["stop_machine", colours(used((lane) => lane === -1))],
    ["CPUs", colours(used((lane) => lane >= 0))], ["marks", signs]]
  document.getElementById("legend").innerHTML = groups.filter(([, items]) => items.length)
    .map(([name, items]) => `<dt>${name}</dt><dd><ul>${items.join("")}</ul></dd>`).join("")
}
legend()
