"""What the checks of the deployment share: where things are, the rendered chart, the rules and the documented metrics."""

import functools
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm/quittance"
ALERTS = sorted((CHART / "alerts").glob("*.yaml"))
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))
VALUES = {path.stem.removeprefix("values-"): path for path in sorted(CHART.glob("values-*.yaml"))}


# The oldest Kubernetes that the chart is for, and the newest that there are schemas of.
KUBERNETES = ("1.30.0", "1.37.0")

# Where its schemas are: beside the Python that this runs in.
SCHEMAS = Path(sys.prefix) / "schemas"


def run(*command, **options):
    """Runs a program and returns how it went."""
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)


def template(*options):
    """Renders the chart as `helm install payments` would."""
    return run("helm", "template", "payments", CHART, "--namespace", "payments", "--kube-version", KUBERNETES[0], *options)


@functools.cache
def rendered(name):
    """The text that one of the value files renders to."""
    result = template("--values", VALUES[name])
    if result.returncode:
        raise AssertionError(f"values-{name}.yaml: {result.stderr}")
    return result.stdout


@functools.cache
def objects(name):
    """The objects in it."""
    return [document for document in yaml.safe_load_all(rendered(name)) if document]


def read_with_their_types(files):
    """What the types of those who read such files say about them."""
    return run("go", "run", ".", *files, cwd=ROOT / "tests/deploy/types")


def of_kind(name, kind):
    return [found for found in objects(name) if found["kind"] == kind]


def pods(name):
    """Every specification of a pod, with the object that it stands in."""
    for found in objects(name):
        if found["kind"] == "Pod":
            yield found, found
        elif found["kind"] in ("Deployment", "Job"):
            yield found, found["spec"]["template"]


def rules():
    """Every rule of the alert files, with the name of its file."""
    for path in ALERTS:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield path.stem, rule


def alerts():
    return {rule["alert"]: rule for _, rule in rules() if "alert" in rule}


@functools.cache
def documented():
    """The metrics of docs/METRICS.md: name to type and labels."""
    rows = re.findall(r"^\| `(quittance_\w+)` \| (\w+) \| (.*?) \|", (ROOT / "docs/METRICS.md").read_text(), re.MULTILINE)
    return {name: (kind, re.findall(r"`(\w+)`", labels)) for name, kind, labels in rows}


def check_rules(expressions):
    """What promtool says about expressions, which it reads as recording rules."""
    recording = [{"record": f"query:{number}", "expr": text} for number, text in enumerate(expressions)]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({"groups": [{"name": "queries", "rules": recording}]}, file)
        file.flush()
        return run("promtool", "check", "rules", file.name)
