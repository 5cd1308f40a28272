#!/usr/bin/env bash
# Lint the Bazel files, then build and test everything with Bazel, offline.
#
#   tools/check_bazel.sh [arguments of `bazel test`, for //...]
#
# $PYTHON (.venv/bin/python) is the interpreter whose packages the tests use. A tool
# that cannot be had is SKIPPED: exit 0.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

buildifier=(npx --loglevel=error --fetch-retries=1 --yes @bazel/buildifier@8.2.1)
if ! command -v npx >/dev/null; then
    echo "buildifier: SKIPPED: no npx"
elif ! "${buildifier[@]}" --version >/dev/null 2>&1; then
    echo "buildifier: SKIPPED: npx cannot get ${buildifier[-1]}"
else
    "${buildifier[@]}" -mode=check -lint=warn BUILD MODULE.bazel || exit
    echo "buildifier: ok"
fi

skip() {
    echo "bazel check: SKIPPED: $1"
    exit 0
}

if ! command -v bazel >/dev/null; then
    if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
        skip "no bazel, and not root with apt-get to install bazel-bootstrap"
    fi
    { apt-get update && apt-get install -y --no-install-recommends bazel-bootstrap; } >/dev/null 2>&1 ||
        skip "apt-get cannot install bazel-bootstrap"
fi
# Debian's 4.2.3 has no number. Newer ones have no native Python rules to stand
# in for rules_python: they run `bazel test //...` as it is, with a network.
version=$(bazel --version 2>/dev/null | tail -n 1) || skip "bazel does not start"
[[ $version == "bazel no_version" || $version == "bazel 4."* ]] ||
    skip "this is for Bazel 4, found $version; run 'bazel test //...'"

python=$("${PYTHON:-.venv/bin/python}" -c 'import sys; print(sys.executable)')

work=$(mktemp -d "${TMPDIR:-/tmp}/kerasreg-bazel.XXXXXX")
tree=$work/tree
# Nothing is kept: the packages of $python are no input that Bazel knows, so a
# result from a cache might be about others.
flags=(--nohome_rc --max_idle_secs=60 --output_user_root="$work/output")
finish() {
    (cd "$tree" && bazel "${flags[@]}" shutdown) >/dev/null 2>&1 || true
    chmod -R u+w "$work" && rm -rf "$work"
}
trap finish EXIT
trap "exit 1" HUP INT TERM

# A copy, so that Bazel leaves nothing in the work tree and sees what a fresh
# checkout has.
mkdir "$tree"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    [[ ! -e $file ]] || cp --parents --no-dereference "$file" "$tree"
done
touch "$tree/WORKSPACE"

# Stand-ins for what Bazel 4 and MODULE.bazel would download.
stub() { # stub REPOSITORY FILE <CONTENT
    mkdir -p "$(dirname "$work/$1/$2")"
    cat >"$work/$1/$2"
    touch "$work/$1/WORKSPACE" "$(dirname "$work/$1/$2")/BUILD"
}
natives() {
    printf '%s\n' "$@" | sed 's/.*/& = native.&/'
}
natives cc_{binary,library,test,toolchain,toolchain_suite} | stub rules_cc cc/defs.bzl
natives java_{binary,import,library,runtime,toolchain} | stub rules_java java/defs.bzl
natives py_{binary,library,test} | stub rules_python python/defs.bzl
stub remote_coverage_tools BUILD <<'EOF'
filegroup(name = "coverage_report_generator", visibility = ["//visibility:public"])
filegroup(name = "lcov_merger", visibility = ["//visibility:public"])
EOF
stub rules_python BUILD <<EOF
load("@bazel_tools//tools/python:toolchain.bzl", "py_runtime_pair")

py_runtime(name = "python", interpreter_path = "$python", python_version = "PY3")

py_runtime_pair(name = "pair", py3_runtime = ":python")

toolchain(
    name = "toolchain",
    toolchain = ":pair",
    toolchain_type = "@bazel_tools//tools/python:toolchain_type",
)
EOF
# Only what is pinned, so that a dependency without a pin fails here too.
if grep -n '^-' requirements-test.txt; then
    echo "bazel check: rules_python reads pins only, no '-r' and no other option"
    exit 1
fi
sed -nE 's/^([A-Za-z0-9._-]+).*==.*/\1/p' requirements-test.txt | tr 'A-Z.-' 'a-z__' |
    while read -r package; do
        stub pypi "$package/BUILD" <<EOF
py_library(name = "$package", visibility = ["//visibility:public"])
EOF
    done

options=(
    --extra_toolchains=@rules_python//:toolchain
    --experimental_repository_disable_download
    --symlink_prefix=/
    --jobs=2
    --local_test_jobs=2
    --nosandbox_debug
    --nosandbox_default_allow_network
    --test_env=PATH="$(dirname "$python"):$PATH"
    --test_timeout=600
    --test_output=errors
    --noshow_progress
)
for repository in rules_cc rules_java remote_coverage_tools rules_python pypi; do
    options+=("--override_repository=$repository=$work/$repository")
done

cd "$tree"
bazel "${flags[@]}" build "${options[@]}" //...
bazel "${flags[@]}" test "${options[@]}" "${@:-//...}"
echo "bazel check: ok"
