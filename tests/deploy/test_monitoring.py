"""Alerts, runbook, tests of alerts, dashboards and documented metrics: that each of them knows the others."""

import json
import re
import unittest

import yaml

from support import DASHBOARDS, ROOT, alerts, check_rules, documented, read_with_their_types, rules

RUNBOOK = ROOT / "docs/RUNBOOK.md"
TESTS = sorted((ROOT / "tests/deploy/alerts").glob("*.yaml"))

# Programs that wait until a real Prometheus says that alerts fire, by the part of docs/RELIABILITY.md that they write.
FIRING = {"night": ["dev/night.mjs"], "alarms": ["dev/alarms/acts.mjs"]}

# Alerts whose reason cannot be made in a short time on one machine, each with why.
NOT_MADE_TO_FIRE = {}

# What every client library of Prometheus has for a process on Linux.
PROCESS = {f"process_{name}" for name in
           ("cpu_seconds_total", "max_fds", "open_fds", "resident_memory_bytes", "start_time_seconds", "threads", "virtual_memory_bytes")}

# Labels that Prometheus adds, or that stand for the buckets of a histogram.
ADDED = {"namespace", "job", "instance", "le"}


def headings(path):
    return re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)


def anchor(heading):
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def variables(text):
    return re.sub(r"\$(\w+)", lambda name: "5m" if name[1].startswith("__") else ".*", text)


def queries():
    """Every query of the dashboards, with variables filled in, by where it stands."""
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text())
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", variables(target["expr"])
        for annotation in dashboard["annotations"]["list"]:
            yield f"{path.stem}: {annotation['name']}", variables(annotation["expr"])


def expressions():
    yield from ((rule.get("alert") or rule["record"], rule["expr"]) for _, rule in rules())
    yield from queries()


class Alerts(unittest.TestCase):
    def test_each_can_be_acted_upon(self):
        for name, rule in alerts().items():
            with self.subTest(alert=name):
                self.assertTrue(name.startswith("Quittance"))
                self.assertIn(rule["labels"]["severity"], ("critical", "warning"))
                self.assertEqual(set(rule["annotations"]), {"summary", "description", "runbook_url"})
                self.assertEqual(rule["annotations"]["runbook_url"], f"docs/RUNBOOK.md#{name.lower()}")

    def test_each_has_a_section_in_the_runbook_and_none_is_left_over(self):
        sections = [heading for heading in headings(RUNBOOK) if heading.startswith("Quittance")]
        self.assertCountEqual(sections, alerts())
        for part in re.split(r"^## ", RUNBOOK.read_text(), flags=re.MULTILINE)[1:]:
            if part.startswith("Quittance"):
                self.assertRegex(part, r"(?s)\*\*Means\.\*\*.*\*\*Look.*(\*\*Do\.\*\*|and do\.\*\*)", part.splitlines()[0])

    def test_each_is_shown_firing_and_not_firing(self):
        shown = {}
        for path in TESTS:
            for test in yaml.safe_load(path.read_text())["tests"]:
                for case in test["promql_expr_test"]:
                    name = re.search('alertname="(\\w+)"', case["expr"])[1]
                    self.assertEqual(name, test["name"])
                    shown.setdefault(name, set()).add(bool(case["exp_samples"]))
        self.assertEqual(shown, {name: {False, True} for name in alerts()})

    def test_each_has_fired_for_its_reason(self):
        """On real metrics: a program waits for it, and has written that it came and went."""
        demanded, seen = set(), set()
        page = (ROOT / "docs/RELIABILITY.md").read_text()
        for part, files in FIRING.items():
            text = " ".join((ROOT / file).read_text() for file in files)
            demanded |= {f"Quittance{name}" for name in re.findall(r"'(?:Quittance)?([A-Z]\w+)'", text)} & set(alerts())
            table = re.search(rf"<!-- {part}:begin -->(.*)<!-- {part}:end -->", page, re.DOTALL)[1]
            self.assertNotIn("never", table)
            seen |= set(re.findall(r"Quittance\w+", table))
        self.assertEqual(set(alerts()), demanded | set(NOT_MADE_TO_FIRE))
        self.assertEqual(demanded - seen, set())

    def test_lines_that_the_runbook_looks_for_are_written(self):
        written = " ".join(path.read_text() for path in ROOT.glob("src/**/*.rs"))
        for words in re.findall(r"grep (?:-E )?'([^']*)'", RUNBOOK.read_text()):
            for line in words.split("|"):
                if " " in line:
                    self.assertIn(line.strip('"'), written)

    def test_links_of_the_runbook_lead_somewhere(self):
        for file, target in re.findall(r"\]\(([\w.]*)#([\w-]+)\)", RUNBOOK.read_text()):
            self.assertIn(target, map(anchor, headings(ROOT / "docs" / file if file else RUNBOOK)))

    def test_the_table_of_operations_names_those_that_exist(self):
        named = set(re.findall(r"RUNBOOK\.md#(quittance\w+)", (ROOT / "docs/OPERATIONS.md").read_text()))
        self.assertEqual(named, {name.lower() for name in alerts()})


