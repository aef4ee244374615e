"""The only place that says which promotion rule takes the place of a trigger, by which agents once judged models.

A trigger is a metric, an operator and a threshold, as in "precision_delta >= 0.01". What it asked of a difference the
rule asks of both releases' own numbers: a difference says nothing of what serves when the rule is judged.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from modelsyncd.errors import BadInputError
from modelsyncd.names import ModelRef
from modelsyncd.query.fields import FAMILIES, FIELDS

_FORM = re.compile(r"\s*([^\s\"]+)\s+(\S+)\s+(\S+)\s*")
_DELTA = re.compile(r"([^\[]+)_delta(\[.*)?")
_PLAIN = re.compile(r"[a-z_]\w*(\.\w+)*", re.ASCII | re.IGNORECASE)
_WORDS = {"gt": ">", "ge": ">=", "eq": "=", "==": "=", "ne": "!=", "le": "<=", "lt": "<"}
_OPERATORS = {**_WORDS, **{sign: sign for sign in _WORDS.values()}}


@dataclass(frozen=True, slots=True)
class Trigger:
    """What a job's settings still say, and the channels that it was about."""

    serving: ModelRef
    candidate: ModelRef
    text: str


def refusal(triggers: Mapping[str, Trigger]) -> BadInputError:
    """Why an agent with these triggers, by their jobs, does not start, and what to type instead."""
    jobs = " and ".join(f"{job} ({one.text[:80]!r})" for job, one in triggers.items())
    commands = " && ".join(dict.fromkeys(map(_command, triggers.values())))
    return BadInputError(
        f"the settings have a trigger for {jobs}, and agents judge no model any more: a rule at the hub does",
        safe="nothing was changed; workers keep the models that they have",
        hint=f"take trigger out of the settings, and say it to the hub, once: {commands}",
    )


def _command(trigger: Trigger) -> str:
    condition = shlex.quote(rule_of(trigger.text) or "CONDITION")
    return f"modelsyncctl rule set {trigger.candidate} {trigger.serving.channel} --if {condition} --stage eval"


def rule_of(text: str) -> str:
    """The condition of a rule that says the same; "" for what is no trigger."""
    form = _FORM.fullmatch(text)
    threshold = _number(form[3]) if form else ""
    if form is None or form[2] not in _OPERATORS or not threshold:
        return ""
    operator, delta = _OPERATORS[form[2]], _DELTA.fullmatch(form[1])
    if delta is None:
        return f"metrics.{_name(form[1])} {operator} {threshold}"
    metric = delta[1] + (delta[2] or "")
    return f"metrics.{_name(metric)} {operator} {_current(metric)}{_more(threshold)}"


def _number(text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        return ""
    return repr(number).removesuffix(".0") if isfinite(number) else ""


def _name(metric: str) -> str:
    return metric if _PLAIN.fullmatch(metric) else f'"{metric}"'


def _current(metric: str) -> str:
    is_field = metric in FIELDS or metric.partition(".")[0] in FAMILIES
    return f"current.{'metrics.' if is_field else ''}{_name(metric)}"


def _more(threshold: str) -> str:
    if float(threshold) == 0:
        return ""
    return f" - {threshold[1:]}" if threshold.startswith("-") else f" + {threshold}"
