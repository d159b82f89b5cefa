#!/bin/sh
# Makes the offline bundle, dist/release-VERSION-PLATFORM.tar.gz: all that scripts/install.sh needs on a host without an index.
# For hosts with the Python and the kind of machine that it is made on.
set -eu
umask 022
python=.venv/bin/python
pip="$python -m pip --disable-pip-version-check -qq"
version=$("$python" -c 'import releasesite; print(releasesite.__version__)')
platform=$("$python" -c 'import sysconfig as s; print("cp" + s.get_config_var("py_version_nodot") + "-" + s.get_platform().replace("-", "_"))')
name=release-$version-$platform
out=${OUT:-dist}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
bundle=$folder/$name
mkdir -p "$bundle/wheels" "$out"

$pip wheel . --no-deps ${BUILD_OPTIONS:-} --wheel-dir "$bundle/wheels"
$pip download --only-binary :all: --require-hashes --requirement requirements.txt --dest "$bundle/wheels"

# The client, for the machines that call: pip install --no-index --find-links client release-client
sed -n 's/^\([A-Za-z0-9._-]*==[^ ;]*\).*/\1/p' requirements-dev.txt > "$folder/constraints.txt"
cp -R client "$folder/client" # setuptools leaves things behind where it builds
$pip wheel "$folder/client" --no-deps ${BUILD_OPTIONS:-} --wheel-dir "$bundle/client"
$pip download --only-binary :all: --constraint "$folder/constraints.txt" --find-links "$bundle/client" \
	--dest "$bundle/client" release-client

cp scripts/install.sh LICENSE CHANGELOG.md requirements.txt "$bundle"
cp -R packaging "$bundle/packaging"

(cd "$bundle" && find . -type f ! -name SHA256SUMS | LC_ALL=C sort | xargs sha256sum > SHA256SUMS)
tar -C "$folder" --sort=name --owner=0 --group=0 --numeric-owner -czf "$out/$name.tar.gz" "$name"
(cd "$out" && sha256sum "$name.tar.gz" > "$name.tar.gz.sha256")
echo "$out/$name.tar.gz"
