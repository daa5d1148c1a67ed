"""Watched folders and SFTP, with a real server: what an ERP drops becomes an import, once, with a report beside the file."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from invoicing.drops import Drop, Sftp, load, sweep, watch
from invoicing.sftp import FETCHED, fetch
from shared.failures import UnavailableError
from shared.testing.waiting import eventually
from test_imports import NOW, put_mapping, row, table, work


@pytest.fixture
async def drop(client, tmp_path) -> Drop:
    await put_mapping(client)
    for name in ("processing", "done", "failed"):
        (tmp_path / "drop" / name).mkdir(parents=True)
    return Drop(name="acme", tenant_id=client.tenant_id, folder=tmp_path / "drop", mapping="sap", settle_seconds=0)


def names(drop: Drop, folder: str) -> list[str]:
    """What lies in a folder, without the claim's mark before each name."""
    return sorted(path.name.partition("-")[2] or path.name for path in (drop.folder / folder).iterdir() if path.is_file())


def report(drop: Drop, folder: str, name: str) -> dict[str, Any]:
    [path] = (drop.folder / folder).glob(f"*-{name}.report.json")
    return json.loads(path.read_text())


async def through(drop: Drop, runtime, client) -> None:
    """Claimed, imported, put aside."""
    await sweep(drop, runtime.database, runtime.settings.documents_dir, NOW)
    await work(runtime, client)
    await sweep(drop, runtime.database, runtime.settings.documents_dir, NOW)


async def test_files_are_imported_once_and_put_aside_with_a_report(drop, runtime, client):
    (drop.folder / "march.csv").write_bytes(table(row("F1"), row("F2", date="x")))
    (drop.folder / "empty.csv").write_bytes(b"")
    (drop.folder / "other.csv").write_bytes(b"A;B\n1;2\n")
    (drop.folder / ".hidden.csv").write_bytes(table(row("F3")))
    (drop.folder / "coming.csv.part").write_bytes(table(row("F4")))
    (drop.folder / "link.csv").symlink_to("/etc/passwd")
    await through(drop, runtime, client)
    assert names(drop, "") == [".hidden.csv", "coming.csv.part", "link.csv"]
    assert names(drop, "processing") == []
    assert names(drop, "done") == ["march.csv", "march.csv.errors.csv", "march.csv.report.json"]
    assert names(drop, "failed") == ["empty.csv", "empty.csv.report.json", "other.csv", "other.csv.report.json"]
    said = report(drop, "done", "march.csv")
    assert (said["accepted"], said["rejected"], said["duplicate_file"]) == (1, 1, False)
    [errors] = (drop.folder / "done").glob("*.errors.csv")
    assert "3,Date,date-form" in errors.read_text()
    assert report(drop, "failed", "empty.csv")["rule"] == "file-empty"
    assert report(drop, "failed", "other.csv")["failure"]["rule"] == "column-missing"
    (drop.folder / "again.csv").write_bytes(table(row("F1"), row("F2", date="x")))
    await through(drop, runtime, client)
    assert (report(drop, "done", "again.csv")["duplicate_file"], report(drop, "done", "again.csv")["import_id"]) == (
        True,
        said["import_id"],
    )
    listed = (await client.get("/v1/imports")).json()["items"]
    assert sorted(each["file_name"] for each in listed) == ["march.csv", "other.csv"]
    assert {each["created_by"] for each in listed} == {"drop:acme"}


async def test_what_a_crashed_worker_had_claimed_is_the_same_import(drop, runtime, client):
    (drop.folder / "march.csv").write_bytes(table(row("F1")))
    folder = runtime.settings.documents_dir
    await asyncio.gather(*(sweep(drop, runtime.database, folder, NOW) for _ in range(3)))
    assert names(drop, "processing") == ["march.csv"]
    await through(drop, runtime, client)
    assert report(drop, "done", "march.csv")["duplicate_file"] is False
    assert len((await client.get("/v1/imports")).json()["items"]) == 1


async def test_a_file_that_changed_just_now_is_left_to_come_to_rest(drop, runtime):
    path = drop.folder / "march.csv"
    path.write_bytes(table(row("F1")))
    patient = Drop(name="acme", tenant_id=drop.tenant_id, folder=drop.folder, mapping="sap", settle_seconds=60)
    await sweep(patient, runtime.database, runtime.settings.documents_dir, NOW)
    assert path.exists()
    os.utime(path, (1, 1))
    await sweep(patient, runtime.database, runtime.settings.documents_dir, NOW)
    assert not path.exists()


async def test_a_mapping_that_nobody_has_written_fails_the_file_by_name(drop, runtime, client):
    unknown = Drop(name="other", tenant_id=drop.tenant_id, folder=drop.folder, mapping="nope", settle_seconds=0)
    (drop.folder / "march.csv").write_bytes(table(row("F1")))
    await through(unknown, runtime, client)
    assert report(drop, "failed", "march.csv")["rule"] == "mapping-unknown"


