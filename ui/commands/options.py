"""Options that several commands share, made from the table of settings and from the archive's filters."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from ui.settings import BY_NAME, Setting, Settings

if TYPE_CHECKING:
    from index_store import CaseFilter

Command = Callable[..., Any]

CACHE_SETTINGS: Final = ("cache", "cache_mb")
GENERATOR_SETTINGS: Final = (
    *("few_step_lora", "memory", "compile"),
    *("guidance", "negative_prompt", "long_reports", "glossary"),
    *CACHE_SETTINGS,
)
MODEL_SETTINGS: Final = ("base", "lora", "vae", "dtype", "encoder", "device")

# option -> field of CaseFilter, what it restricts to
_FILTERS: Final[dict[str, tuple[str, str]]] = {
    "site": ("sites", "Only cases of this site, in any spelling"),
    "system": ("systems", "Only cases of this reporting system, in any spelling"),
    "category": ("categories", "Only cases of this category, in any spelling"),
    "stain": ("stains", "Only images in this stain"),
    "preparation": ("preparations", "Only images of this preparation"),
    "kind": ("kinds", "Only images of this kind (field, cell …)"),
    "source": ("sources", "Only cases from this source"),
    "exclude-patient": ("exclude_patients", "No case of this patient"),
    "exclude-case": ("exclude_cases", "Not this case"),
}


def with_settings(*names: str) -> Callable[[Command], Command]:
    """Give a command an option for each named setting; it receives them as one `settings: Settings`."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(**given: Any) -> Any:
            chosen = {name: given.pop(name) for name in names}
            return command(settings=replace(Settings.from_env(), **chosen), **given)

        decorated: Command = run
        for name in reversed(names):  # click lists options in reverse order of decoration
            decorated = _setting_option(BY_NAME[name])(decorated)
        return decorated

    return decorate


RULES = ("dark", "mixed", "cells", "varied", "random")
"""As of `index_store`, which is not imported to print help."""


def with_field_choice(command: Command) -> Command:
    """Give a command the options by which fields of a slide are chosen; it receives one `choice: FieldChoice`."""

    @click.option(
        "--fields",
        type=click.IntRange(1, 100_000),
        default=64,
        show_default=True,
        help="Fields of a whole slide, at most.",
    )
    @click.option(
        "--field-um",
        type=click.FloatRange(10, 2000),
        default=128,
        show_default=True,
        metavar="MICROMETRES",
        help="Edge of a field of a whole slide.",
    )
    @click.option(
        "--field-rule",
        type=click.Choice(RULES),
        default="dark",
        show_default=True,
        help="Which fields of a whole slide come first (see `coin slides look`).",
    )
    @functools.wraps(command)
    def run(fields: int, field_um: float, field_rule: str, **given: Any) -> Any:
        from index_store import FieldChoice

        return command(choice=FieldChoice(most=fields, width_um=field_um, rule=field_rule), **given)

    return run


class ScaleRange(click.ParamType):
    """ "0.2:0.3": µm a pixel, from the first to the second; and one number, where the command takes a query image."""

    def __init__(self, *, with_number: bool) -> None:
        self.name = "LOW:HIGH|MICROMETRES" if with_number else "LOW:HIGH"
        self._with_number = with_number

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """What was typed, as (low, high) in µm a pixel, or as one number; what is converted already stays."""
        from index_store import CaseFilter, FilterError

        if isinstance(value, (tuple, float)):
            return value
        try:
            if self._with_number and ":" not in str(value):
                return float(str(value).replace(",", "."))
            low, high = map(float, str(value).replace(",", ".").split(":"))
            return CaseFilter(mpp=(low, high)).mpp
        except (ValueError, FilterError):
            or_one = ", nor one number" if self._with_number else ""
            self.fail(f"'{value}' is no range of µm a pixel, such as 0.2:0.3{or_one}", param, ctx)


def with_filters(command: Command) -> Command:
    """Give a command the repeatable filter options; it receives them as one `where: CaseFilter | None`."""
    scale = click.option(
        "--mpp",
        type=ScaleRange(with_number=False),
        help="Only images of a scale in this range of µm a pixel, such as 0.2:0.3.",
    )
    return scale(_filtered(command))


def with_filters_and_scale(command: Command) -> Command:
    """The same for a command with a query image: it also receives its scale as `mpp: float | None`."""

    @functools.wraps(command)
    def run(mpp: tuple[tuple[float, float] | float, ...], **given: Any) -> Any:
        ranges = [value for value in mpp if isinstance(value, tuple)]
        numbers = [value for value in mpp if not isinstance(value, tuple)]
        if len(ranges) > 1 or len(numbers) > 1:
            raise click.UsageError("give --mpp once as a range, and once as the scale of --image or --slide")
        return filtered(mpp=ranges[0] if ranges else None, query_mpp=numbers[0] if numbers else None, **given)

    filtered = _filtered(command)
    run.__dict__["__click_params__"] = filtered.__dict__["__click_params__"]
    return click.option(
        "--mpp",
        type=ScaleRange(with_number=True),
        multiple=True,
        help="A range (0.2:0.3): only images of such a scale in µm a pixel. One number (0.25): the scale of --image "
        "or --slide.",
    )(run)


def _filtered(command: Command) -> Command:

    @functools.wraps(command)
    def run(phantoms: bool | None, mpp: tuple[float, float] | None, **given: Any) -> Any:
        from index_store import CaseFilter

        where: CaseFilter = CaseFilter(
            phantoms=phantoms,
            mpp=mpp,
            **{field: given.pop(option.replace("-", "_")) for option, (field, _) in _FILTERS.items()},
        )
        restricts = where.includes or where.excludes
        return command(where=where if restricts else None, **given)

    run = click.option("--phantoms/--no-phantoms", default=None, help="Only phantoms, or none. [default: both]")(run)
    for option, (_, help_text) in reversed(_FILTERS.items()):
        run = click.option(f"--{option}", multiple=True, metavar="NAME", help=f"{help_text}; may be repeated.")(run)
    return run


def as_json(command: Command) -> Command:
    """Give a command `--json`; it receives `as_json: bool`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def with_wait(command: Command) -> Command:
    """Give a command that writes `--wait`; it receives `wait: float`."""
    return click.option(
        "--wait",
        type=click.FloatRange(0),
        default=0.0,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait for another command that is writing to the archive.",
    )(command)


def _setting_option(setting: Setting) -> Callable[[Command], Command]:
    kind: click.ParamType | None = None
    if setting.choices:
        kind = click.Choice(setting.choices)
    elif setting.decimal:
        kind = click.FloatRange(setting.minimum, setting.maximum)
    elif setting.is_number:
        kind = click.IntRange(setting.minimum, setting.maximum)
    return click.option(
        setting.option,
        setting.name,
        type=kind,
        default=setting.default,
        envvar=setting.env,
        show_envvar=True,
        show_default=setting.default_text.replace("`", "") or True,
        help=f"{setting.help[0].upper()}{setting.help[1:]}.",
    )
