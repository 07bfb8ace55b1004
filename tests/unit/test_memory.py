"""A process of agents has one arena of the C library's allocator, however many threads it has."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.brokers import ROOT

COUNT = """
import ctypes, sys, threading
from agents.memory import keep_small

if sys.argv[1] == "one":
    keep_small()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
begun = threading.Barrier(4)

def allocate():
    begun.wait()  # all of them are there at once
    libc.malloc(ctypes.c_size_t(1000))
    begun.wait()

threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of another C library")
def test_threads_share_one_arena(tmp_path: Path) -> None:
    def arenas(how: str) -> int:
        told = tmp_path / how
        subprocess.run([sys.executable, "-c", COUNT, how, str(told)], cwd=ROOT, check=True)
        return told.read_text(encoding="utf-8").count("<heap nr=")

    assert arenas("one") == 1
    assert arenas("by itself") > 1, "else this test could not fail"
