"""The terminal: a picture that changes while the play runs, and the report at its end. Shows, and decides nothing."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from shared.money import format_amount

from sandbox.demo.play import Play
from sandbox.demo.report import Report
from sandbox.demo.settle import Settler

_BAR = 40
_CURVE_POINTS = 15
_CURVE_WIDTH = 40


class Picture:
    """What the live view shows. `money` is reporting's answer of the evening before."""

    def __init__(self, play: Play, settler: Settler, days: int) -> None:
        self._play, self._settler, self._days = play, settler, days
        self.index, self.step = 0, "starting"
        self.money: list[Mapping[str, Any]] = []
        self.mails: Mapping[str, int] = {}

    def __rich__(self) -> RenderableType:
        """The picture as it is now."""
        counts = self._play.told.counts
        day = self._play.world.days[min(self.index, self._days - 1)].date
        done = _BAR * self.index // self._days
        head = f"[bold]{day:%a %d %b %Y}[/]  day {self.index + 1} of {self._days}  [cyan]{'█' * done}{'░' * (_BAR - done)}[/]  {self.step}"
        told = Table.grid(padding=(0, 2))
        for name in (
            "invoice",
            "credit_note",
            "refused",
            "transfers",
            "returns",
            "notifications",
            "camt.054",
            "camt.053",
            "disputes",
            "promises",
        ):
            told.add_row(name, f"{counts[name]:>7,}")
        told.add_row("mails out", f"{self.mails.get('mails', 0):>7,}")
        told.add_row("to be handled", f"{self._settler.lag:>7,}")
        if self._play.told.wrong:
            told.add_row("[red]wrong[/]", f"[red]{len(self._play.told.wrong):>7,}[/]")
        events = Table.grid(padding=(0, 2))
        names = sorted(self._settler.events.items(), key=lambda entry: (-entry[1], entry[0]))
        half = (len(names) + 1) // 2
        for left, right in zip(names[:half], [*names[half:], ("", 0)], strict=False):
            events.add_row(left[0], f"{left[1]:>8,}", right[0], f"{right[1]:>8,}" if right[0] else "")
        panels = Table.grid(expand=False)
        panels.add_row(Panel(told, title="sent"), Panel(events, title="events by topic"), Panel(_money(self.money), title="money by state"))
        return Group(head, panels)


def _money(rows: list[Mapping[str, Any]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for row in rows:
        currency = str(row["currency"])
        table.add_row(f"[bold]{currency}", "")
        for name in ("received", "notified", "allocated", "unapplied", "returned"):
            table.add_row(name, format_amount(int(row[f"{name}_minor"]), currency).rjust(16))
    return table


def show(report: Report, console: Console) -> None:
    """The report, for people."""
    console.rule("[bold]Report")
    console.print(
        _table(
            "Ageing", report.ageing, ("currency", "not_due_minor", "days_1_30_minor", "days_31_60_minor", "days_61_90_minor", "open_minor")
        )
    )
    dso = [{"currency": row["currency"], **{kpi: row[kpi]["value"] for kpi in ("dso_period", "dso_count_back")}} for row in report.dso]
    console.print(_table("DSO (days)", dso, ("currency", "dso_period", "dso_count_back")))
    for kpi in sorted({point["kpi"] for point in report.dso_curve if "dso" in point["kpi"]}):
        _curve(kpi, [point for point in report.dso_curve if point["kpi"] == kpi and point["value"] is not None], console)
    matched = [{"rule": rule, "allocations": count} for rule, count in sorted(report.match_by_rule.items(), key=lambda entry: -entry[1])]
    console.print(_table(f"Matched by itself: {report.match_rate:.1%} of payments", matched, ("rule", "allocations")))
    console.print(_table("Not explained, and why", report.unexplained, ("currency", "reason", "payments", "unapplied_minor", "oldest")))
    console.print(
        f"Reminders sent: {_counts(report.reminders_sent)}; held: {_counts(report.reminders_held)}; mails: {_counts(report.mails)}"
    )
    console.print(f"A reminder that was held because the money is in: {_held(report.held_because_paid)}")
    console.print(
        _table(
            "On hold",
            [{**row, "reason": row["hold"].get("reason")} for row in report.on_hold],
            ("customer_number", "name", "score", "reason"),
        )
    )
    console.print(f"Webhooks: {report.webhooks}")
    broken = {name: value for name, value in report.invariants.items() if value is not True}
    if report.not_settled:
        console.print(f"[bold red]Did not settle:[/] {report.not_settled}")
    if report.dead_letters:
        console.print(f"[bold red]Dead letters:[/] {report.dead_letters}")
    for name, value in broken.items():
        console.print(f"[bold red]{name}[/]: {value}")
    if report.good:
        console.print(f"[bold green]All {len(report.invariants)} invariants hold.[/]")
    console.print("To look further:", *(f"\n  {name:<10} {address}" for name, address in report.addresses.items()))
    console.print(f"{report.seconds:.0f} seconds")


def _table(title: str, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column.removesuffix("_minor").replace("_", " "), justify="right" if column.endswith("_minor") else "left")
    for row in rows:
        table.add_row(*(_cell(row, column) for column in columns))
    return table


def _cell(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    if column.endswith("_minor") and isinstance(value, int):
        return format_amount(value, str(row["currency"]))
    return "-" if value is None else str(value)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def _held(reminder: dict[str, Any] | None) -> str:
    """When it was due, to whom, for which invoices, and why it stayed here."""
    if not reminder:
        return "none"
    numbers = ", ".join(line["invoice_number"] for line in reminder["inputs"].get("lines", []))
    return f"{reminder['day']}, customer {reminder['customer_id']}, invoices {numbers or 'unknown'}: {reminder['reason']}"


def _curve(kpi: str, points: list[dict[str, Any]], console: Console) -> None:
    """One line per shown day; the longest bar is the largest value."""
    shown = points[:: max(1, len(points) // _CURVE_POINTS)]
    largest = max((float(point["value"]) for point in shown), default=0.0) or 1.0
    console.print(f"{kpi} by day")
    for point in shown:
        console.print(f"  {point['as_of']} {point['value']:>10} [cyan]{'▪' * round(_CURVE_WIDTH * float(point['value']) / largest)}[/]")
