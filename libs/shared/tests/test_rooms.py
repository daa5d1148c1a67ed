"""Each kind of code in its room, where import-linter cannot see it."""

import ast
import re
from pathlib import Path

SERVICES = Path(__file__).resolve().parents[3] / "services"
SQL = re.compile(r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH \w+ AS|CREATE|ALTER|DROP|GRANT|LOCK TABLE)\s")
ROOMS = {"storage", "storage.py", "tables", "tables.py", "invariants.py"}


def test_a_services_sql_is_in_its_storage():
    inside, elsewhere = set(), []
    for service in SERVICES.iterdir():
        package = service / "src" / service.name
        for path in package.rglob("*.py"):
            lines = _statements(path.read_text(encoding="utf-8"))
            if path.relative_to(package).parts[0] in ROOMS:
                inside |= {service.name for _ in lines}
            else:
                elsewhere += [f"{path.relative_to(SERVICES)}:{line}" for line in lines]
    assert elsewhere == []
    assert inside == {"invoicing", "matching", "scoring", "dunning", "reporting", "partners"}


def _statements(source: str) -> list[int]:
    """The lines on which texts begin that are SQL."""
    texts = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return sorted(node.lineno for node in texts if SQL.match(str(node.value)))
