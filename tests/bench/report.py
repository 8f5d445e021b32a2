"""Numbers to text and pictures: medians, geometric means, tables, the SVG plot. No input, no output.

A row is a program's name, its group, and by engine ("native", "rhea", "qemu") either seconds (a
median) or a sentence that says why there are none.
"""

import dataclasses
import math
import statistics
from xml.sax.saxutils import escape

ENGINES = ("native", "rhea", "qemu")
TITLES = {"native": "native", "rhea": "Rhea", "qemu": "QEMU"}
COLOURS = {"rhea": "#1b7f8c", "qemu": "#e08a1e"}


@dataclasses.dataclass
class Row:
    name: str
    group: str
    seconds: dict = dataclasses.field(default_factory=dict)
    problems: dict = dataclasses.field(default_factory=dict)

    def ratio(self, engine, base):
        """How many times the base's time the engine takes, or None."""
        own, other = self.seconds.get(engine), self.seconds.get(base)
        return own / other if own and other else None


def make_row(name, group, results, middle=statistics.median):
    """A Row of lists of measure.Result by engine: the middle one, or the first problem. A checksum that
    differs from the first engine's is an error of the engine that has it."""
    row, expected = Row(name, group), None
    for engine in ENGINES:
        runs = results.get(engine, [])
        problem = next((run.error and f"error: {run.error}" or run.skip and f"skipped: {run.skip}"
                        for run in runs if run.error or run.skip), None)
        for run in runs:
            if problem or not run.checksum:
                continue
            expected = expected or run.checksum
            if run.checksum != expected:
                problem = f"error: checksum {run.checksum}, not {expected}"
        if problem:
            row.problems[engine] = problem
        elif runs:
            row.seconds[engine] = middle([run.seconds for run in runs])
    return row


def geometric_mean(values):
    """The geometric mean of the values that are not None, or None without any."""
    logarithms = [math.log(value) for value in values if value]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else None


def groups(rows):
    """(group, rows) in order of first appearance."""
    found = {}
    for row in rows:
        found.setdefault(row.group, []).append(row)
    return list(found.items())


PAIRS = (("rhea", "native"), ("qemu", "native"), ("rhea", "qemu"))


def means(rows):
    """The geometric mean of each pair of PAIRS, over the rows in which all the engines that have
    times somewhere have one, so that the means of a line are of the same programs."""
    present = {engine for row in rows for engine in row.seconds}
    whole = [row for row in rows if present <= set(row.seconds)]
    return [geometric_mean([row.ratio(*pair) for row in whole]) for pair in PAIRS], len(whole)


def number(value, digits=2):
    return "-" if value is None else f"{value:.{digits}f}"


