#!/bin/bash
# Prepares an example: examples/prepare.sh NAME
#
# For flask_app and django_project it makes a virtual environment below target/venv/ with the Python named by PYTHON
# (default python3), installs the example's requirements.txt and, for Django, sets the project up. Later runs skip completed
# steps. The other examples need no preparation.
set -euo pipefail

cd "$(dirname "$0")/.."
name=${1:?usage: examples/prepare.sh NAME}
name=$(basename "${name%/}")
python=${PYTHON:-python3}

fail() {
    echo "examples/prepare.sh: $*" >&2
    exit 1
}

case $name in
    flask_app) venv=target/venv/flask ;;
    django_project) venv=target/venv/django ;;
    hello | stream | upload) exit 0 ;;
    *) fail "there is no example \"$name\"; see examples/list.txt" ;;
esac
requirements=examples/$name/requirements.txt

identity=$("$python" -c 'import sys; print(sys.version.split()[0], sys.base_prefix)' 2>/dev/null) ||
    fail "cannot run \"$python\"; install Python 3 (on Debian: apt-get install python3) or name another with PYTHON="
wanted="$identity $(cksum <"$requirements")"

if [ "$(cat "$venv/prepared" 2>/dev/null)" != "$wanted" ]; then
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        fail "\"$python\" cannot make virtual environments; on Debian: apt-get install python3-venv"
    echo "making the virtual environment $venv and installing $(tr '\n' ' ' <"$requirements")"
    rm -rf "$venv"
    mkdir -p target/venv
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" ||
        fail "pip could not install $requirements into $venv, see above"
    echo "$wanted" >"$venv/prepared"
fi

if [ "$name" = django_project ]; then
    data=${DEMO_DATA:-target/django_project}
    sources=$(find "examples/$name" -name '*.py' -print0 | sort -z | xargs -0 cat | cksum)
    if [ ! -f "$data/db.sqlite3" ] || [ "$(cat "$data/prepared" 2>/dev/null)" != "$wanted $sources" ]; then
        echo "setting up the Django project in $data"
        "$venv/bin/python" "examples/$name/manage.py" setup_demo
        echo "$wanted $sources" >"$data/prepared"
    else
        echo "log in at /admin/ as admin with password $(cat "$data/admin_password")"
    fi
fi
