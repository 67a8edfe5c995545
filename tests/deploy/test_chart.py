"""What the chart renders, for each of its value files, and what it refuses to render."""

import re
import tempfile
import tomllib
import unittest
from pathlib import Path

import yaml

from support import ALERTS, CHART, DASHBOARDS, KUBERNETES, ROOT, SCHEMAS, VALUES, alerts, objects, of_kind, pods, read_with_their_types, rendered, run, template

# Kinds that come with the Prometheus operator; its own types judge them.
OF_OPERATOR = ("ServiceMonitor", "PrometheusRule")

ALWAYS = {"ConfigMap", "Deployment", "Job", "Pod", "Service", "ServiceAccount"}
OPTIONAL = {"HorizontalPodAutoscaler", "Ingress", "NetworkPolicy", "PodDisruptionBudget", *OF_OPERATOR}
ROLES = {"api", "lane", "watcher", "worker"}


class OfEach:
    """What holds for each of the value files."""

    def test_helm_finds_nothing_to_complain_about(self):
        result = run("helm", "lint", "--strict", "--kube-version", KUBERNETES[0], CHART, "--values", VALUES[self.values])
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_kubernetes_knows_every_field(self):
        location = f"{SCHEMAS}/{{{{.NormalizedKubernetesVersion}}}}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
        for version in KUBERNETES:
            result = run("kubeconform", "-strict", "-summary", "-kubernetes-version", version, "-schema-location", location,
                         "-skip", ",".join(OF_OPERATOR), "-", input=rendered(self.values))
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            self.assertRegex(result.stdout, "Invalid: 0, Errors: 0")

    def test_no_secret_is_in_it(self):
        self.assertEqual(of_kind(self.values, "Secret"), [])
        self.assertNotRegex(VALUES[self.values].read_text(), r"[0-9a-fA-F]{64}(?<!0{64})|://[^/\s]+:[^/\s]+@")
        for _, pod in pods(self.values):
            for container in pod["spec"]["containers"]:
                for variable in container.get("env", []):
                    self.assertRegex(variable["name"], "__(LISTEN|OPERATIONS_LISTEN|GRPC_LISTEN|PUBLIC_URL|SHUTDOWN_WITHIN_SECONDS|[A-Z]+_FILE)$")

    def test_pods_can_do_nothing_that_they_need_not(self):
        for owner, pod in pods(self.values):
            spec = pod["spec"]
            with self.subTest(pod=owner["metadata"]["name"]):
                self.assertIs(spec["automountServiceAccountToken"], False)
                self.assertIs(spec["securityContext"]["runAsNonRoot"], True)
                self.assertGreater(spec["securityContext"]["runAsUser"], 0)
                self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                for container in spec["containers"]:
                    self.assertEqual(container["securityContext"], {
                        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}})
                    self.assertNotRegex(container["image"], "(:latest|/[^:@]+)$")

    def test_every_role_is_played_and_looked_after(self):
        played = set()
        for deployment in of_kind(self.values, "Deployment"):
            spec = deployment["spec"]["template"]["spec"]
            container = spec["containers"][0]
            played |= set(container["args"][-1].removeprefix("--roles=").split(","))
            probes = {key: value["httpGet"] for key, value in container.items() if key.endswith("Probe")}
            livez, readyz = ({"path": path, "port": "operations"} for path in ("/livez", "/readyz"))
            self.assertEqual(probes, {"startupProbe": livez, "livenessProbe": livez, "readinessProbe": readyz})
            self.assertLessEqual({"requests", "limits"}, container["resources"].keys())
            drain = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            within = next(int(variable["value"]) for variable in container["env"] if variable["name"].endswith("SHUTDOWN_WITHIN_SECONDS"))
            self.assertGreater(spec["terminationGracePeriodSeconds"], drain + within)
            self.assertEqual(drain > 0, "quittance/api" in deployment["spec"]["template"]["metadata"]["labels"])
        self.assertEqual(played, ROLES)

    def test_what_points_at_something_hits_it(self):
        deployments = {deployment["metadata"]["name"]: deployment for deployment in of_kind(self.values, "Deployment")}
        labels = [deployment["spec"]["template"]["metadata"]["labels"] for deployment in deployments.values()]
        for service in of_kind(self.values, "Service"):
            selector = service["spec"]["selector"].items()
            chosen = [deployment for deployment in deployments.values() if selector <= deployment["spec"]["template"]["metadata"]["labels"].items()]
            self.assertTrue(chosen, service["metadata"]["name"])
            for deployment in chosen:
                ports = {port["name"] for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
                self.assertLessEqual({port["targetPort"] for port in service["spec"]["ports"]}, ports)
        for budget in of_kind(self.values, "PodDisruptionBudget"):
            selector = budget["spec"]["selector"]["matchLabels"].items()
            self.assertEqual(sum(selector <= each.items() for each in labels), 1, budget["metadata"]["name"])
        for scaler in of_kind(self.values, "HorizontalPodAutoscaler"):
            self.assertNotIn("replicas", deployments[scaler["spec"]["scaleTargetRef"]["name"]]["spec"])
        mapped = {found["metadata"]["name"] for found in of_kind(self.values, "ConfigMap")}
        for _, pod in pods(self.values):
            self.assertLessEqual({volume["configMap"]["name"] for volume in pod["spec"].get("volumes", []) if "configMap" in volume}, mapped)

    def test_files_that_the_configuration_names_are_mounted(self):
        values = yaml.safe_load(VALUES[self.values].read_text())
        config = next(found for found in of_kind(self.values, "ConfigMap") if "quittance.toml" in found["data"])["data"]["quittance.toml"]
        self.assertEqual(tomllib.loads(config), tomllib.loads(values["config"]))
        mounted = {"database-url", *values["secretFiles"]}
        self.assertLessEqual(set(re.findall(r'"/run/secrets/quittance/([^"]+)"', config)), mounted)

    def test_a_secret_with_roles_is_only_where_they_are(self):
        secret_files = yaml.safe_load(VALUES[self.values].read_text())["secretFiles"]
        specs = {owner["metadata"]["name"]: pod["spec"] for owner, pod in pods(self.values) if "volumes" in pod["spec"]}
        for name, spec in specs.items():
            roles = {role for argument in spec["containers"][0]["args"] if argument.startswith("--roles=")
                     for role in argument.removeprefix("--roles=").split(",")}
            volume = next(volume for volume in spec["volumes"] if volume["name"] == "secrets")
            mounted = {item["path"] for source in volume["projected"]["sources"] for item in source["secret"]["items"]}
            wanted = {file for file, source in secret_files.items() if not source.get("roles") or roles & set(source["roles"])}
            self.assertEqual(mounted, wanted | {"database-url"}, name)

    def test_each_deployment_is_checked_with_what_it_has(self):
        checks = {found["metadata"]["name"]: found["spec"] for found in of_kind(self.values, "Pod")}
        for deployment in of_kind(self.values, "Deployment"):
            name, spec = deployment["metadata"]["name"], deployment["spec"]["template"]["spec"]
            fullname = name.removesuffix("-" + deployment["metadata"]["labels"]["app.kubernetes.io/component"])
            check = checks[name.replace(fullname, f"{fullname}-test-check", 1)]
            self.assertEqual(check["containers"][0]["args"], ["check", *spec["containers"][0]["args"][1:]])
            self.assertEqual(check["containers"][0]["env"], spec["containers"][0]["env"])
            self.assertEqual(check["volumes"], spec["volumes"])

    def test_the_database_is_migrated_before_anything_else_changes(self):
        hooks = [found for found in objects(self.values) if "pre-upgrade" in found["metadata"].get("annotations", {}).get("helm.sh/hook", "")]
        self.assertEqual({found["kind"] for found in hooks}, {"ConfigMap", "Job"})
        job = next(found for found in hooks if found["kind"] == "Job")
        self.assertEqual(job["spec"]["template"]["spec"]["containers"][0]["args"][0], "migrate")


class Smallest(OfEach, unittest.TestCase):
    values = "smallest"


class HighlyAvailable(OfEach, unittest.TestCase):
    values = "ha"


class Everything(OfEach, unittest.TestCase):
    values = "everything"


class Rendering(unittest.TestCase):
    def test_the_operator_of_prometheus_knows_every_field(self):
        found = [document for document in objects("everything") if document["kind"] in OF_OPERATOR]
        self.assertEqual({document["kind"] for document in found}, set(OF_OPERATOR))
        with tempfile.TemporaryDirectory() as directory:
            files = []
            for document in found:
                files.append(Path(directory) / f"{document['kind']}.yaml")
                files[-1].write_text(yaml.safe_dump(document))
            result = read_with_their_types(files)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_what_is_optional_is_off_until_it_is_wanted(self):
        self.assertEqual({found["kind"] for found in objects("smallest")}, ALWAYS)
        self.assertEqual({found["kind"] for found in objects("everything")}, ALWAYS | OPTIONAL)

    def test_grpc_is_reached_where_it_is_wanted_and_off_elsewhere(self):
        for name, wanted in (("everything", True), ("smallest", False), ("ha", False)):
            ports = {port["name"]: port for service in of_kind(name, "Service") for port in service["spec"]["ports"]}
            self.assertEqual("grpc" in ports, wanted, name)
            for deployment in of_kind(name, "Deployment"):
                container = deployment["spec"]["template"]["spec"]["containers"][0]
                listen = next(variable["value"] for variable in container["env"] if variable["name"] == "QUITTANCE_SERVER__GRPC_LISTEN")
                inside = {port["name"]: port["containerPort"] for port in container["ports"]}
                api = "quittance/api" in deployment["spec"]["template"]["metadata"]["labels"]
                self.assertEqual((listen, inside.get("grpc")), ("0.0.0.0:4021", 4021 if api else None) if wanted else ("none", None))
        ports = {port["name"]: port for service in of_kind("everything", "Service") for port in service["spec"]["ports"]}
        self.assertEqual((ports["grpc"]["targetPort"], ports["grpc"]["appProtocol"]), ("grpc", "kubernetes.io/h2c"))
        callers = of_kind("everything", "NetworkPolicy")[0]["spec"]["ingress"][0]
        self.assertEqual([port["port"] for port in callers["ports"]], [4020, 4021])
        result = template("--values", VALUES["smallest"], "--set", "grpc.enabled=true", "--set", "grpc.port=80")
        self.assertIn("service.port is the port of HTTP", result.stderr)

    def test_the_runbook_names_the_deployments(self):
        """`q check` wants the keys of signers, so it runs where lanes do, and watchers read a configuration before lanes, and those before the API."""
        said = re.findall(r"^(?:# )?lanes=quittance-(\w+) parts='([\w ]+)' ", (ROOT / "docs/RUNBOOK.md").read_text(), re.MULTILINE)
        for name, (lanes, parts) in zip(("smallest", "ha"), said, strict=True):
            roles = {deployment["metadata"]["labels"]["app.kubernetes.io/component"]: deployment["spec"]["template"]["spec"]["containers"][0]["args"][-1]
                     for deployment in of_kind(name, "Deployment")}
            self.assertIn("lane", roles[lanes])
            self.assertEqual(set(parts.split()), set(roles))
            self.assertIn("watcher", roles[parts.split()[0]])
            self.assertIn("api", roles[parts.split()[-1]])

    def test_a_changed_configuration_restarts_the_replicas(self):
        before, after = (template("--values", VALUES["smallest"], "--set", f"config={config}").stdout for config in ("[[networks]]", "[[networks]] # another"))
        checksum = re.compile(r"checksum/config: (\w+)")
        self.assertNotEqual(checksum.search(before)[1], checksum.search(after)[1])

    def test_and_does_not_where_it_is_to_be_read_by_those_that_run(self):
        options = ("--values", VALUES["ha"], "--set", "restartOnConfigChange=false", "--set-string", "config=[[networks]]")
        before, after = (template(*options, "--set-string", f"config=[[networks]]{more}").stdout for more in ("", " # another"))
        self.assertNotEqual(before, after)
        pods = [[found for found in yaml.safe_load_all(text) if found and found["kind"] == "Deployment"] for text in (before, after)]
        self.assertEqual(*pods)
        self.assertEqual(len(pods[0]), 2)

    def test_nothing_that_is_highly_available_runs_once(self):
        replicas = {deployment["metadata"]["name"]: deployment["spec"].get("replicas") for deployment in of_kind("ha", "Deployment")}
        for scaler in of_kind("ha", "HorizontalPodAutoscaler"):
            replicas[scaler["spec"]["scaleTargetRef"]["name"]] = scaler["spec"]["minReplicas"]
        self.assertTrue(all(count >= 2 for count in replicas.values()), replicas)
        self.assertEqual(len(of_kind("ha", "PodDisruptionBudget")), len(replicas))

    def test_alerts_and_dashboards_are_those_of_the_files(self):
        rule = of_kind("everything", "PrometheusRule")[0]
        shipped = {each["alert"]: each for group in rule["spec"]["groups"] for each in group["rules"] if "alert" in each}
        self.assertEqual(set(shipped), set(alerts()) - {"QuittanceVersionsDiffer"} | {"SettlementsRare"})
        for name in set(shipped) & set(alerts()):
            self.assertEqual(shipped[name]["expr"], alerts()[name]["expr"])
            self.assertEqual(shipped[name]["annotations"]["runbook_url"], f"https://wiki.example.com/quittance/runbook#{name.lower()}")
        self.assertEqual(len(rule["spec"]["groups"]), len(ALERTS) + 1)
        data = {key: text for found in of_kind("everything", "ConfigMap") for key, text in found["data"].items() if key.endswith(".json")}
        self.assertEqual({key: text.strip() for key, text in data.items()},
                         {f"quittance-{path.name}": path.read_text().strip() for path in DASHBOARDS})


CONFIG = VALUES["smallest"]
REFUSED = [
    # What is set, and what the refusal must speak of.
    ("publicUrl=", "publicUrl"),
    ("publicUrl=pay.example.com", "publicUrl"),
    ("publicUrl=https://pay.example.com?x=1", "publicUrl"),
    ("config=[server]", "config"),
    ("secretFiles.base-1.value=0x00", "secretFiles"),
    ("secretFiles.base-1=0x00", "secretFiles"),
    ("secretFiles.base-1.roles={cook}", "secretFiles"),
    ("secretFiles.base-1.roles={}", "secretFiles"),
    ("secretFiles.database-url.key=", "database-url"),
    ("secretFiles.Base=x", "secretFiles"),
    ("deployments.api.replicas=2", "deployments"),
    ("deployments.api.roles={api,cook}", "deployments"),
    ("deployments.api.roles={}", "deployments"),
    ("deployments.api.roles={api}", "the role lane is needed"),
    ("deployments.Api.roles={api}", "Api"),
    ("defaults.roles={api}", "defaults"),
    ("defaults.replicas=-1", "defaults"),
    ("defaults.autoscaling.minReplicas=2", "autoscaling"),
    ("defaults.podDisruptionBudget.maxUnavailable=half", "podDisruptionBudget"),
    ("image.tag=latest", "image"),
    ("image.digest=sha256:00", "image"),
    ("drainSeconds=0", "drainSeconds"),
    ("shutdownWithinSeconds=601", "shutdownWithinSeconds"),
    ("service.port=0", "service"),
    ("restartOnConfigChange=maybe", "restartOnConfigChange"),
    ("grpc.port=0", "grpc"),
    ("grpc.on=true", "grpc"),
    ("networkPolicy.outsidePorts={}", "outsidePorts"),
    ("prometheusRule.disabled={Typo}", "disabled"),
    ("replicas=2", "replicas"),
]
UNSAFE = {
    '[[networks]]\nsigners = [{ key = "0x00" }]': "keys and tokens belong in a Secret",
    '[[networks]]\n[receipts]\nkeys = "x"': "keys and tokens belong in a Secret",
    '[[networks]]\nsigners = [{ remote = { token = "x" } }]': "keys and tokens belong in a Secret",
    '[[networks]]\n[networks.signers.aws_kms]\nsecret_access_key = "x"': "keys and tokens belong in a Secret",
    '[[networks]]\nrpc = ["https://user:word@node.example"]': "a URL with a password belongs in a Secret",
}
SAFE = '[[networks]]\n# key = "env:X"\nkey_file = "/x"\nsigners = [{ remote = { key_id = "x", token_file = "/x" } }]\n[limits]\nkey_per_second = 1\n'


class Refusals(unittest.TestCase):
    def refuses(self, words, *options):
        result = template("--values", CONFIG, *options)
        self.assertNotEqual(result.returncode, 0, options)
        self.assertIn(words, result.stderr)

    def test_values_that_cannot_be_meant_are_refused(self):
        for setting, words in REFUSED:
            with self.subTest(setting=setting):
                self.refuses(words, "--set", setting)

    def test_more_replicas_are_for_the_api_only(self):
        options = {"api.roles": "{api,watcher,worker}", "lane.roles": "{lane}"}
        scaled = {f"lane.autoscaling.{key}": value for key, value in
                  (("minReplicas", 1), ("maxReplicas", 2), ("targetCPUUtilizationPercentage", 50))}
        settings = [f"deployments.{key}={value}" for key, value in (options | scaled).items()]
        self.refuses("only the API does more", *(part for setting in settings for part in ("--set", setting)))

    def test_a_configuration_with_a_secret_in_it_is_refused(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            for config, words in UNSAFE.items():
                file.seek(0)
                file.truncate()
                file.write(config)
                file.flush()
                self.refuses(words, "--set-file", f"config={file.name}")
            file.seek(0)
            file.truncate()
            file.write(SAFE)
            file.flush()
            result = template("--values", CONFIG, "--set-file", f"config={file.name}")
            self.assertEqual(result.returncode, 0, result.stderr)

    def test_what_must_be_said_has_no_default(self):
        result = template()
        self.assertNotEqual(result.returncode, 0)
        for key in ("publicUrl", "config"):
            self.assertIn(key, result.stderr)


class Readme(unittest.TestCase):
    def test_it_lists_every_value(self):
        from readme import README, written

        self.assertEqual(README.read_text(), written(), "run python tests/deploy/readme.py")


if __name__ == "__main__":
    unittest.main()