def aligned(lines):
    """Lines of cells as text: the first column to the left, the others to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join([line[0].ljust(widths[0])] +
                               [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
                               ).rstrip() for line in lines)


def table(rows):
    """The programs with their times in ms and ratios, a mean for each group and over all."""
    lines = [["program", "native ms", "Rhea ms", "QEMU ms", "Rhea/native", "QEMU/native",
              "Rhea/QEMU"]]

    def mean_line(title, some):
        ratios, count = means(some)
        lines.append([f"{title} ({count})", "", "", "", *map(number, ratios)])

    for group, members in groups(rows):
        lines.append([f"[{group}]"] + [""] * 6)
        for row in members:
            times = [number(row.seconds[engine] * 1000) if engine in row.seconds else
                     row.problems.get(engine, "-").partition(":")[0] for engine in ENGINES]
            lines.append([row.name, *times, *(number(row.ratio(*pair)) for pair in PAIRS)])
        mean_line("  geometric mean", members)
    mean_line("all: geometric mean", rows)
    text = aligned(lines)
    problems = [f"{row.name}, {TITLES[engine]}: {problem}"
                for row in rows for engine, problem in row.problems.items()]
    return text + ("\n\n" + "\n".join(problems) if problems else "")


def boot_table(runs):
    """Whole boots: medians by engine of (name, engine, list of measure.Usage), and the ratios."""
    lines, problems, medians = [["boot", "", "wall ms", "user ms", "max MiB", "beyond RAM", "runs"]], [], {}
    for name, engine, usages in runs:
        bad = next((usage.error for usage in usages if usage.error), None)
        if bad:
            problems.append(f"{name}, {TITLES[engine]}: error: {bad}")
            lines.append([name, TITLES[engine], "error", "", "", "", str(len(usages))])
            continue
        values = [statistics.median(getattr(usage, field) for usage in usages)
                  for field in ("wall", "user", "memory", "beyond")]
        medians[name, engine] = values
        lines.append([name, TITLES[engine], number(values[0] * 1000, 1),
                      number(values[1] * 1000, 1), number(values[2], 1), number(values[3], 1), str(len(usages))])
        if engine == "qemu" and (name, "rhea") in medians:
            ratios = [own / other if other else None
                      for own, other in zip(medians[name, "rhea"], values)]
            lines.append([name, "Rhea/QEMU", *map(number, ratios), ""])
    return aligned(lines) + ("\n\n" + "\n".join(problems) if problems else "")


def nice_ticks(low, high):
    """Powers of ten with 2 and 5 between, that cover low to high."""
    ticks = [mantissa * 10.0 ** power for power in range(-3, 7) for mantissa in (1, 2, 5)]
    first = max([tick for tick in ticks if tick <= low], default=ticks[0])
    last = min([tick for tick in ticks if tick >= high], default=ticks[-1])
    return [tick for tick in ticks if first <= tick <= last]


def plot(rows, caption=""):
    """An SVG document: for each program a bar an emulator, its time as a multiple of native's on a
    logarithmic scale; the groups' geometric means in bold. Without native times, of QEMU's."""
    base = next((engine for engine in ("native", "qemu")
                 if any(engine in row.seconds for row in rows)), "native")
    engines = [engine for engine in ("rhea", "qemu") if engine != base]
    bars = []  # (label, is a mean, {engine: ratio or None}, {engine: problem})
    for group, members in groups(rows):
        bars += [(row.name, False, {e: row.ratio(e, base) for e in engines}, row.problems)
                 for row in members]
        ratios = dict(zip(PAIRS, means(members)[0]))
        bars.append((f"{group}: mean", True, {e: ratios.get((e, base)) for e in engines}, {}))
    ratios = dict(zip(PAIRS, means(rows)[0]))
    bars.append(("all: mean", True, {e: ratios.get((e, base)) for e in engines}, {}))

    values = [value for bar in bars for value in bar[2].values() if value]
    ticks = nice_ticks(min([1.0, *values]), max([2.0, *values]))
    left, right, top, thick = 150, 70, 64, 8
    step = thick * len(engines) + 7
    width, inner = 900, 900 - left - right
    height = top + step * len(bars) + 40
    span = math.log(ticks[-1] / ticks[0])

    def x(value):
        return left + inner * math.log(value / ticks[0]) / span

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
           f'<rect width="{width}" height="{height}" fill="white"/>',
           f'<text x="{left}" y="22" font-size="15" font-weight="bold">Time as a multiple of '
           f'{TITLES[base]}\'s (logarithmic; shorter is better)</text>']
    if caption:
        out.append(f'<text x="{left}" y="{height - 8}" fill="#555">{escape(caption)}</text>')
    for place, engine in enumerate(engines):
        at = left + 90 * place
        out.append(f'<rect x="{at}" y="32" width="12" height="12" fill="{COLOURS[engine]}"/>'
                   f'<text x="{at + 17}" y="42">{TITLES[engine]}</text>')
    for tick in ticks:
        colour = "#000" if tick == 1 else "#ddd"
        out.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{top - 4}" '
                   f'y2="{height - 36}" stroke="{colour}"/>'
                   f'<text x="{x(tick):.1f}" y="{top - 7}" text-anchor="middle" fill="#555">'
                   f'{tick:g}</text>')
    for place, (label, is_mean, by_engine, problems) in enumerate(bars):
        y = top + step * place + 3
        weight = ' font-weight="bold"' if is_mean else ""
        out.append(f'<text x="{left - 8}" y="{y + thick * len(engines) / 2 + 4:.1f}" '
                   f'text-anchor="end"{weight}>{escape(label)}</text>')
        for which, engine in enumerate(engines):
            value, at = by_engine[engine], y + thick * which
            if not value:
                why = problems.get(engine, "").partition(":")[0]
                if why:
                    out.append(f'<text x="{x(1) + 4:.1f}" y="{at + thick - 1}" font-size="9" '
                               f'fill="#b00">{TITLES[engine]}: {escape(why)}</text>')
                continue
            begin, end = sorted((x(1), x(value)))
            out.append(f'<rect x="{begin:.1f}" y="{at}" width="{max(end - begin, 0.5):.1f}" '
                       f'height="{thick - 1}" fill="{COLOURS[engine]}"'
                       f'{"" if is_mean else " fill-opacity=" + chr(34) + "0.75" + chr(34)}/>'
                       f'<text x="{end + 3:.1f}" y="{at + thick - 1}" font-size="9"{weight}>'
                       f'{value:.2f}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"
