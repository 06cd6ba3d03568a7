#!/bin/sh
# Looks for what must be on the machine before .venv can be built, and names what is missing with the
# command that installs it. Installs nothing. Exit status 1: something is missing; 0: it can start.
#   PYTHON   the interpreter that .venv is to be built with (default: python3)

python=${PYTHON:-python3}
pango="libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
system=$(uname -s)
failed=0
packages=

fail() { # MESSAGE [DEBIAN-PACKAGE …]
    echo "setup: $1" >&2
    failed=1
    shift
    packages="$packages${*:+ $*}"
}

command -v git >/dev/null || fail "git is missing (every record notes the commit it was made with)" git

if ! version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); then
    fail "$python is missing or does not run" python3 python3-venv
    version=none
fi
case $version in
    none) ;;
    3.11 | 3.12 | 3.13 | 3.14)
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            case $python in
                *python3) fail "$python cannot make virtual environments" python3-venv ;;
                *) fail "$python cannot make virtual environments" "python$version-venv" ;;
            esac
        ;;
    *)
        fail "$python is Python $version; 3.11 to 3.14 is needed (what the locked PyTorch is built for)"
        echo "  Debian 12, Ubuntu 24.04 and later bring one that fits; Ubuntu 22.04 and Debian 11 an older one." >&2
        echo "  With a fitting Python beside it:  PYTHON=python3.12 make report" >&2
        echo "  With conda, which brings its own: see README.md" >&2
        ;;
esac

if [ "$system $(uname -m)" = "Darwin x86_64" ]; then
    fail "PyTorch has no current wheels for Macs with Intel processors; conda has: see README.md"
fi

# On Linux 6.1 GB of packages, 3 GB of downloads until they are unpacked, and 3 GB in pip's cache.
if [ ! -e .venv/.ready ]; then
    if [ "$system" = Linux ]; then needed=12; else needed=4; fi
    free=$(df -Pk . | awk 'NR == 2 {print int($4 / 1048576)}')
    [ "$free" -ge "$needed" ] ||
        fail "$free GB of disk are free here, about $needed GB are needed"
fi

# Without these libraries everything works but the PDF: no reason to stop.
if [ "$system" = Linux ] && [ "$version" != none ]; then
    "$python" - 2>/dev/null <<'PYTHON' ||
import ctypes
for name in ("libpango-1.0.so.0", "libpangoft2-1.0.so.0", "libharfbuzz-subset.so.0"):
    ctypes.CDLL(name)
PYTHON
        echo "setup: the PDF report needs Pango, the HTML does not:  sudo apt-get install $pango" >&2
fi

if [ -n "$packages" ]; then
    if [ "$system" = Darwin ]; then
        echo "  On macOS:  xcode-select --install; brew install python@3.12" >&2
    else
        echo "  On Debian or Ubuntu:  sudo apt-get install$packages" >&2
    fi
fi
exit $failed
