// Light and dark: the colours stand in page.css; charts read them from there and are dressed again when they change.

const dressed = []
const probe = document.body.appendChild(document.createElement("i"))
const known = new Map()

/** A colour of page.css as it is now: "rgb(0, 114, 178)". */
const colour = (name) => {
  if (!known.has(name)) {
    probe.style.color = `var(--${name})`
    known.set(name, getComputedStyle(probe).color)
  }
  return known.get(name)
}

/** Call now, and again whenever the colours change. */
const dress = (paint) => {
  dressed.push(paint)
  paint()
}

const dressAgain = () => {
  known.clear()
  for (const paint of dressed) paint()
}

const THEMES = ["system", "light", "dark"]

function chooseTheme(name) {
  document.documentElement.dataset.theme = name
  document.getElementById("theme").textContent = `Theme: ${name}`
  dressAgain()
}

document.getElementById("theme").addEventListener("click", () => {
  const now = THEMES.indexOf(document.documentElement.dataset.theme || "system")
  chooseTheme(THEMES[(now + 1) % THEMES.length])
})
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dressAgain)

const FONT = "system-ui, sans-serif"

/** Everything of a figure that is not data. */
function dressFigure(figure) {
  const [text, faint, grid] = [colour("text"), colour("faint"), colour("grid")]
  figure.background_fill_color = null
  figure.border_fill_color = null
  figure.outline_line_color = grid
  for (const axis of [...figure.below, ...figure.left].filter((each) => each.major_label_text_color !== undefined)) {
    axis.axis_line_color = grid
    axis.major_tick_line_color = grid
    axis.minor_tick_line_color = null
    axis.major_label_text_color = text
    axis.major_label_text_font = FONT
    axis.major_label_text_font_size = "13px"
    axis.axis_label_text_color = faint
    axis.axis_label_text_font = FONT
    axis.axis_label_text_font_size = "13px"
    axis.axis_label_text_font_style = "normal"
  }
  for (const line of figure.center.filter((each) => each.grid_line_color !== undefined)) line.grid_line_color = grid
  if (figure.title) {
    figure.title.text_color = text
    figure.title.text_font = FONT
    figure.title.text_font_size = "14px"
  }
}
