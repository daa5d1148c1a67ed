from pathlib import Path

import yaml
from shared.testing.containers import KAFKA_IMAGE, POSTGRES_IMAGE


def test_tests_in_containers_run_on_the_images_of_the_compose_file() -> None:
    compose = yaml.safe_load((Path(__file__).resolve().parents[3] / "docker-compose.yml").read_text(encoding="utf-8"))
    assert {name: compose["services"][name]["image"] for name in ("postgres", "kafka")} == {
        "postgres": POSTGRES_IMAGE,
        "kafka": KAFKA_IMAGE,
    }
