"""Sums a report in LCOV's form up for some folders, without the tests that stand in them."""

import os
import sys


def read(report):
    """Each file's lines, and how often each was run. Of generic code, LLVM has summed the instances."""
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


def is_for_tests(name):
    return "/tests/" in name or name.endswith(("tests.rs", "testing.rs"))


def lines_for_tests(name):
    """What stands under `#[cfg(test)]`: to the end of the item, which rustfmt indents as its beginning."""
    lines, indent = set(), None
    with open(name, encoding="utf-8") as text:
        for number, line in enumerate(text, 1):
            code = line.strip()
            if indent is None and code == "#[cfg(test)]":
                indent = len(line) - len(line.lstrip())
            if indent is not None:
                lines.add(number)
                ends = code.endswith(("}", ";")) and len(line) - len(line.lstrip()) == indent
                indent = None if ends else indent
    return lines


def row(part, count, run):
    return f"{part:<16}{count:>6}{run:>6}{100 * run / max(count, 1):>6.1f}"


def main(report, limit, *parts):
    sums = {part: [0, 0] for part in parts}
    for name, lines in sorted(read(report).items()):
        part = next((part for part in parts if name.startswith(part)), None)
        if part is None or is_for_tests(name):
            continue
        skipped = lines_for_tests(name)
        lines = {line: count for line, count in lines.items() if line not in skipped}
        missed = [line for line, count in sorted(lines.items()) if not count]
        sums[part][0] += len(lines)
        sums[part][1] += len(lines) - len(missed)
        if missed:
            print(f"{name}: {len(missed)} of {len(lines)} not run:", *missed)
    below = [part for part, (count, run) in sums.items() if 100 * run < float(limit) * max(count, 1)]
    if below:
        print(f"below {limit} %: {', '.join(below)}", file=sys.stderr)
    print(f"\n{'folder':<16}{'lines':>6}{'run':>6}{'%':>6}")
    for part, (count, run) in sums.items():
        print(row(part, count, run))
    print(row("all", *(sum(column) for column in zip(*sums.values()))))
    sys.exit(bool(below))


main(*sys.argv[1:])
