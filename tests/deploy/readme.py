"""Writes the table of values in the chart's README from the comments of values.yaml."""

import json
import re

import yaml

from support import CHART

README = CHART / "README.md"
VALUES = CHART / "values.yaml"
BEGIN, END = "<!-- values:begin -->", "<!-- values:end -->"


def described():
    """Each key that has a `# --` above it, by its path, with those words."""
    path, words = [], None
    for line in VALUES.read_text().splitlines():
        comment = re.match(r" *# (?:-- )?(.*)", line)
        if comment:
            if "# -- " in line:
                words = [comment[1]]
            elif words is not None:
                words.append(comment[1])
            continue
        key = re.match(r"( *)([\w-]+):", line)
        if key:
            path = path[: len(key[1]) // 2] + [key[2]]
            if words:
                yield path, " ".join(words)
        words = None


def default(path):
    value = yaml.safe_load(VALUES.read_text())
    for key in path:
        value = value[key]
    return json.dumps(value)


def written():
    """The README as it should be."""
    before, rest = README.read_text().split(BEGIN)
    rows = [f"| `{'.'.join(path)}` | `{default(path)}` | {words} |" for path, words in described()]
    return "\n".join([before + BEGIN, "| value | default | meaning |", "|---|---|---|", *rows, END]) + rest.split(END)[1]


if __name__ == "__main__":
    README.write_text(written())
