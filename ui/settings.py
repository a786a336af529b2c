"""The settings of `coin` and its view, as data: name, default, environment variable, help.

The command line makes its options from this table, the view reads its values from the environment, programs use a
frozen dataclass, and the documentation's table is `settings_table()`, which a test compares.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from ui.errors import SettingError


@dataclass(frozen=True)
class Setting:
    """A setting. `default` None means that the program chooses; `default_text` then describes the choice."""

    name: str
    default: str | int | float | None
    help: str
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    default_text: str = ""
    decimal: bool = False

    @property
    def env(self) -> str:
        """The environment variable that sets it."""
        return f"COIN_{self.name.upper()}"

    @property
    def option(self) -> str:
        """The option of the command line that sets it."""
        return "-k" if self.name == "k" else f"--{self.name.replace('_', '-')}"

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers."""
        return self.decimal or isinstance(self.default, int)

    def parse(self, text: str) -> str | int | float:
        """The value of `text` from the environment. Raises SettingError where it is not one of the setting's."""
        if self.choices and text not in self.choices:
            raise SettingError(f"{self.env}={text!r} is not one of {', '.join(self.choices)}")
        if not self.is_number:
            return text
        try:
            number = float(text) if self.decimal else int(text)
        except ValueError:
            raise SettingError(f"{self.env}={text!r} is not a {'' if self.decimal else 'whole '}number") from None
        large_enough = self.minimum is None or number >= self.minimum
        if not (large_enough and (self.maximum is None or number <= self.maximum)):  # nan is neither
            raise SettingError(f"{self.env}={text!r} is not between {self.minimum} and {self.maximum}")
        return number


def _setting(default: Any, help: str, **more: Any) -> Any:
    return field(default=default, metadata={"help": help, **more})


