// One page's events, and where it was at the end.

const STATES = ["reserved, or a hole", "inside of a block", "free, in the buddy lists", "on a CPU's list", "allocated"]
const [TAIL, BUDDY, PCP, ALLOCATED] = [1, 2, 3, 4]
const EVENT_WORDS = ["allocated", "freed", "taken from the buddy lists", "drained to the buddy lists"]
const { lives } = run
const hex = (pfn) => `0x${pfn.toString(16)}`
const taskName = (task) => lives.tasks[task] ?? `task ${task}`
const runEnds = lives.runs && sums(lives.runs[0])

const record = (pfn) => {
  const i = lower(runEnds, pfn + 1)
  return { state: lives.runs[1][i], order: lives.runs[2][i], owner: lives.runs[3][i] }
}

/** Where a page was when the machine stopped: the block that it is in says so. */
function atTheEnd(pfn) {
  if (!lives.runs) return "Where it was at the end is left out: memory was too fragmented to write it down."
  let { state, order, owner } = record(pfn)
  let head = pfn
  for (let size = 1; state === TAIL && size <= 10; size++) {
    head = Math.floor(pfn / 2 ** size) * 2 ** size
    const block = record(head)
    if (block.state !== TAIL && block.order >= size) ({ state, order, owner } = block)
  }
  const block = order ? `, in the block of order ${order} at ${hex(head)}` : ""
  if (state === PCP) return `At the end it was on the list of cpu ${owner}.`
  if (state === ALLOCATED) {
    const who = lives.tasks[owner] ? ` by ${lives.tasks[owner]}` : owner > 0x7fffffff ? " since before the workload, or to the page cache" : ""
    return `At the end it was allocated${who}${block}.`
  }
  return `At the end it was ${state === BUDDY ? STATES[BUDDY] + block : STATES[state] ?? "of an unknown state"}.`
}

function eventsOf(pfn) {
  const found = []
  for (let i = 0; i < lives.pfn.length; i++)
    if (lives.pfn[i] <= pfn && pfn < lives.pfn[i] + 2 ** lives.order[i]) found.push(i)
  return found
}

const cell = (text, kind = "td") => {
  const made = document.createElement(kind)
  made.append(text)
  return made
}

function showLife(pfn) {
  const answer = document.getElementById("life-answer")
  answer.replaceChildren()
  const say = (text) => answer.append(Object.assign(document.createElement("p"), { textContent: text }))
  lifeMarks = []
  if (!Number.isInteger(pfn) || pfn < 0 || pfn >= lives.pages) {
    say(`No such page: this machine has page frames 0 to ${hex(lives.pages - 1)} (${number.format(lives.pages - 1)}).`)
    paintMarks()
    return
  }
  const found = eventsOf(pfn)
  say(`Page ${hex(pfn)} (${pfn}): ${found.length ? number.format(found.length) : "no"} events. ${atTheEnd(pfn)}`)
  if (found.length) {
    const table = document.createElement("table")
    const head = table.createTHead().insertRow()
    for (const name of ["time", "cpu", "task", "event", "what"]) head.append(cell(name, "th"))
    const body = table.createTBody()
    for (const i of found) {
      const row = body.insertRow()
      const button = document.createElement("button")
      button.type = "button"
      button.textContent = clock(lives.at[i])
      button.title = "Show on the timeline"
      button.addEventListener("click", () => lookAt(lives.at[i] / SECOND))
      const block = lives.order[i] ? `, order ${lives.order[i]} at ${hex(lives.pfn[i])}` : ""
      row.append(cell(button), cell(`${lives.cpu[i]}`), cell(taskName(lives.task[i])), cell(lives.events[lives.event[i]]),
        cell(EVENT_WORDS[lives.event[i]] + block))
      lifeMarks.push([lives.at[i], lives.cpu[i], "life", `page ${hex(pfn)} ${EVENT_WORDS[lives.event[i]]}`])
    }
    answer.append(table)
  }
  paintMarks()
}

const input = document.getElementById("pfn")
document.getElementById("ask").addEventListener("submit", (event) => {
  event.preventDefault()
  const text = input.value.trim()
  showLife(/^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : NaN)
})
const suggested = document.getElementById("suggested")
if (lives.suggested.length) suggested.append(lives.named.length ? "Named by findings, or moved most: " : "Moved most: ")
for (const pfn of lives.suggested) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: hex(pfn) })
  button.addEventListener("click", () => {
    input.value = hex(pfn)
    showLife(pfn)
  })
  suggested.append(button, " ")
}
document.getElementById("life-hint").textContent = !lives.at.length
  ? "No page event was traced."
  : lives.total > lives.at.length
    ? `Of ${number.format(lives.total)} page events the last ${number.format(lives.at.length)} are here, from ` +
      `${clock(lives.at[lives.named.length ? lower(lives.at, 0) : 0])} on, and all of pages that findings name; trace-dump --pfn finds the others.`
    : `All ${number.format(lives.total)} page events that were traced are here, from ${clock(lives.at[0])} on.`
