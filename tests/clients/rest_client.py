"""A backend in Python, with requests: creates a session, joins it, watches it, ends it."""

import json
import os

import requests

REST = os.environ["REST"]
TIMEOUT = 60

api = requests.Session()
api.headers["x-internal-secret"] = os.environ["INTERNAL_SECRET"]


def post(path: str, body: dict) -> requests.Response:
    return api.post(f"{REST}{path}", json=body, timeout=TIMEOUT)


body = {"appointmentId": "appt-1", "doctorId": "dr-lee", "patientId": "pat-7"}
created = post("/v1/sessions", body)
assert created.status_code == 200, created.text
session = created.json()["session"]
path = f"/v1/sessions/{session['sessionId']}"

joined = post(f"{path}:join", {"role": "ROLE_PATIENT", "userId": "pat-7"})
assert "?token=" in joined.json()["joinUrl"]
refused = post(f"{path}:join", {"role": "ROLE_PATIENT", "userId": "pat-7", "colour": "blue"})
assert refused.status_code == 400
assert "colour" in refused.text

ended = post(f"{path}:end", {"reason": "finished"})
assert ended.json()["session"]["endReason"] == "finished"
types = []
with api.get(f"{REST}{path}:watch", stream=True, timeout=TIMEOUT) as answer:
    for line in answer.iter_lines(decode_unicode=True):
        if line.startswith("data:"):
            types.append(json.loads(line.removeprefix("data:"))["event"]["type"])
        if types and types[-1] == "session.ended":
            break
assert types == ["session.created", "session.joined", "session.ended"], types
