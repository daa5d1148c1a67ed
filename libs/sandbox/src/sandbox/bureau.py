"""The simulated credit bureau's knowledge: what it says about a company on a day, and what changed since.

Scales and texts are those of Creditsafe Connect: 0 to 100 (best), bands A 71-100, B 51-70, C 30-50, D 21-29, E below;
the provider's value and the limit are strings; some companies are "Not rated", some have no limit, some are unknown.

Invariant: what is said depends on seed, company number and day alone, but for the courses that a scenario has set.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta

from sandbox import names
from sandbox.chance import chance

_EPOCH = date(2020, 1, 1)
_PERIOD_DAYS = 30
_BANDS = ((71, "A", "Very Low Risk"), (51, "B", "Low Risk"), (30, "C", "Moderate Risk"), (21, "D", "High Risk"), (0, "E", "Very High Risk"))
_UNKNOWN_SHARE, _UNRATED_SHARE, _NO_LIMIT_SHARE = 0.03, 0.06, 0.1
NOT_RATED = "Not rated - insufficient information to rate"


@dataclass(frozen=True, slots=True)
class Subject:
    """A company by country and number in its register (or its VAT number). `connect_id` is `FR-X-552032534`."""

    country: str
    number: str

    @property
    def connect_id(self) -> str:
        """The bureau's id of the company."""
        return f"{self.country}-X-{self.number}"

    @classmethod
    def of(cls, connect_id: str) -> "Subject":
        """The company of a connect id. Raises ValueError for another form."""
        country, mark, number = (*connect_id.split("-", 2), "", "")[:3]
        if len(country) != 2 or mark != "X" or not number.isalnum():  # noqa: PLR2004 - ISO 3166 alpha-2
            raise ValueError(f"{connect_id!r} is no connect id such as FR-X-552032534")
        return cls(country, number)


def band(score: int) -> tuple[str, str]:
    """Common value and description of a score."""
    return next((letter, text) for least, letter, text in _BANDS if score >= least)


@dataclass(slots=True)
class Bureau:
    """The bureau of one seed. `courses` hold, per connect id, scores that a scenario fixes from a day on."""

    seed: int
    courses: dict[str, list[tuple[date, int]]] = field(default_factory=dict)
    _walks: dict[str, list[int]] = field(default_factory=dict)
    """The score of each period since the epoch, per company, as far as anybody has asked: empty where it is not rated."""

    def knows(self, subject: Subject) -> bool:
        """Whether the bureau has the company at all."""
        return subject.connect_id in self.courses or self._share("known", subject) >= _UNKNOWN_SHARE

    def name(self, subject: Subject) -> str:
        """The company's name as the bureau has it."""
        country = subject.country if subject.country in {"FR", "DE", "BE", "NL", "ES"} else "FR"
        return names.company_name(country, chance("bureau name", self.seed, subject.connect_id))

    def score(self, subject: Subject, on: date) -> int | None:
        """1 (worst) to 100 on that day; None where the company is not rated. Moves a few points a month."""
        fixed = [score for since, score in sorted(self.courses.get(subject.connect_id, [])) if since <= on]
        if fixed:
            return fixed[-1]
        walk = self._walks.get(subject.connect_id)
        if walk is None:
            rated = self._share("rated", subject) >= _UNRATED_SHARE
            start = chance("bureau base", self.seed, subject.connect_id).randint(25, 95)
            walk = self._walks[subject.connect_id] = [self._step(subject, 0, start)] if rated else []
        period = (on - _EPOCH).days // _PERIOD_DAYS
        while walk and len(walk) <= period:
            walk.append(self._step(subject, len(walk), walk[-1]))
        return walk[max(0, period)] if walk else None

    def _step(self, subject: Subject, period: int, score: int) -> int:
        step = chance("bureau step", self.seed, subject.connect_id, period).choice((-6, -3, 0, 0, 0, 2, 5))
        return min(100, max(1, score + step))

    def report(self, subject: Subject, on: date) -> dict[str, object]:
        """The company report in Creditsafe Connect's shape, as far as a credit decision needs it."""
        score = self.score(subject, on)
        return {
            "companyId": subject.connect_id,
            "language": "EN",
            "companyIdentification": {
                "basicInformation": {
                    "businessName": self.name(subject),
                    "registeredCompanyName": self.name(subject),
                    "companyRegistrationNumber": subject.number,
                    "country": subject.country,
                    "companyStatus": {"status": "Active", "description": "Active"},
                }
            },
            "creditScore": {
                "currentCreditRating": self._rating(score) | {"creditLimit": self._limit(subject, score)},
                "previousCreditRating": self._rating(self.score(subject, on - timedelta(days=_PERIOD_DAYS))),
                "latestRatingChangeDate": f"{self._period_start(on)}T00:00:00Z",
                "currentContractLimit": None,
            },
        }

    def changes(self, subject: Subject, since: date, until: date) -> Iterator[dict[str, object]]:
        """A notification event for each change of score after `since`, up to and including `until`."""
        before = self.score(subject, since)
        for day in self._days_of_change(subject, since, until):
            after = self.score(subject, day)
            if after != before:
                yield {
                    "notificationEventId": chance("event", self.seed, subject.connect_id, day).randrange(1, 2**53),
                    "eventDate": f"{day}T00:00:00Z",
                    "ruleCode": 101,
                    "ruleName": "International Rating",
                    "oldValue": NOT_RATED if before is None else str(before),
                    "newValue": NOT_RATED if after is None else str(after),
                    "company": {"id": subject.connect_id, "countryCode": subject.country, "name": self.name(subject)},
                }
            before = after

    def _days_of_change(self, subject: Subject, since: date, until: date) -> list[date]:
        """The only days on which a score can change: the first of each period, and those that a scenario set."""
        first = self._period_start(since) + timedelta(days=_PERIOD_DAYS)
        periods = (first + timedelta(days=offset) for offset in range(0, (until - first).days + 1, _PERIOD_DAYS))
        return sorted({*periods, *(day for day, _ in self.courses.get(subject.connect_id, []) if since < day <= until)})

    def _rating(self, score: int | None) -> dict[str, object]:
        if score is None:
            return {"commonValue": None, "commonDescription": None, "creditLimit": None, "providerValue": {"value": NOT_RATED}}
        letter, text = band(score)
        return {
            "commonValue": letter,
            "commonDescription": text,
            "creditLimit": None,
            "providerValue": {"maxValue": "100", "minValue": "0", "value": str(score)},
            "providerDescription": text,
        }

    def _limit(self, subject: Subject, score: int | None) -> dict[str, object] | None:
        if score is None or self._share("limit", subject) < _NO_LIMIT_SHARE:
            return None
        size = chance("bureau size", self.seed, subject.connect_id).choice((200, 500, 1_000, 2_000))
        return {"currency": "EUR", "value": str(score * size)}

    def _share(self, what: str, subject: Subject) -> float:
        return chance("bureau", what, self.seed, subject.connect_id).random()

    @staticmethod
    def _period_start(on: date) -> date:
        return _EPOCH + timedelta(days=(on - _EPOCH).days // _PERIOD_DAYS * _PERIOD_DAYS)
