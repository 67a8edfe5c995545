"""AWS KMS as moto has it, on this machine: with a key, and a user who may sign with it and do nothing else.

Prints one line of JSON once it listens, and ends when its standard input does.
"""

import json
import os
import sys

# So many calls may be made by anybody. Every later one must be signed by somebody who may make it.
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "5"
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

import boto3  # noqa: E402
from cryptography.hazmat.primitives import hashes  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, utils  # noqa: E402
from moto.kms.responses import KmsResponse  # noqa: E402
from moto.kms.utils import ECDSAPrivateKey  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

REGION = "eu-central-1"

# moto knows no MessageType but RAW, and hashes whatever it is given. What AWS does with a DIGEST is put in its place: it signs the digest as it
# is. How calls are read, who signed them and what he may do stays moto's.
signs = KmsResponse.sign


def sign(self):
    assert self._get_param("MessageType") == "DIGEST"
    return signs(self)


KmsResponse.sign = sign
ECDSAPrivateKey.sign = lambda self, digest, _: self.private_key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
endpoint = f"http://{host}:{port}"


def client(service):
    return boto3.client(
        service, endpoint_url=endpoint, region_name=REGION, aws_access_key_id="anybody", aws_secret_access_key="anything"
    )


iam, kms = client("iam"), client("kms")
key = kms.create_key(KeySpec="ECC_SECG_P256K1", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
public_key = kms.get_public_key(KeyId=key)["PublicKey"]
iam.create_user(UserName="quittance")
statement = {"Effect": "Allow", "Action": "kms:Sign", "Resource": "*"}
policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
iam.put_user_policy(UserName="quittance", PolicyName="sign", PolicyDocument=policy)
access_key = iam.create_access_key(UserName="quittance")["AccessKey"]

world = {
    "endpoint": endpoint,
    "region": REGION,
    "keyId": key,
    # The point, uncompressed, is the end of what stands around it.
    "point": public_key[-64:].hex(),
    "accessKeyId": access_key["AccessKeyId"],
    "secretAccessKey": access_key["SecretAccessKey"],
}
print(json.dumps(world), flush=True)
sys.stdin.read()
