"""The table of tests/bench/block. No input, no output."""

import dataclasses
import statistics

import report


@dataclasses.dataclass
class Row:
    """What a case took, by engine ("rhea", "qemu"): seconds and MiB of each round, or why not."""
    name: str
    group: str
    needed: float                                   # how many times QEMU's speed is wanted
    seconds: dict = dataclasses.field(default_factory=dict)
    memory: dict = dataclasses.field(default_factory=dict)
    problems: dict = dataclasses.field(default_factory=dict)

    def add(self, engine, seconds, memory=0.0, error=""):
        if error:
            self.problems.setdefault(engine, error)
            return
        self.seconds.setdefault(engine, []).append(seconds)
        if memory:
            self.memory.setdefault(engine, []).append(memory)

    def median(self, engine):
        return statistics.median(self.seconds[engine]) if self.seconds.get(engine) else None

    def speed(self):
        """The median over the rounds of QEMU's time divided by Rhea's, or None."""
        pairs = list(zip(self.seconds.get("rhea", []), self.seconds.get("qemu", [])))
        if not pairs or self.problems:
            return None
        return statistics.median(other / own if own else 1.0 for own, other in pairs)

    def slow(self):
        speed = self.speed()
        return speed is not None and speed < self.needed


def table(rows):
    """A line a case: times in ms, Rhea's speed as a multiple of QEMU's, MiB resident at most."""
    lines = [["case", "Rhea ms", "QEMU ms", "speed", "wanted", "", "Rhea MiB", "QEMU MiB"]]
    group = None
    for row in rows:
        if row.group != group:
            group = row.group
            lines.append([f"[{group}]"] + [""] * 7)
        def time(engine, row=row):
            if engine in row.problems:
                return row.problems[engine].partition(":")[0][:12]
            median = row.median(engine)
            return report.number(median * 1000 if median is not None else None, 1)
        def most(engine, row=row):
            return report.number(max(row.memory[engine]) if row.memory.get(engine) else None, 1)
        lines.append([row.name, time("rhea"), time("qemu"), report.number(row.speed()), report.number(row.needed, 1),
                      "slow" if row.slow() else "", most("rhea"), most("qemu")])
    problems = [f"{row.name}, {report.TITLES[engine]}: {problem}" for row in rows for engine, problem in row.problems.items()]
    return report.aligned(lines) + ("\n\n" + "\n".join(problems) if problems else "")
