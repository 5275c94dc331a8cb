"""An issuer of bearer tokens for the testbed: issuer.py DIRECTORY PORT

Serves the issuer's metadata and public key over HTTPS, with the certificate of the CE, and writes DIRECTORY/token, which is
valid for a day. A-REX of ARC 6 fetches the key from there when it sees a token (JWSE::ExtractPublicKey).
"""

import base64
import json
import os
import ssl
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

directory, port = sys.argv[1], int(sys.argv[2])
issuer = f"https://localhost:{port}"
key = f"{directory}/issuer-key.pem"


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def openssl(*arguments, data=b""):
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout


os.umask(0o077)
openssl("genrsa", "-out", key, "2048")
modulus = openssl("rsa", "-in", key, "-noout", "-modulus").decode().strip().partition("=")[2]
public = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "testbed", "n": encode(bytes.fromhex(modulus)), "e": "AQAB"}
documents = {
    "/.well-known/openid-configuration": {"issuer": issuer, "jwks_uri": f"{issuer}/jwks"},
    "/jwks": {"keys": [public]},
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        document = documents.get(self.path.removeprefix(issuer))  # A-REX sends whole URLs
        body = json.dumps(document).encode()
        self.send_response(404 if document is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = ThreadingHTTPServer(("localhost", port), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{directory}/host-localhost-cert.pem", f"{directory}/host-localhost-key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)

now = int(time.time())
header = {"alg": "RS256", "kid": "testbed", "typ": "JWT"}
claims = {"iss": issuer, "sub": "testbed", "aud": "any", "nbf": now - 60, "exp": now + 86400}
signed = ".".join(encode(json.dumps(part).encode()) for part in (header, claims))
signature = encode(openssl("dgst", "-sha256", "-sign", key, data=signed.encode()))
with open(f"{directory}/token.new", "w") as file:
    file.write(f"{signed}.{signature}\n")
os.rename(f"{directory}/token.new", f"{directory}/token")
server.serve_forever()
