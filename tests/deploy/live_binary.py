"""What the chart, compose.yaml and the runbook give to the binary and to the database, given to them: QUITTANCE_BIN python -m unittest."""

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import tomllib
import unittest
import urllib.error
import urllib.request
from pathlib import Path

import yaml

from support import ROOT, VALUES, of_kind, run

QUITTANCE = os.environ["QUITTANCE_BIN"]

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
COMPOSE_CONFIG = ROOT / "deploy/config/quittance.toml"

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

# The keys of RFC 8032's first test, as a wallet exports them: a key of Solana must fit its public half.
SOLANA_KEY = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
                           "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def base58(data):
    number, text = int.from_bytes(data), ""
    while number:
        number, digit = divmod(number, 58)
        text = ALPHABET[digit] + text
    return text


def status(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


class Binary(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.server = Path(tempfile.mkdtemp(prefix="pg"))
        started = run(ROOT / "scripts/postgres.sh", "start", cls.server)
        assert started.returncode == 0, started.stderr
        cls.url = started.stdout.strip()
        cls.secrets = Path(cls.directory.name)
        ring = cls.secrets / "receipt-keys"
        assert run(QUITTANCE, "keys", "generate", "--out", ring).returncode == 0
        shutil.copy(ring, cls.secrets / "receipt-keys.json")
        files = {"database-url": cls.url, "base-1": "11" * 32, "base-2": "22" * 32, "solana-1": base58(SOLANA_KEY),
                 "base-nodes": "https://one.example\nhttps://two.example", "solana-nodes": "https://one.example\nhttps://two.example"}
        for name, text in files.items():
            (cls.secrets / name).write_text(text)

    @classmethod
    def tearDownClass(cls):
        run(ROOT / "scripts/postgres.sh", "stop", cls.server)
        shutil.rmtree(cls.server)
        cls.directory.cleanup()

    def here(self, text):
        """The same text with the paths of this machine."""
        text = re.sub(r"/run/secrets/(quittance/)?", f"{self.secrets}/", text)
        return text.replace("/etc/quittance/quittance.toml", str(self.secrets / "quittance.toml"))

    @contextlib.contextmanager
    def with_files_of(self, spec):
        """Only the secrets that a pod has, and the configuration."""
        volume = next(volume for volume in spec["volumes"] if volume["name"] == "secrets")
        mounted = {item["path"] for source in volume["projected"]["sources"] for item in source["secret"]["items"]}
        everything = self.secrets
        with tempfile.TemporaryDirectory() as directory:
            self.secrets = Path(directory)
            for name in mounted:
                shutil.copy(everything / name, self.secrets)
            try:
                yield
            finally:
                self.secrets = everything

    @staticmethod
    def config_of(name):
        return next(found["data"]["quittance.toml"] for found in of_kind(name, "ConfigMap") if "quittance.toml" in found["data"])

    def runs(self, args, environment, config):
        (self.secrets / "quittance.toml").write_text(self.here(config))
        environment = {name: self.here(value) for name, value in environment.items()}
        return run(QUITTANCE, *map(self.here, args), env=environment)

    def test_the_migration_of_each_values_file_succeeds(self):
        for name in VALUES:
            with self.subTest(values=name):
                spec = of_kind(name, "Job")[0]["spec"]["template"]["spec"]
                container = spec["containers"][0]
                environment = {variable["name"]: variable["value"] for variable in container["env"]}
                with self.with_files_of(spec):
                    result = self.runs(container["args"], environment, self.config_of(name))
                self.assertEqual(result.returncode, 0, result.stderr)

    def test_the_migration_of_compose_succeeds(self):
        service = COMPOSE["migration"]
        result = self.runs(service["command"], service["environment"], COMPOSE_CONFIG.read_text())
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_every_deployment_starts_answers_its_probes_and_ends(self):
        """With its own roles and the real database; its nodes do not exist, so it is alive and not ready."""
        self.test_the_migration_of_each_values_file_succeeds()
        for name in VALUES:
            for deployment in of_kind(name, "Deployment"):
                with self.subTest(values=name, deployment=deployment["metadata"]["name"]):
                    spec = deployment["spec"]["template"]["spec"]
                    with self.with_files_of(spec):
                        self.lives(spec["containers"][0], self.config_of(name))

    def test_what_helm_test_runs_finds_only_the_nodes_away(self):
        """With the secrets of each deployment. The nodes do not exist, so networks and signers are not found, and all else is right."""
        self.test_the_migration_of_each_values_file_succeeds()
        for name in VALUES:
            checks = [pod for pod in of_kind(name, "Pod") if pod["spec"]["containers"][0]["name"] == "check"]
            self.assertEqual(len(checks), len(of_kind(name, "Deployment")))
            for pod in checks:
                with self.subTest(values=name, pod=pod["metadata"]["name"]):
                    container = pod["spec"]["containers"][0]
                    environment = {variable["name"]: variable["value"] for variable in container["env"]}
                    with self.with_files_of(pod["spec"]):
                        result = self.runs([*container["args"], "--json"], environment, self.config_of(name))
                    self.assertEqual(result.stderr, "")
                    findings = json.loads(result.stdout)["findings"]
                    wrong = {finding["subject"].split()[0] for finding in findings if not finding["ok"]}
                    self.assertEqual(wrong, {network["id"] for network in tomllib.loads(self.config_of(name))["networks"]})
                    self.assertLessEqual({"database", "receipts"}, {finding["subject"] for finding in findings if finding["ok"]})

    def started(self, args, environment):
        """The process, and by name where it listens: Facilitator, gRPC and Operations."""
        process = subprocess.Popen([QUITTANCE, *map(self.here, args)], env=environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        lines, listeners = [], {}
        for line in process.stderr:
            lines.append(line)
            if name := re.search('"message":"(\\w+) listening"', line):
                listeners[name[1]] = json.loads(line)["listen"]
            if "Operations" in listeners:
                return process, listeners
        process.communicate(timeout=60)
        self.fail("".join(lines))

    def lives(self, container, config):
        (self.secrets / "quittance.toml").write_text(self.here(config))
        environment = {variable["name"]: self.here(variable["value"]) for variable in container["env"]}
        environment |= {"QUITTANCE_SERVER__LISTEN": "127.0.0.1:0", "QUITTANCE_SERVER__OPERATIONS_LISTEN": "127.0.0.1:0"}
        if environment["QUITTANCE_SERVER__GRPC_LISTEN"] != "none":
            environment["QUITTANCE_SERVER__GRPC_LISTEN"] = "127.0.0.1:0"
        process, listeners = self.started(container["args"], environment)
        try:
            wanted = {"Operations"} | {{"api": "Facilitator", "grpc": "gRPC"}.get(port["name"], "Operations") for port in container["ports"]}
            self.assertEqual(set(listeners), wanted, "who is let in by a port finds somebody there")
            address = listeners["Operations"]
            answers = {probe: status(f"http://{address}{container[probe]['httpGet']['path']}") for probe in container if probe.endswith("Probe")}
            self.assertEqual(answers, {"startupProbe": 200, "livenessProbe": 200, "readinessProbe": 503})
        finally:
            process.terminate()
            process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0)

    def test_the_service_of_compose_is_healthy_and_reads_what_was_rotated(self):
        """As in the container, with the directories that it sees: keys are rotated by the script while the service runs."""
        self.test_the_migration_of_compose_succeeds()
        service = COMPOSE["quittance"]
        with tempfile.TemporaryDirectory() as directory:
            script = Path(directory) / "secrets.sh"
            script.write_text((ROOT / "deploy/secrets.sh").read_text())
            made = run("bash", script, env={**os.environ, "QUITTANCE_BIN": QUITTANCE})
            self.assertEqual(made.returncode, 0, made.stderr)
            secrets, everything = Path(directory) / "secrets/quittance", self.secrets
            for name in ("base-1", "database-url"):
                (secrets / name).unlink(missing_ok=True)
                shutil.copy(everything / name, secrets)
            self.secrets = secrets
            try:
                environment = {name: self.here(value) for name, value in service["environment"].items()}
                environment |= {name: "127.0.0.1:0" for name in environment if name.endswith("LISTEN")}
                (secrets / "quittance.toml").write_text(self.here(COMPOSE_CONFIG.read_text()))
                process, listeners = self.started(["serve", "--config", "/etc/quittance/quittance.toml"], environment)
                address = listeners["Operations"]
                try:
                    self.assertEqual(set(listeners), {"Facilitator", "gRPC", "Operations"})
                    self.assertEqual(service["healthcheck"]["test"][:3], ["CMD", "bash", "-c"])
                    healthy = service["healthcheck"]["test"][3].replace("127.0.0.1/9464", address.replace(":", "/"))
                    self.assertEqual(run("bash", "-c", healthy, timeout=10).returncode, 0)
                    self.assertNotEqual(run("bash", "-c", healthy.replace("/livez", "/nothing"), timeout=10).returncode, 0)
                    rotated = run("bash", script, "rotate", "3600", env={**os.environ, "QUITTANCE_BIN": QUITTANCE})
                    self.assertEqual(rotated.returncode, 0, rotated.stderr)
                    self.assertEqual(stat.S_IMODE((secrets / "receipt-keys.json").stat().st_mode), 0o444)
                    self.assertEqual(run(QUITTANCE, "keys", "list", "--file", secrets / "receipt-keys.json").stdout.count("\n"), 4)
                    process.send_signal(signal.SIGHUP)
                    told = next(line for line in process.stderr if "the configuration was read again" in line)
                    self.assertIn("receipts", json.loads(told)["changes"], told)
                finally:
                    process.terminate()
                    process.communicate(timeout=60)
                self.assertNotEqual(run("bash", "-c", healthy, timeout=10).returncode, 0)
            finally:
                self.secrets = everything

    def test_every_query_of_the_runbook_runs(self):
        self.test_the_migration_of_compose_succeeds()
        text = (ROOT / "docs/RUNBOOK.md").read_text()
        queries = re.findall(r"```sql\n(.*?)```", text, re.DOTALL) + re.findall(r"`(SELECT [^`]*)`", text)
        self.assertGreater(len(queries), 10)
        psql = run("bash", "-c", "source scripts/env.sh; postgres_bin", cwd=ROOT).stdout.strip() + "/psql"
        for query in queries:
            if "pg_cancel_backend" in query:
                continue
            result = run(psql, self.url, "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--command", query)
            self.assertEqual(result.returncode, 0, query + result.stderr)


if __name__ == "__main__":
    unittest.main()
