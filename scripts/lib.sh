# shellcheck shell=sh
# What demo, test and fullkernel share. Sourced, never run; the caller stands in the checkout.

VENV=.venv
POLICY=/usr/sbin/policy-rc.d

# What the examples run, and the packages that have it.
# shellcheck disable=SC2034  # for those who source this
EXAMPLES_NEED='ip=iproute2 ping=iputils-ping ps=procps iptables=iptables nft=nftables
    ovs-vswitchd=openvswitch-switch unshare=util-linux dnsmasq=dnsmasq-base iperf3=iperf3
    haproxy=haproxy nginx=nginx /usr/lib/nginx/modules/ngx_stream_module.so=libnginx-mod-stream
    socat=socat'

say() { printf '\n== %s\n' "$*"; }

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# install_packages PACKAGE...: the Debian packages, after a fresh look at the package lists.
install_packages() {
    is_root || die "these Debian packages are missing: $*. Install them, or run this as root"
    command -v apt-get >/dev/null || die "these Debian packages, or their like, are missing: $*.
There is no apt-get here: install them with this system's own tool"
    say "Installing $*"
    log=$(mktemp)
    if ! { apt-get update && without_services \
        env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } \
        >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "apt-get could not install $*"
    fi
    rm -f "$log"
}

# without_services COMMAND...: run it while packages may not start their services: tests start the
# daemons that they need, in namespaces. See /usr/share/doc/init-system-helpers/README.policy-rc.d.
without_services() {
    if [ -e "$POLICY" ]; then
        "$@"
        return
    fi
    (
        trap 'rm -f "$POLICY"' EXIT
        trap 'exit 1' HUP INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$POLICY"
        chmod 755 "$POLICY"
        "$@"
    )
}

# need_programs PROGRAM=PACKAGE...: install the packages whose program (or file) is not there.
need_programs() {
    missing=
    for pair; do
        program=${pair%%=*}
        if ! { command -v "$program" || [ -e "$program" ]; } >/dev/null; then
            missing="$missing ${pair#*=}"
        fi
    done
    # shellcheck disable=SC2086  # one word a package
    if [ -n "$missing" ]; then install_packages $missing; fi
}

# lint: everything that can be said without running the code; the tools are on the PATH.
lint() {
    ruff check
    ruff format --check
    codespell
    validate-pyproject pyproject.toml
    check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
    # shellcheck disable=SC2046  # one word a script
    shellcheck --external-sources $(grep -lrE '^#(!/bin/| shellcheck shell=)' .ci scripts)
}

# find_python [RUNNER...]: the path of a Python >= 3.10 (that RUNNER can start); $PYTHON wins.
# shellcheck disable=SC2120  # test has a runner
find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10 \
        /usr/bin/python3}; do
        "$@" "$candidate" -c 'import sys
if sys.version_info < (3, 10): sys.exit(1)
print(sys.executable)' 2>/dev/null && return
    done
    return 1
}

# make_venv PYTHON DIRECTORY: a new virtual environment, with Debian's split-off venv if need be.
make_venv() {
    if ! "$1" -c 'import ensurepip, venv' 2>/dev/null; then
        version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        install_packages "python$version-venv"
    fi
    "$1" -m venv --clear "$2"
}

# prepare_venv [EXTRA,...]: .venv with the package, editable, and these extras. Nothing is done
# when it already is what pyproject.toml asks for.
prepare_venv() {
    if ! "$VENV/bin/python" -c '' 2>/dev/null; then
        # shellcheck disable=SC2119
        python=$(find_python) || die "Python >= 3.10 is needed (PYTHON=/path/to/python names one)"
        say "Making $VENV with $python"
        make_venv "$python" "$VENV"
    fi
    state="$(pwd -P) $(cksum <pyproject.toml)"
    stamp=$VENV/installed-$1
    if [ "$(cat "$stamp" 2>/dev/null)" != "$state" ]; then
        say "Installing the package with its extras $1 into $VENV"
        "$VENV/bin/python" -m pip install --quiet --use-pep517 --editable ".[$1]"
        printf '%s\n' "$state" >"$stamp"
    fi
}
