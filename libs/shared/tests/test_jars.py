"""The fetcher against a Maven repository of our own on this machine."""

import gc
import hashlib
import http.server
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from functools import partial
from typing import ClassVar

import pytest
from shared.jars import ChecksumError, Jar, JarError, fetch, read_list


class Repository(http.server.SimpleHTTPRequestHandler):
    asked: ClassVar = Counter()
    failures: ClassVar = Counter()
    slow = False

    def do_GET(self):
        name = self.path.rsplit("/", 1)[-1]
        type(self).asked[name] += 1
        if type(self).failures[name] > 0:
            type(self).failures[name] -= 1
            self.send_error(503)
        elif type(self).slow and name.startswith("two"):
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b"half")
            self.wfile.flush()
            time.sleep(20)
        else:
            super().do_GET()

    def log_message(self, *_args):
        pass


@pytest.fixture
def repository(tmp_path):
    """Yields (URL, jars): three jars on a server that can be told to fail."""
    Repository.asked, Repository.failures, Repository.slow = Counter(), Counter(), False
    jars = []
    for artifact in ("one", "two", "three"):
        jar = Jar("org.example", artifact, "1.0", hashlib.sha256(artifact.encode()).hexdigest())
        folder = tmp_path / "repository" / "org" / "example" / artifact / "1.0"
        folder.mkdir(parents=True)
        (folder / jar.file_name).write_bytes(artifact.encode())
        jars.append(jar)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Repository, directory=tmp_path / "repository"))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", jars
    server.shutdown()
    server.server_close()
    thread.join()
    with warnings.catch_warnings():  # jgo leaves what is not 200 unread and open: not for a later test to be blamed for
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_what_is_there_is_not_fetched_again(repository, tmp_path):
    url, jars = repository
    told = []
    first = fetch(jars, tmp_path / "cache", repositories={"test": url}, progress=lambda *step: told.append(step))
    assert [path.read_text() for path in first] == ["one", "two", "three"]
    assert told[0] == (0, 3)
    assert told[-1] == (3, 3)
    Repository.asked.clear()
    assert fetch(jars, tmp_path / "cache", repositories={"test": url}) == first
    assert not Repository.asked


def test_a_wrong_checksum_is_refused_by_name_and_nothing_is_kept(repository, tmp_path):
    url, jars = repository
    bad = Jar("org.example", "two", "1.0", "0" * 64)
    with pytest.raises(ChecksumError, match=r"org\.example:two:1\.0 is refused: its sha256 is [0-9a-f]{64}, the list says 0{64}"):
        fetch([jars[0], bad, jars[2]], tmp_path / "cache", repositories={"test": url})
    assert not list((tmp_path / "cache").rglob("two*"))
    assert len(fetch(jars, tmp_path / "cache", repositories={"test": url})) == 3


def test_a_server_that_fails_at_first_is_asked_again(repository, tmp_path):
    url, jars = repository
    Repository.failures["one-1.0.jar"] = 2
    assert len(fetch(jars, tmp_path / "cache", repositories={"test": url}, pause=0.01)) == 3


def test_what_cannot_be_had_is_named(repository, tmp_path):
    url, jars = repository
    absent = Jar("org.example", "absent", "9", "0" * 64)
    with pytest.raises(JarError, match=r"org\.example:absent:9 cannot be fetched"):
        fetch([*jars, absent], tmp_path / "cache", repositories={"test": url}, pause=0.01)


def begun(cache):
    """Whether the second jar's download has begun; folders come and go meanwhile."""
    try:
        return list(cache.rglob("two*"))
    except FileNotFoundError:
        return []


def test_a_fetch_killed_in_the_middle_goes_on_where_it_stopped(repository, tmp_path):
    url, jars = repository
    cache = tmp_path / "cache"
    Repository.slow = True
    script = (
        "import sys\nfrom pathlib import Path\nfrom shared.jars import fetch, read_list\n"
        "fetch(read_list(Path(sys.argv[1])), Path(sys.argv[2]), repositories={'test': sys.argv[3]})\n"
    )
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{jar.coordinate} sha256:{jar.sha256}\n" for jar in jars))
    with subprocess.Popen([sys.executable, "-c", script, listed, cache, url]) as child:  # noqa: S603 - our own script
        deadline = time.monotonic() + 20
        while not ((cache / "one-1.0.jar").exists() and (cache / "three-1.0.jar").exists() and begun(cache)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child.kill()
    assert not (cache / "two-1.0.jar").exists()
    Repository.slow = False
    Repository.asked.clear()
    assert [path.read_text() for path in fetch(jars, cache, repositories={"test": url})] == ["one", "two", "three"]
    assert Repository.asked["one-1.0.jar"] == 0
    assert not list(cache.glob(".fetch-*"))


def test_a_bad_line_is_named(tmp_path):
    bad = tmp_path / "list.txt"
    bad.write_text("org.example:one:1.0 sha256:" + "0" * 64 + "\norg.example:two\n")
    with pytest.raises(JarError, match=r"list\.txt:2: expected .* found 'org\.example:two'"):
        read_list(bad)
