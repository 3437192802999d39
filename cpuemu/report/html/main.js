// Put everything on the page, and let keys and buttons move it.

const drawing = new Bokeh.Document()
const places = []

const place = (figure, where) => {
  drawing.add_root(figure)
  places.push(where.appendChild(document.createElement("div")))
}

const doings = {
  in: () => zoom(0.5), out: () => zoom(2), left: () => move(-0.25), right: () => move(0.25),
  all: () => show(...time.bounds),
  drag: () => {
    const button = document.querySelector("[data-do=drag]")
    const zooms = button.getAttribute("aria-pressed") !== "true"
    button.setAttribute("aria-pressed", String(zooms))
    dragZooms(zooms)
  },
}
for (const button of document.querySelectorAll("[data-do]"))
  button.addEventListener("click", doings[button.dataset.do])

const KEYS = { "+": "in", "=": "in", "-": "out", "−": "out", ArrowLeft: "left", ArrowRight: "right", 0: "all",
  Home: "all", z: "drag" }
const timelinePlace = document.getElementById("timeline")
timelinePlace.addEventListener("keydown", (event) => {
  const name = KEYS[event.key]
  if (!name || event.ctrlKey || event.metaKey || event.altKey) return
  event.preventDefault()
  doings[name]()
})

function lookAt(seconds) {
  seek(seconds)
  document.getElementById("timeline-section").scrollIntoView({ block: "start" })
  timelinePlace.focus({ preventScroll: true })
}
for (const button of document.querySelectorAll("[data-seek]"))
  button.addEventListener("click", () => lookAt(Number(button.dataset.seek)))

const where = document.getElementById("where")
const sayWhere = () => {
  where.textContent = `${time.start.toFixed(6)} to ${time.end.toFixed(6)} s (${duration((time.end - time.start) * SECOND)})`
}
whenMoved(sayWhere)
sayWhere()

const at = (id) => document.getElementById(id)
place(lanes, timelinePlace)
for (const figure of zoneFigures) place(figure, at("zones"))
if (run.levels.cpus.some((level) => level.at.length)) place(pcps, at("pcps"))
else at("memory").hidden = true
if (run.sent.length) place(matrix, at("matrix"))
else at("interrupts").hidden = true
for (const figure of histogramFigures) place(figure, at("histograms"))
at("latencies").hidden = !histogramFigures.length
await Bokeh.embed.add_document_standalone(drawing, document.body, places)

// For whoever drives this page: what is shown now, in seconds, and what is drawn.
window.report = {
  ready: true,
  show,
  range: () => [time.start, time.end],
  drawn: () => ({ bars: bars.data.left.length, arrows: rays.data.x0.length, missed: run.missed.length,
    text: xAxis(lanes).major_label_text_color }),
}
