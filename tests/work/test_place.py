"""How a process is readied to compute."""

import ctypes
import subprocess
import sys

import pytest

# Prints the threads, whether a block of 31 MB and one of 33 MB came from the system for themselves, and what went back.
PROGRAM = """
import ctypes, sys
import psutil, torch
from merging.work.place import give_back, set_up

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usm fsm uord ford keep".split()]

mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Info

def alone(megabytes):
    before = mallinfo().hblks
    block = torch.ones(megabytes * 2**18)
    return mallinfo().hblks - before

if "ready" in sys.argv:
    set_up(1)
blocks = alone(31), alone(33)
held = psutil.Process().memory_info().rss
give_back()
print(torch.get_num_threads(), *blocks, (held - psutil.Process().memory_info().rss) / 2**20)
"""


def run(*words: str) -> list[float]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="this tells of glibc's memory"
)
def test_memory_that_a_layer_has_freed_is_kept_for_the_next_one_and_given_back_at_the_end():
    assert run()[1:3] == [1, 1]  # what set_up is for
    threads, small, large, returned = run("ready")
    assert (threads, small, large) == (1, 0, 1)
    assert returned > 30