@dataclass(frozen=True)
class Settings:
    """The values of all settings; the fields define them."""

    archive: str = _setting("coin-archive", "folder of the archive")
    base: str | None = _setting(
        None,
        "SDXL base that makes the images: a folder, or a hub id (stabilityai/stable-diffusion-xl-base-1.0)",
        default_text="the starter",
    )
    lora: str | None = _setting(
        None,
        "LoRA on that base (COIN's weights): a folder or a .safetensors file",
        default_text="the starter's on the starter base, else none",
    )
    encoder: str | None = _setting(
        None,
        "CLIP model (open_clip) that embeds images and text: hf-hub:org/name, local-dir:/path or a folder",
        default_text="the starter",
    )
    vae: str | None = _setting(
        None,
        "autoencoder in the place of the base's own: a folder, a .safetensors file or a hub id "
        "(madebyollin/sdxl-vae-fp16-fix)",
        default_text="the base's",
    )
    dtype: str = _setting(
        "auto",
        "number format of the generator's weights; auto is bfloat16 on a GPU that has it (else float16), float32 "
        "elsewhere",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    text_encoder: str | None = _setting(
        None,
        "model that compares texts, where the archive has given that role to another encoder than --encoder: as there",
        default_text="the same encoder",
    )
    device: str = _setting("auto", "where the models run", choices=("auto", "cpu", "cuda", "mps"))
    few_step_lora: str | None = _setting(
        None,
        "second LoRA, distilled to generate in few steps, for the presets lcm and lightning (never validated on "
        "cytology): a folder or a .safetensors file",
        default_text="none",
    )
    memory: str = _setting(
        "full",
        "low keeps the generator in main memory and moves its parts to the GPU when needed",
        choices=("full", "low"),
    )
    compile: str = _setting(
        "no", "compile the generator: the first images take longer, many are faster", choices=("no", "yes")
    )
    preset: str = _setting(
        "draft",
        "sampling: draft is faster, reference is COIN's published one, lcm and lightning need a few-step LoRA",
        choices=("draft", "reference", "lcm", "lightning"),
    )
    guidance: float | None = _setting(
        None,
        "how strongly images follow the report (classifier-free guidance), instead of the preset's",
        minimum=0,
        maximum=50,
        decimal=True,
        default_text="the preset's",
    )
    negative_prompt: str | None = _setting(
        None, "what generated images should not show, in words", default_text="none, as COIN"
    )
    long_reports: str = _setting(
        "condense",
        "a report that is longer than the encoders read: condense keeps the most important parts, chunk encodes all of "
        "it in pieces",
        choices=("condense", "chunk"),
    )
    glossary: str = _setting(
        "search",
        'replace machine-translated wordings ("cue cells"): in searches of reports (search), or also in the '
        "prompt (yes), although COIN was trained on such words",
        choices=("search", "yes", "no"),
    )
    site_hint: str = _setting("yes", "prefix the site of the query to a report that names none", choices=("yes", "no"))
    n_images: int = _setting(4, "images generated for one report", minimum=1, maximum=64)
    seed: int = _setting(0, "seed of the first image; the i-th takes seed + i", minimum=0, maximum=2**32 - 1)
    k: int = _setting(10, "cases that a search returns", minimum=1, maximum=1000)
    cache: str | None = _setting(None, "folder that keeps generated images", default_text="`~/.cache/coin/generated`")
    cache_mb: int = _setting(2048, "size limit of that folder, in MiB", minimum=1, maximum=1 << 20)
    rules: str | None = _setting(
        None, "TOML file of fusion rules, such as `coin evaluate --choose-fusion` writes", default_text="as shipped"
    )
    queries: str | None = _setting(
        None, "folder of saved queries and of reviews", default_text="`~/.local/share/coin/queries`"
    )
    audit: str | None = _setting(
        None, "folder of the audit log: who queried what, which cases were shown", default_text="none: no log"
    )
    audit_days: int = _setting(0, "days that audit events are kept; 0 keeps all", minimum=0, maximum=36500)
    public_url: str | None = _setting(
        None,
        "address of the view as users type it, where a proxy stands before it (https://name or https://name/path)",
        default_text="none: this machine only",
    )
    sign_in: str | None = _setting(
        None,
        "TOML file of the OpenID Connect provider at which users of the view sign in",
        default_text="none: nobody signs in",
    )
    user_header: str | None = _setting(
        None,
        "HTTP header in which the proxy before the view names its user, for the audit log",
        default_text="none: the signed-in user, else the view's own account",
    )
    readings: str | None = _setting(
        None, "folder of blinded reader studies", default_text="`~/.local/share/coin/readings`"
    )
    slides: str | None = _setting(
        None,
        "folder of whole slides that the view may open: at the places of an archive's fields, and to search by a part",
        default_text="none: overviews only",
    )
    reading_only: str = _setting(
        "no",
        "the view shows only reader studies, so that no reader can search for a picture",
        choices=("no", "yes"),
    )
    port: int = _setting(8501, "port of the view on 127.0.0.1", minimum=1, maximum=65535)
    max_upload_mb: int = _setting(50, "largest picture that the view accepts, in MiB", minimum=1, maximum=1024)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings of the environment (`os.environ` by default); an empty variable counts as absent."""
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {
            setting.name: setting.parse(text) for setting in SETTINGS if (text := environ.get(setting.env, ""))
        }
        return cls(**values)

    def to_env(self) -> dict[str, str]:
        """The settings as environment variables: how `coin ui` hands its options to the view."""
        values = {setting.env: getattr(self, setting.name) for setting in SETTINGS}
        return {name: str(value) for name, value in values.items() if value is not None}

    @property
    def cache_folder(self) -> Path:
        """Where generated images are kept (XDG base directory specification where `cache` is not set)."""
        if self.cache:
            return Path(self.cache)
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(home) / "coin" / "generated"

    @property
    def work_folder(self) -> Path:
        """Where evaluations, calibrations and checks keep what is expensive to compute."""
        return self.cache_folder.parent / "evaluation"

    @property
    def queries_folder(self) -> Path:
        """Where named queries are kept (XDG base directory specification where `queries` is not set)."""
        return Path(self.queries) if self.queries else _data_folder() / "queries"

    @property
    def readings_folder(self) -> Path:
        """Where blinded readings are kept (likewise)."""
        return Path(self.readings) if self.readings else _data_folder() / "readings"


def _data_folder() -> Path:
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "coin"


SETTINGS: Final[tuple[Setting, ...]] = tuple(
    Setting(name=item.name, default=getattr(Settings, item.name), **item.metadata) for item in fields(Settings)
)
BY_NAME: Final[Mapping[str, Setting]] = {setting.name: setting for setting in SETTINGS}


def settings_table() -> str:
    """The table of settings as Markdown, for the documentation."""
    lines = ["| option | environment | default | what it is |", "|---|---|---|---|"]
    for setting in SETTINGS:
        default = setting.default_text or f"`{setting.default}`"
        words = f"{setting.help} ({', '.join(setting.choices)})" if setting.choices else setting.help
        lines.append(f"| `{setting.option}` | `{setting.env}` | {default} | {words} |")
    return "\n".join(lines)
