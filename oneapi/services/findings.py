"""Findings: what check-db and doctor see, each with its cure; how they are printed, and what they come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from oneapi.i18n.findings import WORDS
from oneapi.i18n.messages import Language

Level = Literal["ok", "warning", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`subject`: what it is about, such as "database"; `key` and `values`: its words (i18n/findings.py)."""

    level: Level
    subject: str
    key: str
    values: Mapping[str, object]

    def text(self, language: Language = "en") -> str:
        return WORDS[self.key].text(language).format(**self.values)

    def cure(self, language: Language = "en") -> str:
        """What to do about it; "" where nothing is wrong."""
        return WORDS[self.key].cure(language).format(**self.values)

    def as_json(self, language: Language = "en") -> dict[str, str]:
        told = {"level": self.level, "subject": self.subject, "key": self.key, "text": self.text(language)}
        return told | ({"cure": cure} if (cure := self.cure(language)) else {})


def ok(subject: str, key: str, **values: object) -> Finding:
    return Finding("ok", subject, key, values)


def warning(subject: str, key: str, **values: object) -> Finding:
    return Finding("warning", subject, key, values)


def fault(subject: str, key: str, **values: object) -> Finding:
    return Finding("fault", subject, key, values)


def print_all(findings: Iterable[Finding], language: Language = "en") -> None:
    """One line a finding, and below it the lines of its cure."""
    for finding in findings:
        print(f"{finding.level:<8}{finding.subject}: {finding.text(language)}")
        for line in finding.cure(language).splitlines():
            print(f"{'':8}  {line}")


def has_fault(findings: Iterable[Finding]) -> bool:
    return any(finding.level == "fault" for finding in findings)
