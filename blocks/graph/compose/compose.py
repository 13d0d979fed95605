"""Files and the command line, composed by Hydra into plain dictionaries."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra import initialize_config_dir, version
from hydra._internal.defaults_list import DefaultsList
from hydra.core.default_element import ResultDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from blocks.graph.compose.confined import (
    check_confined_overrides,
    check_confined_values,
)
from blocks.graph.compose.hydra_messages import explain_error, explain_interpolation
from blocks.graph.compose.overrides import COMMAND_LINE, make_readable, parse_overrides
from blocks.graph.compose.policy import (
    AGENT,
    RUN_FOLDER,
    check_adopted,
    check_environment,
    check_origins,
    keep_unread,
    read_typed_keys,
)
from blocks.graph.compose.provenance import Provenance, mark_adopted, remove_nulls
from blocks.graph.compose.shared import check_chooser, find_shared, name_models, use_weights
from blocks.graph.errors import ConfigError, Origin, Problem
from blocks.graph.read.edits import read_content
from blocks.graph.read.loader import SEARCH_PATH, Loader, open_loader, parse_override
from blocks.graph.read.probes import Stamp, take_stamp
from blocks.support.conf_folders import conf_folder, option_files
from blocks.support.config_source import checked_files, is_ours
from blocks.support.environment import unread_environment
from blocks.support.files import is_confined, kind_of
from blocks.support.share.folder import shared_name, shared_option
from blocks.support.yaml_rules import check

ERRORS = (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError, RecursionError)


@dataclass
class Composed:
    """A composed configuration.

    Args:
        config: plain dictionaries and lists, interpolations resolved; `???` stays where a value is
            missing.
        origins: path of a key -> where it was written.
        choices: group -> the option chosen, e.g. {"model/attention": "full"}.
        overrides: the command line.
        typed: the values that only the command line may set: `library`, `trust`, `limits`.
        environment: paths of values that may and do read the environment; they stay as written,
            `${oc.env:NAME}`.
        shared: the folder or the address of a shared model; None for one of `conf/`.
    """

    config: dict[str, Any]
    origins: dict[tuple[Any, ...], Origin] = field(default_factory=dict)
    choices: dict[str, str] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    typed: dict[str, Any] = field(default_factory=dict)
    environment: frozenset[tuple[Any, ...]] = frozenset()
    shared: str | None = None

    def is_typed(self, path: Sequence[Any]) -> bool:
        """Return whether the command line gave exactly this value."""
        origin = self.origins.get(tuple(path))
        return origin is not None and str(origin.text).startswith(COMMAND_LINE)

    def origin(self, path: str | Sequence[Any]) -> Origin:
        """Return where the value at a path was written, or the nearest section around it."""
        keys = tuple(path.split(".")) if isinstance(path, str) else tuple(path)
        for end in range(len(keys), 0, -1):
            if keys[:end] in self.origins:
                return self.origins[keys[:end]]
        return Origin(text="the composed configuration")

    @property
    def altered(self) -> bool:
        """Whether the command line changes the model beyond choosing it."""
        return any(re.match(r"[+~]*model[./]", override) for override in self.overrides)


def compose(
    overrides: Sequence[str] = (),
    config_name: str = "train",
    config_dir: str | None = None,
    loader: Loader | None = None,
    adopted: Sequence[str] = (),
) -> Composed:
    """Compose `conf/train.yaml` with overrides as on the command line.

    Args:
        overrides: `key=value`, `+key=value` or `~key`.
        config_name: the file of `conf/` to begin with.
        config_dir: a folder with the user's YAML, searched after the project's `conf/`.
        loader: one to keep, for many compositions in a row.
        adopted: overrides of a run folder, applied before `overrides`. They may come from somebody
            else, so the rules for files apply to them.

    Raises:
        ConfigError: every override that does not fit, every trap in a file, or the file that cannot
            be read.
    """
    if config_dir is not None and not Path(config_dir).is_dir():
        problem = Problem(
            f"no folder {config_dir!r}",
            "the command line: --config-dir",
            got=kind_of(config_dir),
            fits="a folder with model/, data/, ...",
            code="missing-file",
        )
        raise ConfigError(problem)
    loader = loader or open_loader()
    overrides, adopted, giver = _read_command_line(overrides, adopted, config_dir)
    with opened_hydra() as hydra:
        good, problems = parse_overrides(overrides)
        problems += check_adopted(adopted, giver)
        if config_dir is not None:
            good.insert(0, f"{SEARCH_PATH}=['file://{Path(config_dir).resolve()}']")
        config, listed = _load(hydra, loader, config_name, good, problems)
        provenance = Provenance(hydra, loader)
        provenance.add_files(listed.defaults, listed.config_overrides, config_name)
        provenance.add_overrides(listed.defaults, listed.config_overrides)
    origins = mark_adopted(provenance.origins, adopted, giver)
    problems += provenance.problems
    written = read_content(config)
    problems += check_origins(written, origins)
    environment, forbidden = check_environment(written, origins)
    problems += forbidden
    if is_confined():
        problems += check_confined_values(written, origins, environment)
    plain: dict[str, Any] = {}
    if not forbidden:
        if environment:
            config = keep_unread(config)
        try:
            plain = _to_plain(config)
        except OmegaConfBaseException as error:
            problems.append(explain_interpolation(error, origins))
    if problems:
        raise ConfigError(problems)
    remove_nulls(plain, provenance.replaced)
    shared = _open_shared(listed, overrides, plain, origins)
    return Composed(
        plain,
        origins=origins,
        choices=_list_choices(listed.defaults),
        overrides=tuple(overrides),
        typed=read_typed_keys([parse_override(text) for text in good if text not in adopted]),
        environment=environment,
        shared=shared,
    )


def _read_command_line(
    overrides: Sequence[str], adopted: Sequence[str], config_dir: str | None
) -> tuple[list[str], list[str], str]:
    """Return all overrides, those that count as a file's, and who gave these.

    Raises:
        ConfigError: an override that may not be looked up, or a shared model that is not there.
    """
    adopted = list(map(make_readable, adopted))
    if is_confined():
        check_confined_overrides([*adopted, *map(make_readable, overrides)])
    words = [*adopted, *map(make_readable, name_models(overrides, config_dir))]
    if is_confined():
        return words, words, AGENT
    return words, adopted, RUN_FOLDER


def _open_shared(
    listed: DefaultsList,
    overrides: Sequence[str],
    config: dict[str, Any],
    origins: dict[tuple[Any, ...], Origin],
) -> str | None:
    """Let the configuration use the weights of a shared model; return its folder or address.

    Raises:
        ConfigError: a file chose it, or its weights are not read.
    """
    shared = find_shared(listed.defaults)
    if shared is None:
        return None
    problems = check_chooser(shared, overrides) or use_weights(shared, config, origins)
    if problems:
        raise ConfigError(problems)
    return shared


def _load(
    hydra: GlobalHydra,
    loader: Loader,
    config_name: str,
    overrides: list[str],
    problems: list[Problem],
) -> tuple[DictConfig, DefaultsList]:
    """Load the configuration; remove each override that fails from `overrides`, and report it.

    Raises:
        ConfigError: the configuration fails without any override at fault.
    """
    while True:
        try:
            return loader.load(hydra, config_name, overrides)
        except ERRORS as error:
            problem, culprit = explain_error(error, overrides, config_name)
            problems.append(problem)
            if culprit is None:
                raise ConfigError(problems) from error
            overrides[:] = [override for override in overrides if override != culprit]


def _to_plain(config: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _list_choices(defaults: Sequence[ResultDefault]) -> dict[str, str]:
    """Return group -> option: `residual@model.scaled: layerscale` chooses for `model/scaled`."""
    choices = {}
    for default in defaults:
        shared = shared_option(default.config_path)
        if shared is not None:
            choices["model"] = shared_name(shared)
            continue
        group, _, option = (default.config_path or "").rpartition("/")
        package = (default.package or "").replace(".", "/")
        if "/" in group and package.rpartition("/")[0] == group.rpartition("/")[0]:
            group = package
        if group and not group.startswith("hydra/"):
            choices[group] = option
    return choices


@lru_cache(maxsize=1)
def _read_stated_facts(files: tuple[tuple[Path, Stamp], ...]) -> frozenset[str]:
    names: set[str] = set()
    for file, _ in files:
        names.update(map(str, yaml.safe_load(check(file)).get("facts") or {}))
    return frozenset(names)


def stated_facts() -> frozenset[str]:
    """Return the names of the facts that the files of `data/` declare."""
    files = option_files("data").values()
    return _read_stated_facts(tuple((file, take_stamp(file)) for file in files))


@contextmanager
def opened_hydra() -> Iterator[GlobalHydra]:
    """Open Hydra as it is inside a job, or set it up for our folders of YAML, without reading the
    environment.
    """
    instance = GlobalHydra.instance()
    with unread_environment():
        if instance.is_initialized() and is_ours(instance.config_loader().get_search_path()):
            yield instance
            return
        with (
            _set_aside(instance),
            checked_files(),
            initialize_config_dir(str(conf_folder()), version_base="1.3", job_name="dougong"),
        ):
            yield GlobalHydra.instance()


@contextmanager
def _set_aside(instance: GlobalHydra) -> Iterator[None]:
    """Keep the Hydra of another program, inside whose job we are called, and give it back."""
    if not instance.is_initialized():
        yield
        return
    theirs, base = instance.hydra, version.getbase()
    assert base is not None
    instance.hydra = None
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = theirs
        version.VersionBase.instance().setbase(base)
