import json
from pathlib import Path

import pytest
from pydantic import ValidationError
from shared import cli
from shared.service import run_roles
from shared.settings import Settings
from shared.testing.databases import Urls
from shared.testing.fixtures import Infrastructure
from toyservice.service import SERVICE

_GIVEN = {
    "ENCOURS_DATABASE_URL": "postgresql://app:hunter2@db/x",
    "KAFKA_BOOTSTRAP_SERVERS": "k:9092",
    "ENCOURS_CURSOR_SECRET": "x" * 32,
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in _GIVEN.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_settings_come_from_the_environment_and_hide_secrets(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ENCOURS_TOPIC_PREFIX", "test-")
    settings = Settings()
    assert (settings.kafka_bootstrap_servers, settings.topic_prefix) == ("k:9092", "test-")
    assert "hunter2" not in repr(settings)
    with pytest.raises(ValidationError):
        settings.topic_prefix = ""  # type: ignore[misc]


@pytest.mark.parametrize("name", sorted(_GIVEN))
def test_a_missing_setting_is_named(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.delenv(name)
    with pytest.raises(SystemExit) as refused:
        cli.settings_of(SERVICE)
    assert str(refused.value) == f"toyservice: settings: {name}: Field required"


@pytest.mark.parametrize(
    ("name", "value"),
    [("CURSOR_SECRET", "short"), ("HTTP_PORT", "70000"), ("BATCH_MAX", "0"), ("DATABASE_POOL_MAX", "1"), ("HTTP_PORT", "eighty")],
)
def test_a_malformed_setting_is_refused_without_its_value(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(f"ENCOURS_{name}", value)
    with pytest.raises(SystemExit, match=f"ENCOURS_{name}: ") as refused:
        cli.settings_of(SERVICE)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("wrong", ["absent", "no key", None])
async def test_a_key_that_is_none_ends_the_process_naming_the_file(
    infrastructure: Infrastructure, urls: Urls, tmp_path: Path, wrong: str | None
) -> None:
    file = tmp_path / "jwt.pem"
    if wrong == "no key":
        file.write_text(wrong)
    settings = Settings(
        database_url=urls.app,
        kafka_bootstrap_servers=infrastructure.bootstrap,
        cursor_secret="x" * 32,
        jwt_public_key_file=file if wrong else None,
    )
    with pytest.raises(SystemExit, match=f"toyservice: settings: ENCOURS_JWT_PUBLIC_KEY_FILE={file if wrong else None}: "):
        await run_roles(SERVICE, settings, frozenset({"api", "worker", "relay"}))


def test_commands_tell_what_they_miss(environment: pytest.MonkeyPatch) -> None:
    del environment
    with pytest.raises(SystemExit, match="ENCOURS_OWNER_DATABASE_URL"):
        cli.main(SERVICE, ["migrate"])
    with pytest.raises(SystemExit, match="ENCOURS_CHECK_DATABASE_URL"):
        cli.main(SERVICE, ["check"])


def test_check_prints_every_invariant(
    environment: pytest.MonkeyPatch, urls: Urls, infrastructure: Infrastructure, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in urls.environment().items():
        environment.setenv(name, value)
    environment.setenv("KAFKA_BOOTSTRAP_SERVERS", infrastructure.bootstrap)
    assert cli.main(SERVICE, ["migrate"]) == 0
    assert cli.main(SERVICE, ["check"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == dict.fromkeys([check.name for check in SERVICE.checks] + ["audit_chain_verifies"], True)
    assert cli.main(SERVICE, ["dead-letters"]) == 0
    assert cli.main(SERVICE, ["dead-letters", "--replay"]) == 0
    assert json.loads(capsys.readouterr().out) == {"replayed": 0, "left": 0}
