"""The command lines of the two big jobs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.plans.flags import parse_flags
from pipeline.plans.generate_config import GenerateConfig
from pipeline.plans.presets import PRESETS, preset
from pipeline.plans.run_folder import CONFIG_NAME
from pipeline.plans.train_config import TrainConfig, load_train_config


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainCommand:
    """Train a generative model from streamed shards. The same command again continues the run."""

    job: Annotated[TrainConfig, tyro.conf.arg(name="")]
    """The job."""
    config: str | None = None
    """JSON file with the configuration to start from, such as a run folder's config.json; instead of a preset."""
    summary: str | None = None
    """File that the outcome is written to, as JSON."""
    dry_run: bool = False
    """Check everything, print the plan and stop before anything is started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateCommand:
    """Generate samples from a checkpoint. The same command again continues, or finds everything done."""

    job: Annotated[GenerateConfig, tyro.conf.arg(name="")]
    """The job."""
    summary: str | None = None
    """File or URL that the outcome is written to, as JSON, also where all was there already; of a sweep, a list with one for
    each output. {date} becomes --date."""
    dry_run: bool = False
    """Check everything, print the plan and stop before anything is started."""


def parse_train(argv: Sequence[str]) -> TrainCommand:
    """Returns the training command of a command line: PRESET first, then flags.

    Raises:
        ConfigError: Unknown preset or flag (the nearest is suggested), bad value, or neither preset nor --config.
    """
    default, rest = starting_config(argv, "train.py")
    return parse_flags(TrainCommand, rest, TrainCommand(job=default), prog=f"train.py {default.preset or 'PRESET'}")


def starting_config(argv: Sequence[str], script: str, *, from_run: bool = False) -> tuple[TrainConfig, list[str]]:
    """Returns the configuration that a command line starts from, by preset or file, and the flags that remain.

    Args:
        argv: The command line, without the script's name.
        script: Its name, for the usage line.
        from_run: Whether --run-dir, with neither of them, means the configuration of the run that is there.

    Raises:
        ConfigError: Unknown preset, a file that cannot be read, or neither preset nor --config.
    """
    rest = list(argv)
    usage = f"usage: {script} PRESET [flags], PRESET being one of {', '.join(PRESETS)}"
    file = _value_of("--config", rest)
    name = rest.pop(0) if rest and not rest[0].startswith("-") else None
    if name is not None and file is not None:
        raise ConfigError(f"got both the preset {name} and --config {file}; expected one of them")
    if name is not None:
        default = preset(name)
    elif file is not None:
        default = load_train_config(file)
    elif from_run and (run := _value_of("--run-dir", rest)):
        default = load_train_config(storage.join(storage.absolute_url(run), CONFIG_NAME))
    elif {"-h", "--help"} & set(rest):
        default = TrainConfig()
    else:
        raise ConfigError(f"the preset is missing; {usage}")
    return default, rest


def parse_generate(argv: Sequence[str]) -> GenerateCommand:
    """Returns the generation command of a command line.

    Raises:
        ConfigError: Unknown flag (the nearest is suggested) or bad value.
    """
    return parse_flags(GenerateCommand, list(argv), GenerateCommand(job=GenerateConfig()), prog="generate.py")


def _value_of(flag: str, argv: Sequence[str]) -> str | None:
    for position, here in enumerate(argv):
        if here == flag:
            return argv[position + 1] if position + 1 < len(argv) else None
        if here.startswith(flag + "="):
            return here.partition("=")[2]
    return None
