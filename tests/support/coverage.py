"""Sums a report in LCOV's form up for some folders, without the tests that stand in them."""

import os
import sys


def read(report):
    """Each file's lines, and how often each was run."""
    files, lines = {}, {}
    with open(report, encoding="utf-8") as text:
        for record in text:
            kind, _, rest = record.strip().partition(":")
            if kind == "SF":
                lines = files.setdefault(os.path.relpath(rest), {})
            elif kind == "DA":
                line, count = rest.split(",")[:2]
                lines[int(line)] = lines.get(int(line), 0) + int(count)
    return files


def end_of_code(name):
    """The line where a file's own tests begin."""
    before = ""
    with open(name, encoding="utf-8") as text:
        for number, line in enumerate(text, 1):
            if before == "#[cfg(test)]\n" and line.startswith("mod ") and line.endswith("{\n"):
                return number
            before = line
    return sys.maxsize


def main(report, limit, *parts):
    sums = {part: [0, 0] for part in parts}
    for name, lines in sorted(read(report).items()):
        part = next((part for part in parts if name.startswith(part)), None)
        if part is None or "/tests/" in name or name.endswith(("tests.rs", "testing.rs")):
            continue
        end = end_of_code(name)
        lines = {line: count for line, count in lines.items() if line < end}
        missed = [line for line, count in sorted(lines.items()) if not count]
        sums[part][0] += len(lines) - len(missed)
        sums[part][1] += len(lines)
        if missed:
            print(f"{name}: {len(missed)} of {len(lines)} not run:", *missed)
    below = []
    for part, (run, count) in sums.items():
        print(f"{part}: {run} of {count} lines, {100 * run / count:.1f} %")
        if 100 * run < float(limit) * count:
            below.append(part)
    run, count = (sum(column) for column in zip(*sums.values()))
    print(f"{100 * run / count:.1f} % of {count} lines")
    if below:
        sys.exit(f"below {limit} %: {', '.join(below)}")


main(*sys.argv[1:])
