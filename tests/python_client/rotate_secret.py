"""Rotates a secret as a rotation Lambda of AWS does, in its four steps and with boto3.

usage: rotate_secret.py SECRET         the endpoint, the Region and the keys are in the environment

Each line on stdin is JSON: {"step": STEP, ..}. For each one it writes one line of JSON. Steps:

  create_secret   "document": the new value, put as AWSPENDING under a new token
  set_secret      what it does at a database is not this secret's
  test_secret     "url", "bearer": calls the server until it accepts the pending key's token
  finish_secret   AWSCURRENT moves to the new version
  first           "document": makes the secret itself, before any rotation
  roll_back       "version": AWSCURRENT moves back to it
  withdraw        AWSPREVIOUS is removed from its version, so that nobody trusts it any more

Anything that goes wrong ends it with a traceback and a non-zero code.
"""

import json
import sys
import time
import urllib.error
import urllib.request
import uuid

import boto3
from botocore.exceptions import ClientError

PATIENCE = 30


def first(service, secret, _token, document):
    return {"version": service.create_secret(Name=secret, SecretString=document)["VersionId"]}


def create_secret(service, secret, token, document):
    service.get_secret_value(SecretId=secret, VersionStage="AWSCURRENT")
    try:
        service.get_secret_value(SecretId=secret, VersionId=token, VersionStage="AWSPENDING")
    except ClientError:
        service.put_secret_value(
            SecretId=secret,
            ClientRequestToken=token,
            SecretString=document,
            VersionStages=["AWSPENDING"],
        )
    return {"version": token}


def set_secret(_service, _secret, _token):
    return {}


def test_secret(service, secret, token, url, bearer):
    pending = service.get_secret_value(SecretId=secret, VersionId=token, VersionStage="AWSPENDING")
    json.loads(pending["SecretString"])
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {bearer}"})
    begin = time.monotonic()
    while True:
        try:
            answer = json.load(opener.open(request, timeout=10))
            return {"answer": answer, "seconds": time.monotonic() - begin}
        except urllib.error.HTTPError as error:
            # It learns of the pending key at its next refresh.
            if error.code != 401 or time.monotonic() - begin > PATIENCE:
                raise


def finish_secret(service, secret, token):
    versions = service.describe_secret(SecretId=secret)["VersionIdsToStages"]
    current = next(id for id, stages in versions.items() if "AWSCURRENT" in stages)
    if current != token:
        service.update_secret_version_stage(
            SecretId=secret,
            VersionStage="AWSCURRENT",
            MoveToVersionId=token,
            RemoveFromVersionId=current,
        )
    return {"version": token}


def roll_back(service, secret, _token, version):
    return finish_secret(service, secret, version)


def withdraw(service, secret, _token):
    versions = service.describe_secret(SecretId=secret)["VersionIdsToStages"]
    previous = next(id for id, stages in versions.items() if "AWSPREVIOUS" in stages)
    service.update_secret_version_stage(
        SecretId=secret, VersionStage="AWSPREVIOUS", RemoveFromVersionId=previous
    )
    return {"version": previous}


STEPS = {
    step.__name__: step
    for step in (
        first,
        create_secret,
        set_secret,
        test_secret,
        finish_secret,
        roll_back,
        withdraw,
    )
}


def main(secret):
    service = boto3.client("secretsmanager")
    token = None
    for line in sys.stdin:
        event = json.loads(line)
        step = event.pop("step")
        if step == "create_secret":
            token = str(uuid.uuid4())
        print(json.dumps(STEPS[step](service, secret, token, **event)), flush=True)


main(*sys.argv[1:])
