"""Verifies a join token as an SFU node in Python would: <algorithm> <secret or JWKS URL> <token>. Prints its claims."""

import json
import sys

import jwt

algorithm, key, token = sys.argv[1:]
if key.startswith("http://"):
    key = jwt.PyJWKClient(key).get_signing_key_from_jwt(token)
claims = jwt.decode(
    token,
    key,
    algorithms=[algorithm],
    issuer="video-session",
    audience="video-session-join",
    options={"require": ["exp", "nbf", "iat", "sub", "iss", "aud", "jti"]},
)
print(json.dumps(claims))
