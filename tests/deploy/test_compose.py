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
SECRETS = "deploy/secrets/quittance"
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
                    self.assertTrue((ROOT / source).exists() or source == f"./{SECRETS}", f"{name}: {source}")
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
        made = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()} | {path.name for path in self.made_by_script().values()}
        for service in SERVICES.values():
            for variable, value in service.get("environment", {}).items():
                if re.search("PASSWORD|KEY|URL", variable):
                    self.assertIn(Path(value).name, made, variable)
                    self.assertTrue(variable.endswith("_FILE"), variable)

    def test_the_service_sees_files_that_take_the_place_of_others(self):
        """A file that is mounted by itself keeps its old text when another one is renamed to its name, which is what reloading is for."""
        for name in ("quittance", "migration"):
            mounted = dict(volume.split(":")[:2] for volume in SERVICES[name]["volumes"])
            self.assertEqual(mounted, {"./deploy/config": "/etc/quittance", f"./{SECRETS}": "/run/secrets/quittance"})
            self.assertNotIn("secrets", SERVICES[name])
            self.assertTrue((ROOT / "deploy/config" / Path(SERVICES[name]["command"][-1]).name).exists() if "command" in SERVICES[name] else True)
        config = (ROOT / "deploy/config/quittance.toml").read_text()
        files = set(re.findall(r'"(/run/secrets/[^"]+)"', config)) | {value for value in SERVICES["quittance"]["environment"].values() if value.startswith("/run")}
        self.assertEqual({str(Path(file).parent) for file in files}, {"/run/secrets/quittance"})
        self.assertEqual({Path(file).name for file in files} - {"base-1"}, {path.name for path in self.made_by_script().values() if path.parent.name == "quittance"})

    def made_by_script(self, *arguments):
        """The files that deploy/secrets.sh makes, by their paths, with a stand-in for the binary that makes keys."""
        directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (directory / "secrets.sh").write_text((ROOT / "deploy/secrets.sh").read_text())
        maker = directory / "quittance"
        maker.write_text('#!/bin/sh\necho "{}" >"$4"\n')
        maker.chmod(0o755)
        for _ in range(2):
            result = run("bash", directory / "secrets.sh", *arguments, env={**os.environ, "QUITTANCE_BIN": str(maker)})
            self.assertEqual(result.returncode, 0, result.stderr)
            found = {str(path.relative_to(directory / "secrets")): path for path in (directory / "secrets").rglob("*") if path.is_file()}
            texts = {name: path.read_text() for name, path in found.items()}
            self.assertEqual(texts, getattr(self, "before", texts), "what is there stays as it is")
            self.before = texts
        del self.before
        return found

    def test_the_script_makes_all_secrets_but_keys_of_signers(self):
        made = self.made_by_script()
        self.assertEqual(set(made), {"database-password", "grafana-password", "quittance/database-url", "quittance/receipt-keys.json"})
        modes = {name: stat.S_IMODE(path.stat().st_mode) for name, path in made.items()}
        self.assertEqual(set(modes.values()), {0o444}, "containers run as other users")
        closed, seen = made["database-password"].parent, made["quittance/database-url"].parent
        self.assertEqual((stat.S_IMODE(closed.stat().st_mode), stat.S_IMODE(seen.stat().st_mode)), (0o700, 0o755))
        url, password = made["quittance/database-url"].read_text(), made["database-password"].read_text()
        self.assertTrue(url.startswith(f"postgres://quittance:{password}@postgres/"))

    def test_everything_but_the_database_has_a_file_system_that_nobody_writes(self):
        self.assertEqual({name for name, service in SERVICES.items() if not service.get("read_only")}, {"postgres"})

    def test_what_the_service_listens_at_is_published(self):
        listeners = {value.rsplit(":", 1)[1] for name, value in SERVICES["quittance"]["environment"].items() if name.endswith("LISTEN")}
        self.assertEqual({port.rsplit(":", 1)[1] for port in SERVICES["quittance"]["ports"]}, listeners)
        self.assertEqual(set(re.search(r"^EXPOSE (.*)$", DOCKERFILE, re.MULTILINE)[1].split()), listeners)

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