class Dashboards(unittest.TestCase):
    def test_prometheus_reads_every_query(self):
        result = check_rules([text for _, text in queries()])
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_grafana_knows_every_field(self):
        result = read_with_their_types(DASHBOARDS)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_they_are_whole(self):
        uids = set()
        for path in DASHBOARDS:
            with self.subTest(dashboard=path.stem):
                dashboard = json.loads(path.read_text())
                uids.add(dashboard["uid"])
                known = {variable["name"] for variable in dashboard["templating"]["list"]}
                used = {name for name in re.findall(r"\$\{?(\w+)", json.dumps(dashboard["panels"])) if not name.startswith("__")}
                self.assertLessEqual(used, known)
                places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
                self.assertEqual(len(set(places)), len(places))
                self.assertEqual(len({panel["id"] for panel in dashboard["panels"]}), len(places))
                for panel in panels(dashboard):
                    self.assertEqual(panel["datasource"]["uid"], "${datasource}")
                    self.assertTrue(panel["title"] and panel["targets"] and panel["fieldConfig"]["defaults"]["unit"], panel["title"])
        self.assertEqual(len(uids), len(DASHBOARDS))

    def test_the_runbook_names_dashboards_that_exist(self):
        titles = {json.loads(path.read_text())["title"].removeprefix("Quittance / ") for path in DASHBOARDS}
        self.assertLessEqual(set(re.findall(r"dashboards? \*([^*]+)\*", RUNBOOK.read_text())), titles)


class Metrics(unittest.TestCase):
    def test_every_metric_that_is_asked_for_is_documented(self):
        recorded = {rule["record"] for _, rule in rules() if "record" in rule}
        known = set(documented()) | PROCESS | recorded
        known |= {name + part for name, (kind, _) in documented().items() if kind == "histogram" for part in ("_bucket", "_sum", "_count")}
        for place, text in expressions():
            for name in re.findall(r"\b(?:quittance|process)[_:]\w+", text):
                self.assertIn(name, known, place)

    def test_every_label_that_is_asked_for_exists_with_this_value(self):
        values = (ROOT / "docs/METRICS.md").read_text()
        reasons = (ROOT / "docs/ERRORS.md").read_text()
        for place, text in expressions():
            for name, matchers in re.findall(r"\b(quittance_\w+)\{([^}]*)\}", text):
                name = name if name in documented() else re.sub("_(bucket|sum|count)$", "", name)
                for label, operator, value in re.findall(r'(\w+)(=~|!=|!~|=)"([^"]*)"', matchers):
                    self.assertIn(label, {*documented()[name][1], *ADDED}, place)
                    if operator in ("=", "!=") and label not in ADDED:
                        self.assertIn(f"`{value}`", reasons if label == "reason" else values, place)

    def test_every_metric_has_a_panel(self):
        shown = " ".join(text for _, text in queries())
        self.assertEqual([name for name in documented() if not re.search(rf"\b{name}(_bucket|_sum|_count)?\b", shown)], [])


if __name__ == "__main__":
    unittest.main()
