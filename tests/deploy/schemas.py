"""Writes the schemas of Kubernetes, which come with a package of Python's, as kubeconform reads them.

They name each other by addresses that are those of the package and not of files.
"""

import json
from pathlib import Path

import kubernetes_validate

from support import KUBERNETES, SCHEMAS

PACKAGE = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"

for version in KUBERNETES:
    (SCHEMAS / f"v{version}").mkdir(parents=True, exist_ok=True)
    for path in (PACKAGE / f"v{version}-local-strict").glob("*.json"):
        schema = json.loads(path.read_text().replace('"/api/_definitions.json#', '"_definitions.json#'))
        schema.pop("$id", None)
        (SCHEMAS / f"v{version}" / path.name).write_text(json.dumps(schema))
