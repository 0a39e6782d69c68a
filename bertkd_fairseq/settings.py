"""Settings of a stage as a dataclass, which knows its defaults, choices, ranges and help; a parser is made from it.

::

    @dataclass(frozen=True, kw_only=True)
    class AverageConfig:
        last: int | None = setting("average the last N checkpoints", default=None, at_least=2, metavar="N")

    add_arguments(parser, AverageConfig)                     # --last N
    config = from_arguments(AverageConfig, parser.parse_args())
    raise_all(range_problems(config))

Below the command line, a problem names a setting as Python does, ```AverageConfig.last` must be ...``;
:func:`in_options` puts the option in its place.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import re
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bertkd_fairseq.errors import must_be, outside

C = TypeVar("C")

log = logging.getLogger(__name__)

_KEY = "setting"
_REQUIRED: Any = dataclasses.MISSING


@dataclass(frozen=True)
class Setting:
    """What a field of a settings dataclass knows beside its name, type and default."""

    help: str
    choices: Sequence[str] = ()
    at_least: float | None = None
    metavar: str | tuple[str, ...] | None = None
    group: str = ""
    option: str = ""  # if it isn't the field's name
    old_option: str = ""  # what an option was called in the version before
    positional: bool = False
    declared: bool = True  # False: the subcommand declares the option itself, and gives the value
    several: bool = False  # the option takes several values


def setting(help: str, *, default: Any = _REQUIRED, **more: Any) -> Any:
    """Return a field of a settings dataclass; ``more`` as in :class:`Setting`. Without ``default`` it is required."""
    return dataclasses.field(default=default, metadata={_KEY: Setting(help, **more)})


def add_arguments(parser: argparse.ArgumentParser, config: type) -> None:
    """Give ``parser`` an option for each setting of ``config``, in its group."""
    groups: dict[str, Any] = {"": parser}
    kinds = typing.get_type_hints(config)
    for field in _fields(config):
        known: Setting = field.metadata[_KEY]
        if not known.declared:
            continue
        if known.group not in groups:
            groups[known.group] = parser.add_argument_group(known.group)
        groups[known.group].add_argument(
            *_names(field), **_described(field, known, kinds[field.name])
        )


def from_arguments(config: type[C], args: argparse.Namespace, **more: Any) -> C:
    """Return the settings that the parsed arguments give; the namespace may hold others' as well.

    :param more: fields whose options the subcommand declares itself.
    """
    declared = (field.name for field in _fields(config) if field.metadata[_KEY].declared)
    return config(**{name: getattr(args, name) for name in declared}, **more)


def range_problems(config: Any) -> list[str]:
    """Return a message for each setting that is too small or none of its choices."""
    problems = []
    for field in _fields(type(config)):
        known: Setting = field.metadata[_KEY]
        value = getattr(config, field.name)
        if value is None:
            continue
        if known.choices and value not in known.choices:
            problems.append(
                must_be(
                    named(config, field.name), f"one of {', '.join(known.choices)}", repr(value)
                )
            )
        elif known.at_least is not None:
            problems += outside(named(config, field.name), value, at_least=known.at_least)
    return problems


def named(config: Any, field: str) -> str:
    """Return how messages name a setting, ``AverageConfig.last``: :func:`in_options` finds it so."""
    kind = config if isinstance(config, type) else type(config)
    return f"{kind.__name__}.{field}"


def in_options(message: str, config: type) -> str:
    """Return ``message`` with every ``Config.field``, also of a base of ``config``, as the ``--option``."""
    options = {field.name: _names(field)[0] for field in _fields(config)}
    kinds = "|".join(kind.__name__ for kind in config.__mro__ if dataclasses.is_dataclass(kind))
    pattern = rf"\b(?:{kinds})\.(\w+)"
    return re.sub(pattern, lambda found: options.get(found[1], found[0]), message)


def _fields(config: type) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(config) if _KEY in field.metadata]


def _names(field: dataclasses.Field[Any]) -> list[str]:
    known: Setting = field.metadata[_KEY]
    if known.positional:
        return [field.name]
    name = known.option or f"--{field.name.replace('_', '-')}"
    return [name, known.old_option] if known.old_option else [name]


def _described(field: dataclasses.Field[Any], known: Setting, kind: Any) -> dict[str, Any]:
    """Return the keyword arguments of ``add_argument``."""
    required = field.default is dataclasses.MISSING
    default = None if required else field.default
    keywords: dict[str, Any] = {"help": known.help, "default": default}
    if not known.positional:
        keywords |= {"dest": field.name, "required": required}
    if kind is bool:
        return {**keywords, "action": "store_true"}
    if known.metavar:
        keywords["metavar"] = known.metavar
    if known.choices:
        keywords["choices"] = known.choices
    if isinstance(known.metavar, tuple):
        keywords["nargs"] = len(known.metavar)
    if known.several:
        keywords["nargs"] = "+"
    if convert := _converter(kind):
        keywords["type"] = convert
    if known.old_option:
        keywords["action"] = _Renamed
    return keywords


class _Renamed(argparse.Action):
    """Store the value; say so where the option was called by its old name, which the next version won't know."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        new, *old = self.option_strings
        if option_string in old:
            log.warning(
                "%s is now called %s; the old name goes in the next version", option_string, new
            )
        setattr(namespace, self.dest, values)


def _converter(kind: Any) -> type | None:
    """Return what makes a value of one word: int, float or Path, inside of Optional or Sequence too."""
    if kind in (int, float, Path):
        return typing.cast(type, kind)
    if typing.get_origin(kind) in (typing.Union, types.UnionType, tuple, list, Sequence):
        found = (_converter(argument) for argument in typing.get_args(kind))
        return next((convert for convert in found if convert), None)
    return None
