// The stretch of time that is shown: one range, shared by the timeline and by memory; and what all figures have alike.

const LEFT = 118 // pixels left of every figure that has time below it: so that they stand under each other
const SHORTEST = 1e-7 // seconds
const WHOLE = [0, Math.max(run.end / SECOND, 1e-3)]
const MARGIN = (WHOLE[1] - WHOLE[0]) * 0.01

const time = new Bokeh.Range1d({
  start: WHOLE[0] - MARGIN, end: WHOLE[1] + MARGIN,
  bounds: [WHOLE[0] - MARGIN, WHOLE[1] + MARGIN], min_interval: SHORTEST,
})

function show(start, end) {
  const [low, high] = time.bounds
  const width = Math.min(Math.max(end - start, SHORTEST), high - low)
  const first = Math.min(Math.max(start, low), high - width)
  time.setv({ start: first, end: first + width })
}

const zoom = (factor) => {
  const middle = (time.start + time.end) / 2
  const half = ((time.end - time.start) / 2) * factor
  show(middle - half, middle + half)
}

const move = (share) => {
  const by = (time.end - time.start) * share
  show(time.start + by, time.end + by)
}

/** A moment, a fiftieth of the run around it, or closer when we are closer already. */
const seek = (seconds) => {
  const half = Math.min(time.end - time.start, (WHOLE[1] - WHOLE[0]) / 25) / 2
  show(seconds - half, seconds + half)
}

/** After the range has changed, at most once a frame. */
function whenMoved(act) {
  let asked = false
  time.change.connect(() => {
    if (asked) return
    asked = true
    requestAnimationFrame(() => {
      asked = false
      act()
    })
  })
}

function figureOf(options) {
  const figure = Bokeh.Plotting.figure({
    sizing_mode: "stretch_width", toolbar_location: null, tools: [], min_border_left: LEFT, min_border_right: 16,
    ...options,
  })
  figure.toolbar.logo = null
  return figure
}

const xAxis = (figure) => figure.below[0]
const yAxis = (figure) => figure.left[0]
const gridOf = (figure, dimension) => figure.center.find((each) => each.grid_line_color !== undefined && each.dimension === dimension)

/** A band for each of `count` things, the first at the top; `names` of every `step`th. */
function bands(figure, count, step, nameOf) {
  const named = Array.from({ length: count }, (_, band) => band).filter((band) => band % step === 0)
  yAxis(figure).ticker = new Bokeh.FixedTicker({ ticks: named.map((band) => band + 0.5) })
  yAxis(figure).major_label_overrides = new Map(named.map((band) => [band + 0.5, nameOf(band)]))
  gridOf(figure, 1).ticker = new Bokeh.FixedTicker({ ticks: Array.from({ length: count + 1 }, (_, edge) => edge) })
  gridOf(figure, 0).visible = false
}

const pans = []

/** A figure whose x axis is time. */
function timeFigure(options) {
  const figure = figureOf({ x_range: time, ...options })
  const pan = new Bokeh.PanTool({ dimensions: "width" })
  const box = new Bokeh.BoxZoomTool({ dimensions: "width" })
  const wheel = new Bokeh.WheelZoomTool({ dimensions: "width", modifiers: { ctrl: true } })
  figure.add_tools(pan, box, wheel)
  figure.toolbar.active_drag = pan
  figure.toolbar.active_scroll = wheel
  pans.push({ figure, pan, box })
  return figure
}

const dragZooms = (yes) => {
  for (const { figure, pan, box } of pans) figure.toolbar.active_drag = yes ? box : pan
}

/** A tip that says one text a glyph. */
const tip = (renderers) =>
  new Bokeh.HoverTool({ renderers, tooltips: "<div class='tip'>@tip</div>", point_policy: "follow_mouse" })
