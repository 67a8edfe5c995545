"""What every program of this folder is told by run.mjs through its environment, and how it answers."""

import json
import os

FACILITATOR = os.environ.get("FACILITATOR_URL")
NETWORK = os.environ["NETWORK"]
PAY_TO = os.environ.get("PAY_TO")
PORT = int(os.environ.get("PORT", "0"))
PRICE = "$0.001"
# One of those in list.mjs.
WAY = os.environ.get("WAY", "exact")

URL = os.environ.get("URL")
KEY = os.environ.get("PAYER_KEY")
RPC = os.environ.get("RPC_URL")

# What is sold. run.mjs looks for it in what the buyer got.
GOODS = {"answer": "forty-two"}


def report(status, body):
    """Print the one line that a client prints."""
    print(json.dumps({"status": status, "body": body}))


def report_error(error):
    print(json.dumps({"status": None, "error": f"{type(error).__name__}: {error}"[:300]}))
