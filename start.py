"""Start Mergescope: make a virtual environment beside this file, install the packages once, and run the app.

    python start.py                 install if necessary, start the app and print its address
    python start.py --share         also let everybody on this local network open it (for a class)
    python start.py setup           only install
    python start.py tools           only install, including the tools that check the code
    python start.py test [...]      install the tools and run the whole test suite (arguments are passed to pytest)

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
# Two processes share the test files, in order: each test uses one thread and often waits for servers and workers.
IN_TWO = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
OLDEST = (3, 11)


class StartError(Exception):
    """Error whose text tells the person who starts the app what went wrong."""


def main(arguments: list[str]) -> int:
    """Run the requested command and return the exit code."""
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
    """Return the parser of the arguments. `main` handles `test` first, because its further arguments are pytest's."""
    made = argparse.ArgumentParser(prog="python start.py", description="Install what Mergescope needs and start it.")
    made.add_argument("what", nargs="?", choices=("run", "setup", "tools", "test"), default="run")
    made.add_argument("--share", action="store_true", help="let everybody on this local network open it (for a class)")
    made.add_argument(
        "--port", type=int, default=PORT, help=f"port (default: {PORT}); if it is taken, the next free one"
    )
    return made


def check_python(version: tuple[int, ...]) -> None:
    """Raise StartError if Python is too old."""
    if version < OLDEST:
        found, needed = (".".join(map(str, numbers)) for numbers in (version, OLDEST))
        raise StartError(
            f"Python {needed} or newer is needed, but this is Python {found}. Get a newer one from https://www.python.org."
        )


def install(requirements: str) -> None:
    """Make the environment and install the packages that the file lists, unless they are installed already."""
    stamp, wanted = VENV / f".installed-{requirements}", fingerprint(requirements)
    if PYTHON.exists() and stamp.exists() and stamp.read_text("utf-8") == wanted:
        return
    if not has_pip():
        make_venv()
    say(f"Installing {requirements}: a few minutes the first time ...")
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]
    if run(command) != 0:
        raise StartError(
            "pip could not install the packages (its messages are above). "
            "Check the internet connection and the free disk space, then start again."
        )
    stamp.write_text(wanted, "utf-8")


def has_pip() -> bool:
    """Whether the environment's Python runs and has pip.

    It may not if the environment is incomplete, or if the Python that made it was removed.
    """
    try:
        return subprocess.run([str(PYTHON), "-m", "pip", "--version"], capture_output=True, cwd=ROOT).returncode == 0
    except OSError:
        return False


def make_venv() -> None:
    """Make the environment from scratch. If Python cannot make it, remove what exists of it and raise StartError."""
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
    """Hash of the file's name, the contents of all requirements files, and the version of Python."""
    texts = [requirements.encode(), *(path.read_bytes() for path in sorted(ROOT.glob("requirements*.txt")))]
    return hashlib.sha256(b"\n".join([*texts, sys.version.encode()])).hexdigest()


def serve(port: int, share: bool) -> int:
    """Run the app until it ends or Ctrl-C is pressed; return its exit code."""
    host = "0.0.0.0" if share else "127.0.0.1"
    port = free_port(host, port)
    say(f"Mergescope: http://localhost:{port}")
    if share:
        address = own_address()
        if address:
            say(f"For everybody on this local network: http://{address}:{port}")
            own = os.environ.get("MERGESCOPE_ADDRESS", "")
            os.environ["MERGESCOPE_ADDRESS"] = own or f"http://{address}:{port}"  # for links that others open
        else:
            say("This machine has no network address: connect it to the network that the others use, then start again.")
        say("Everybody who can reach this machine can use Mergescope: run merges and trainings, upload networks and")
        say(
            "images, and see all runs and everything that is shared. They cannot run their own programs on this machine"
        )
        say("or read its files. The connection is not encrypted. Stop Mergescope with Ctrl-C after the class.")
    command = [str(PYTHON), "-m", "streamlit", "run", "app.py"]
    command += ["--server.address", host, "--server.port", str(port), "--server.headless", "true"]
    command += ["--logger.hideWelcomeMessage", "true"]  # the message names addresses that others cannot reach
    # Without --share, only these host names are accepted, so that no other web page can reach the app by DNS rebinding.
    names = [] if share else ["--server.allowedHosts", "localhost", "--server.allowedHosts", "127.0.0.1"]
    try:
        return run([*command, *names], held=True)
    except KeyboardInterrupt:
        say("Mergescope has stopped.")
        return 0


def free_port(host: str, wanted: int) -> int:
    """Return the first free one of twenty ports, beginning with `wanted`. Raises StartError if all are taken."""
    for port in range(wanted, wanted + 20):
        with socket.socket() as probe:
            if os.name != "nt":  # a port that was just released counts as free, as it does for the app
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise StartError(f"Ports {wanted} to {wanted + 19} are all taken. Choose another with --port.")


def own_address() -> str:
    """Return this machine's address on the local network, "" if it has none. No packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # reserved for documentation; connecting by UDP only looks up the route
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def run(command: list[str], held: bool = False) -> int:
    """Run a program in the folder of this file until it ends; return its exit code.

    The program ends with this process: SIGTERM is passed on to it, and Ctrl-C reaches both. After Ctrl-C, this function
    waits for the program to end, then raises KeyboardInterrupt.

    Args:
        command: the program and its arguments.
        held: give the program a pipe as its stdin and set MERGESCOPE_HELD, which tells the program to end when the pipe
            closes. It then ends even if this process is killed.
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
    """Print a line for the person who starts the app."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