async def test_the_watch_sees_what_comes_and_ends_when_told(drop, runtime, client):
    stopping = asyncio.Event()
    watching = asyncio.create_task(watch([drop], runtime.database, runtime.settings.documents_dir, runtime.clock, stopping))
    (drop.folder / "march.csv").write_bytes(table(row("F1")))

    async def done() -> bool:
        await work(runtime, client)
        return "march.csv.report.json" in names(drop, "done")

    await eventually(done, seconds=60, what="the file's report")
    stopping.set()
    await asyncio.wait_for(watching, 20)


def test_a_drops_file_is_read(tmp_path):
    path = tmp_path / "drops.toml"
    path.write_text("""
[[drop]]
name = "acme-sap"
tenant_id = "0199d3a0-0000-7000-8000-000000000001"
folder = "/drop/acme"
mapping = "sap-invoices"
mode = "opening"
as_of = 2026-04-01
[drop.sftp]
host = "sftp.acme.example"
username = "encours"
key_file = "/run/secrets/acme"
known_hosts_file = "/run/secrets/known_hosts"
""")
    [drop] = load(path)
    assert (drop.folder, str(drop.as_of), drop.settle_seconds) == (Path("/drop/acme"), "2026-04-01", 5.0)
    assert drop.sftp is not None
    assert (drop.sftp.port, drop.sftp.key_file) == (22, Path("/run/secrets/acme"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[drop]]\nname = 'a'\n", "tenant_id"),
        ("[[drop]]\nname = 'A B'\ntenant_id = '0199d3a0-0000-7000-8000-000000000001'\nfolder = '/x'\n", "pattern|regex"),
        ("[[drop]]\nname = 'a'\ntenant_id = '0199d3a0-0000-7000-8000-000000000001'\nfolder = '/x'\nmaping = 'b'\n", "maping"),
        ("[[drop]]\nname = 'a'\ntenant_id = '0199d3a0-0000-7000-8000-000000000001'\nfolder = '/x'\n" * 2, "one name"),
        ("nonsense", "drops file"),
    ],
)
def test_a_drops_file_that_makes_no_sense_says_where(tmp_path, text, says):
    path = tmp_path / "drops.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=says):
        load(path)


# --- SFTP -------------------------------------------------------------------------------------------------------------
@pytest.fixture
async def server(tmp_path) -> AsyncIterator[Sftp]:
    """A real SFTP server on a folder, with a key of its own and one that may log in."""
    root = tmp_path / "remote"
    (root / "out").mkdir(parents=True)
    host_key, user_key = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    key_file, known, allowed = tmp_path / "key", tmp_path / "known_hosts", tmp_path / "authorized"
    user_key.write_private_key(str(key_file))
    allowed.write_bytes(user_key.export_public_key())
    acceptor = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=str(allowed),
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(root).encode()),
    )
    port = acceptor.get_port()
    known.write_bytes(f"[127.0.0.1]:{port} ".encode() + host_key.export_public_key())
    yield Sftp(host="127.0.0.1", port=port, username="erp", key_file=key_file, known_hosts_file=known, directory="/out")
    acceptor.close()
    await acceptor.wait_closed()


@pytest.fixture
def remote(tmp_path) -> Iterator[Path]:
    return tmp_path / "remote" / "out"


async def test_files_are_fetched_imported_and_moved_on_the_server(drop, server, remote, runtime, client):
    fetching = Drop(name="acme", tenant_id=drop.tenant_id, folder=drop.folder, mapping="sap", settle_seconds=0, sftp=server)
    (remote / "march.csv").write_bytes(table(*(row(f"F{n}") for n in range(500))))
    (remote / "coming.csv.filepart").write_bytes(b"x")
    (remote / "folder").mkdir()
    assert await fetch(fetching, NOW) == 1
    assert await fetch(fetching, NOW) == 0
    assert sorted(path.name for path in remote.iterdir()) == ["coming.csv.filepart", FETCHED, "folder"]
    [moved] = (remote / FETCHED).iterdir()
    assert moved.name.endswith("-march.csv")
    await through(fetching, runtime, client)
    assert report(fetching, "done", "march.csv")["accepted"] == 500
    (remote / "march.csv").write_bytes(moved.read_bytes())
    assert await fetch(fetching, NOW) == 1
    (remote / "march.csv").write_bytes(b"another")
    assert await fetch(fetching, NOW) == 0  # until the file of that name here has been claimed
    assert (drop.folder / "march.csv").read_bytes() == moved.read_bytes()


async def test_a_server_whose_key_is_not_known_gets_nothing_and_gives_nothing(drop, server, remote, tmp_path):
    (tmp_path / "known_hosts").write_text("")
    (remote / "march.csv").write_bytes(table(row("F1")))
    fetching = Drop(name="acme", tenant_id=drop.tenant_id, folder=drop.folder, mapping="sap", settle_seconds=0, sftp=server)
    with pytest.raises(UnavailableError, match="acme"):
        await fetch(fetching, NOW)
    assert (remote / "march.csv").exists()
