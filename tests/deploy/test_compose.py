"""What compose.yaml and the files beside it say. No container engine is asked."""

import os
import re
import stat
import tempfile
import tomllib
import unittest
from pathlib import Path

import yaml

from support import ROOT, run

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


class Compose(unittest.TestCase):
    def test_compose_itself_reads_it(self):
        result = run("compose-spec", ROOT / "compose.yaml")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_what_is_mounted_exists(self):
        for name, service in SERVICES.items():
            for volume in service.get("volumes", []):
                source = volume.split(":")[0]
                if source.startswith("."):
                    self.assertTrue((ROOT / source).exists(), f"{name}: {source}")
                    self.assertTrue(volume.endswith(":ro"), f"{name}: {source}")
                else:
                    self.assertIn(source, COMPOSE["volumes"])

    def test_versions_are_those_of_the_binary(self):
        version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
        chart = yaml.safe_load((ROOT / "helm/quittance/Chart.yaml").read_text())
        self.assertEqual(chart["appVersion"], version)
        self.assertEqual(SERVICES["quittance"]["image"], f"quittance:{version}")
        self.assertIn(f"quittance:{version}", (ROOT / "deploy/secrets.sh").read_text())

    def test_nothing_listens_on_other_machines(self):
        ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
        self.assertTrue(all(port.startswith("127.0.0.1:") for port in ports), ports)

    def test_images_have_versions(self):
        for service in SERVICES.values():
            self.assertRegex(service["image"], r":v?[0-9]")

    def test_the_service_can_do_nothing_that_it_need_not(self):
        for name in ("quittance", "migration"):
            service = SERVICES[name]
            self.assertTrue(service["read_only"])
            self.assertEqual((service["cap_drop"], service["security_opt"]), (["ALL"], ["no-new-privileges:true"]))
            self.assertEqual(service["user"], re.search(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)[1])

    def test_secrets_are_files_that_exist_or_are_made(self):
        used = {secret for service in SERVICES.values() for secret in service.get("secrets", [])}
        self.assertEqual(used, set(COMPOSE["secrets"]))
        for service in SERVICES.values():
            for variable, value in service.get("environment", {}).items():
                if re.search("PASSWORD|KEY|URL", variable):
                    self.assertIn(Path(value).name, used, variable)
                    self.assertTrue(variable.endswith("_FILE"), variable)
        config = tomllib.loads((ROOT / "deploy/quittance.toml").read_text())
        files = re.findall(r"/run/secrets/([\w-]+)", str(config))
        self.assertLessEqual(set(files), set(SERVICES["quittance"]["secrets"]))

    def test_the_script_makes_all_secrets_but_keys_of_signers(self):
        with tempfile.TemporaryDirectory() as directory:
            script = Path(directory) / "secrets.sh"
            script.write_text((ROOT / "deploy/secrets.sh").read_text())
            maker = Path(directory) / "quittance"
            maker.write_text('#!/bin/sh\necho "{}" >"$4"\n')
            maker.chmod(0o755)
            result = run("bash", script, env={**os.environ, "QUITTANCE_BIN": str(maker)})
            self.assertEqual(result.returncode, 0, result.stderr)
            made = {path.name: path for path in (Path(directory) / "secrets").iterdir()}
            wanted = {Path(secret["file"]).name for name, secret in COMPOSE["secrets"].items() if name != "base-1"}
            self.assertEqual(set(made), wanted)
            self.assertEqual(stat.S_IMODE((Path(directory) / "secrets").stat().st_mode), 0o700)
            before = {name: path.read_text() for name, path in made.items()}
            self.assertTrue(before["database-url"].startswith(f"postgres://quittance:{before['database-password']}@postgres/"))
            run("bash", script, env={**os.environ, "QUITTANCE_BIN": str(maker)})
            self.assertEqual({name: path.read_text() for name, path in made.items()}, before)

    def test_prometheus_reads_its_configuration_with_the_rules(self):
        with tempfile.TemporaryDirectory() as directory:
            (Path(directory) / "prometheus.yaml").write_text((ROOT / "deploy/prometheus.yaml").read_text())
            (Path(directory) / "alerts").symlink_to(ROOT / "helm/quittance/alerts")
            result = run("promtool", "check", "config", Path(directory) / "prometheus.yaml")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertIn("5 rule files found", result.stdout)

    def test_the_image_gets_what_the_build_needs_and_no_more(self):
        kept = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
        for path in kept:
            self.assertTrue((ROOT / path).exists(), path)
        sources = [path for path in ROOT.glob("src/**/*.rs") if path.stem != "tests" and "tests" not in path.parts]
        text = " ".join(path.read_text().split("#[cfg(test)]")[0] for path in sources)
        for path in re.findall(r'include_(?:str|bytes)!\("[./]+/(\S+?)"\)', text):
            self.assertTrue(any(path.startswith(part) for part in kept), path)
        rust = re.search(r'^rust-version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
        self.assertIn(f"FROM rust:{rust}-", DOCKERFILE)


if __name__ == "__main__":
    unittest.main()
