#!/bin/sh
# Install a lock file into a folder of its own: install.sh requirements/gateway.txt /opt/rayon
# A lock file is complete: nothing is installed that it does not name (`requirements/overrides.txt`).
# Without unused parts: pip itself, the tests of the packages, C headers.
set -eu
lock=$1 folder=$2
python -m venv --without-pip "$folder"
# The base image's certificate store may hold a private authority, which pip before 24.2 does not read.
bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
if [ -f "$bundle" ] && ! python -m pip config list | grep '\.cert=' >/dev/null; then
    export PIP_CERT="$bundle"
fi
# The root of a container is read-only, so uncompiled modules would be compiled at every start and at
# every health check.
python -m pip --python "$folder/bin/python" install --quiet --no-cache-dir --disable-pip-version-check \
    --root-user-action ignore --require-hashes --no-deps --no-compile -r "$lock"
cd "$folder"/lib/python3*/site-packages
find . -depth -type d \( -name tests -o -path ./tensorflow/include -o -path ./pyarrow/include \) -exec rm -rf {} +
find . -name '*.a' -delete
python -m compileall -q -j 0 . || true
