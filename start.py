"""Start Mergescope: makes a virtual environment beside this file, installs what is needed once, runs the app.

    python start.py                 install where needed, start, print the address
    python start.py --share         for a class: everybody on this network can open it
    python start.py setup           only install
    python start.py tools           only install, with the tools that check the code
    python start.py test [...]      install the tools too and run the whole test suite (arguments go to pytest)

Standard library only. Linux, macOS and Windows; Python 3.11 or newer.
"""

import argparse
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
PORT = 8501
# Two processes share the test files in their order: the tests use one thread each, and wait for servers and workers.
IN_TWO = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
OLDEST = (3, 11)


class StartError(Exception):
    """What went wrong, for the person who starts the app."""


def main(arguments: list[str]) -> int:
    """Do what the arguments say; gives the exit code."""
    try:
        check_python(sys.version_info[:2])
        if arguments[:1] == ["test"]:
            install("requirements-dev.txt")
            return run([str(PYTHON), "-m", "pytest", *IN_TWO, *arguments[1:]])
        options = parser().parse_args(arguments)
        install("requirements-dev.txt" if options.what == "tools" else "requirements.txt")
        return 0 if options.what in ("setup", "tools") else serve(options.port, options.share)
    except StartError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The arguments; `test` is taken before, because the rest of it is pytest's."""
    made = argparse.ArgumentParser(prog="python start.py", description="Install what Mergescope needs and start it.")
    made.add_argument("what", nargs="?", choices=("run", "setup", "tools", "test"), default="run")
    made.add_argument("--share", action="store_true", help="let everybody on this network open it (for a class)")
    made.add_argument("--port", type=int, default=PORT, help=f"(default {PORT}, or the next free one)")
    return made


def check_python(version: tuple[int, ...]) -> None:
    """Raises StartError where Python is too old."""
    if version < OLDEST:
        found, needed = (".".join(map(str, numbers)) for numbers in (version, OLDEST))
        raise StartError(
            f"Python {needed} or newer is needed, and this is {found}. Get one from https://www.python.org."
        )


def install(requirements: str) -> None:
    """Make the environment and install the file's packages, unless the same ones are installed already."""
    stamp, wanted = VENV / f".installed-{requirements}", fingerprint(requirements)
    if PYTHON.exists() and stamp.exists() and stamp.read_text("utf-8") == wanted:
        return
    if not has_pip():
        make_venv()
    say(f"Installing {requirements}: a few minutes the first time ...")
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]
    if run(command) != 0:
        raise StartError(
            "pip could not install the packages (its own words are above). "
            "Check the network and the free space on the disk, then start again."
        )
    stamp.write_text(wanted, "utf-8")


def has_pip() -> bool:
    """Whether the environment's Python is there and can install: one left half made, or by a Python gone, cannot."""
    try:
        return subprocess.run([str(PYTHON), "-m", "pip", "--version"], capture_output=True, cwd=ROOT).returncode == 0
    except OSError:
        return False


def make_venv() -> None:
    """Make the environment anew. Raises StartError where Python cannot; nothing half made is left then."""
    say(f"Making a virtual environment in {VENV} ...")
    made = False
    try:
        made = run([sys.executable, "-m", "venv", "--clear", str(VENV)]) == 0
    finally:
        if not made:
            shutil.rmtree(VENV, ignore_errors=True)
    if not made:
        raise StartError("Python could not make a virtual environment. On Debian and Ubuntu: apt install python3-venv.")


def fingerprint(requirements: str) -> str:
    """A hash of the requirements with those that they include, and of the Python that installs them."""
    texts = [requirements.encode(), *(path.read_bytes() for path in sorted(ROOT.glob("requirements*.txt")))]
    return hashlib.sha256(b"\n".join([*texts, sys.version.encode()])).hexdigest()


def serve(port: int, share: bool) -> int:
    """Run the app until it ends or Ctrl-C; gives its exit code."""
    host = "0.0.0.0" if share else "127.0.0.1"
    port = free_port(host, port)
    say(f"Mergescope: http://localhost:{port}")
    if share:
        address = own_address()
        if address:
            say(f"For everybody on this network: http://{address}:{port}")
        else:
            say("No network address of this machine was found: connect it to the others' network, then start again.")
        say("Everybody who can reach this machine can use it: run merges and trainings, bring networks and images, and")
        say("see all runs and what is shared. They can neither run programs of their own on it nor read its files.")
        say("The connection is not encrypted. Stop it with Ctrl-C after the class.")
    command = [str(PYTHON), "-m", "streamlit", "run", "app.py"]
    command += ["--server.address", host, "--server.port", str(port), "--server.headless", "true"]
    command += ["--logger.hideWelcomeMessage", "true"]  # it names addresses that others cannot reach
    # Alone, only this machine's own names are answered: a foreign web page cannot reach the app by a name of its own.
    names = [] if share else ["--server.allowedHosts", "localhost", "--server.allowedHosts", "127.0.0.1"]
    try:
        return run([*command, *names], held=True)
    except KeyboardInterrupt:
        say("Mergescope has stopped.")
        return 0


def free_port(host: str, wanted: int) -> int:
    """The wanted port or the next free one of twenty. Raises StartError where all are taken."""
    for port in range(wanted, wanted + 20):
        with socket.socket() as probe:
            if os.name != "nt":  # a port that was just given back counts as free, as it does for the app
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise StartError(f"Ports {wanted} to {wanted + 19} are all taken. Choose another with --port.")


def own_address() -> str:
    """This machine's address on the local network; "" without one. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation: only the route is looked up
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def run(command: list[str], held: bool = False) -> int:
    """Run a program here until it ends; gives its exit code.

    Ending this process means to end the program: a SIGTERM is passed on, and so is an interrupt (Ctrl-C reaches the
    program too), after which KeyboardInterrupt is raised. held: the program ends itself when its stdin does, which it
    is told by MERGESCOPE_HELD: so it ends even where this process is killed.
    """
    stdin = subprocess.PIPE if held else None
    environment = {**os.environ, "MERGESCOPE_HELD": "1"} if held else None
    try:
        process = subprocess.Popen(command, cwd=ROOT, stdin=stdin, env=environment)
    except OSError as error:
        raise StartError(f"{command[0]} cannot be run ({error.strerror}). Delete {VENV} and start again.") from error
    signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())
    interrupted = False
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt:
            interrupted = True
            if process.stdin is not None:
                process.stdin.close()
    if interrupted:
        raise KeyboardInterrupt
    return code


def say(text: str) -> None:
    """A line for the person who starts the app."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
