"""Children, pid files and ports."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from onemachine.errors import LocalError
from onemachine.ports import Ports, is_free
from onemachine.processes import Process

# a parent that starts a child of its own in another session and ignores SIGTERM: the hardest to stop
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("child", child.pid, flush=True)
time.sleep(600)
"""


def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def stubborn(process):
    """Start it; returns its pid and its child's."""
    pid = process.start([sys.executable, "-c", STUBBORN])
    until(lambda: "child" in process.log.read_text())
    return pid, int(process.log.read_text().split()[-1])


def gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_stop_leaves_no_process_of_the_family(tmp_path):
    process = Process(tmp_path, "stubborn")
    pid, child = stubborn(process)
    assert Process(tmp_path, "stubborn").pid == pid
    process.stop(timeout=0.2)
    assert not process.alive
    assert gone(pid)
    assert gone(child)
    assert not process.pid_file.exists()
    process.stop()


def test_a_recycled_pid_is_never_ours(tmp_path):
    process = Process(tmp_path, "other")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as stranger:
        process.pid_file.parent.mkdir()
        process.pid_file.write_text(json.dumps({"pid": stranger.pid, "birth": "another"}))
        assert not process.alive
        process.stop()
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("record", ["", "{", "[]", '{"pid": "x"}'])
def test_what_a_lost_pid_file_named_is_found_and_ended_at_the_next_start(tmp_path, record):
    process = Process(tmp_path, "stubborn")
    pid, child = stubborn(process)
    process.pid_file.write_text(record)
    assert not process.alive
    process.start([sys.executable, "-c", "pass"])
    assert gone(pid)
    assert gone(child)
    process.stop()


def test_the_child_left_by_a_killed_parent_is_ended(tmp_path):
    process = Process(tmp_path, "stubborn")
    pid, child = stubborn(process)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not process.alive)
    assert not gone(child)
    process.stop()
    assert gone(child)


def test_one_that_ends_while_starting_is_reported_with_its_last_words(tmp_path):
    process = Process(tmp_path, "brief")
    process.start([sys.executable, "-c", "raise SystemExit('no disk')"])
    with pytest.raises(LocalError, match=r"(?s)brief ended while starting; the end of .*brief\.log:\n    no disk"):
        process.wait_ready(lambda: False, 20)
    process.stop()


def test_ports_drawn_at_the_same_time_are_all_kept(tmp_path):
    names = [f"part-{number}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(lambda name: Ports(tmp_path / "ports.json").get(name), names))
    assert [Ports(tmp_path / "ports.json").get(name) for name in names] == drawn
    assert len(set(drawn)) == len(names)


def test_ports_are_kept_and_a_taken_one_is_named(tmp_path):
    port = Ports(tmp_path / "ports.json").get("matching")
    assert Ports(tmp_path / "ports.json").require_free("matching") == port
    assert Ports(tmp_path / "ports.json").get("scoring") != port
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
        with pytest.raises(LocalError, match=f"port {port}, kept for matching in .*ports.json, is taken"):
            Ports(tmp_path / "ports.json").require_free("matching")
