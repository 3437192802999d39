// The run, unpacked: columns of numbers, times in ns since power-on.

const trouble = (sentence) => {
  const place = document.getElementById("trouble")
  place.textContent = sentence
  place.hidden = false
}

async function unpack() {
  const packed = Uint8Array.from(atob(document.getElementById("data").textContent), (c) => c.charCodeAt(0))
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))
  return new Response(stream).json()
}

/** Numbers that were written as differences. */
const sums = (deltas) => {
  let sum = 0
  return Float64Array.from(deltas, (delta) => (sum += delta))
}

if (typeof DecompressionStream === "undefined")
  trouble("This browser is too old to draw the charts: it has no DecompressionStream.")

const run = await unpack()
for (const row of run.slices) row.start = sums(row.start)
run.arrows.start = sums(run.arrows.start)
for (const level of [...run.levels.zones, ...run.levels.cpus]) level.at = sums(level.at)
run.lives.at = sums(run.lives.at)
run.lives.pfn = sums(run.lives.pfn)

const SECOND = 1e9
const number = new Intl.NumberFormat("en-US")

/** 1234567 ns as "1.23 ms". */
const duration = (ns) => {
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]])
    if (ns >= size) return `${Number((ns / size).toPrecision(3))} ${unit}`
  return `${Math.round(ns)} ns`
}

const clock = (ns) => (ns / SECOND).toFixed(6)
const cpuName = (cpu) => (cpu >= 0 && cpu < run.cpus ? `cpu ${cpu}` : "the coordinator")
