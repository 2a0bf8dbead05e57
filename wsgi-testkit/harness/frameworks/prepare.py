"""Makes the virtual environment of the frameworks, or of the packages in NAME.txt: python3 prepare.py FOLDER [NAME]

The environment uses the Python that runs this script, and is a folder below FOLDER; prints its path. Makes it again if its list of
packages or the Python has changed. Parallel runs wait for each other. Prints one line on standard error if it fails.
"""

import fcntl
import pathlib
import subprocess
import sys

NAME = sys.argv[2] if len(sys.argv) > 2 else "frameworks"
REQUIREMENTS = pathlib.Path(__file__).resolve().with_name("requirements.txt" if NAME == "frameworks" else f"{NAME}.txt")


def main(folder):
    version = sys.version.split()[0]
    environment = folder.resolve() / f"{NAME}-{version}"
    stamp = environment / "prepared"
    wanted = f"{sys.base_prefix} {version}\n{REQUIREMENTS.read_text()}"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{NAME}-{version}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            make(environment)
            stamp.write_text(wanted)
    print(environment)


def make(environment):
    run(
        [sys.executable, "-m", "venv", "--clear", str(environment)],
        f"{sys.executable} cannot make virtual environments: install its modules venv and ensurepip"
        " (on Debian: apt-get install python3-venv)",
    )
    run(
        [str(environment / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--requirement", str(REQUIREMENTS)],
        f"pip could not install {REQUIREMENTS}: these tests need the Python package index, or a mirror of it that pip is"
        " configured for",
    )


def run(command, advice):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode != 0:
        last = (done.stdout.strip().splitlines() or ["no output"])[-1]
        sys.exit(f"{advice} ({last})")


main(pathlib.Path(sys.argv[1]))
