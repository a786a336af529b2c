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


class ScaleRange(click.ParamType):
    """ "0.2:0.3": µm a pixel, from the first to the second."""

    name = "LOW:HIGH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from index_store import CaseFilter, FilterError

        if isinstance(value, tuple):
            return value
        try:
            low, high = map(float, str(value).replace(",", ".").split(":"))
            return CaseFilter(mpp=(low, high)).mpp
        except (ValueError, FilterError):
            self.fail(f"'{value}' is no range of µm a pixel, such as 0.2:0.3", param, ctx)


def with_filters(command: Command) -> Command:
    """Give a command the repeatable filter options; it receives them as one `where: CaseFilter | None`."""

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

    run = click.option(
        "--mpp", type=ScaleRange(), help="Only images of a scale in this range of µm a pixel, such as 0.2:0.3."
    )(run)
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
