"""Models on the Hugging Face Hub, fetched by its own client into its own cache.

Two files of a repository are fetched, at a commit that is printed: `model.yaml` and
`model.safetensors`. Nothing is downloaded but by `fetch_model`.
"""

import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from blocks.support.files import check_memory
from blocks.support.program import command_line
from blocks.support.yaml_rules import BYTES

HUB = "hub:"
ADDRESS = re.compile(
    r"hub:(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[A-Za-z0-9][\w./-]*))?"
)
COMMIT = re.compile(r"[0-9a-f]{40}")
FILES = ("model.yaml", "model.safetensors")


class HubError(Exception):
    """A model that cannot be fetched.

    Args:
        problem: what is wrong.
        got: what the Hub or its client said.
        fix: what to change.
        code: the code of the problem.
    """

    def __init__(self, problem: str, *, got: str = "", fix: str = "", code: str = "missing-file"):
        super().__init__(problem)
        self.problem, self.got, self.fix, self.code = problem, got, fix, code


@lru_cache(maxsize=64)
def fetch_model(name: str, revision: str) -> str:
    """Fetch a model that is not in the cache, and return its commit.

    Args:
        name: USER/NAME.
        revision: a branch, a tag or a commit.

    Raises:
        HubError: it is not there, is too large, or the Hub cannot be reached.
    """
    if COMMIT.fullmatch(revision) and cached_folder(name, revision, FILES[-1]) is not None:
        return revision
    client = import_client()
    try:
        found = client.HfApi().model_info(name, revision=revision, files_metadata=True)
        sizes = {each.rfilename: each.size or 0 for each in found.siblings}
        commit = revision
        for file in check_sizes(name, sizes):  # the first also tells the cache what a branch is
            commit = Path(client.hf_hub_download(name, file, revision=commit)).parent.name
    except HubError:
        raise
    except Exception as error:  # the client raises errors of several libraries
        return use_cached(name, revision, error)
    if commit != revision:
        sys.stderr.write(f"model hub:{name}@{commit}, which is {revision} now\n")
    return commit


def check_sizes(name: str, sizes: dict[str, int]) -> list[str]:
    """Return the files to fetch.

    Args:
        name: USER/NAME.
        sizes: the bytes of each file of the repository.

    Raises:
        HubError: there is no model.yaml, or a file is too large.
    """
    if FILES[0] not in sizes:
        others = ", ".join(sorted(sizes)[:6])
        fix = f"a repository made by `{command_line('tasks', 'export RUN --to hub')}`"
        raise HubError(f"{name} has no {FILES[0]}", got=others, fix=fix)
    if sizes[FILES[0]] > BYTES:
        got = f"{sizes[FILES[0]]:,} bytes"
        raise HubError(f"{FILES[0]} is too large for a model", got=got, code="too-large")
    try:
        check_memory(FILES[1], sizes.get(FILES[1], 0))
    except OSError as error:
        raise HubError(
            f"the weights of {name} are too large", got=str(error), code="too-large"
        ) from error
    return [file for file in FILES if file in sizes]


def use_cached(name: str, revision: str, error: Exception) -> str:
    """Return the commit that the cache has for a revision where the Hub does not answer.

    Raises:
        HubError: the cache has none, or the Hub did answer.
    """
    client = import_client()
    got = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    if isinstance(error, client.errors.RepositoryNotFoundError):
        fix = "USER/NAME as on the Hub; `hf auth login` for a private one"
        raise HubError(f"the Hub has no {name}, or not for you", got=got, fix=fix) from error
    if isinstance(error, client.errors.RevisionNotFoundError):
        fix = "a branch, a tag or a commit"
        raise HubError(f"{name} has no revision {revision}", got=got, fix=fix) from error
    folder = cached_folder(name, revision, FILES[0])
    if folder is None:
        command = f"hf download {name} {' '.join(FILES)} --revision {revision}"
        cache = client.constants.HF_HUB_CACHE
        raise HubError(
            f"{name} is not in the cache {cache}, and the Hub cannot be reached",
            got=got,
            fix=f"where there is a network: {command}\nand copy that folder here",
        ) from error
    found = f"hub:{name}@{folder.name}, {revision} of the cache"
    sys.stderr.write(f"model {found}: the Hub cannot be reached\n")
    return folder.name


def cached_folder(name: str, revision: str | None, file: str) -> Path | None:
    """Return the folder of the cache with a file of a model; None where it is not there."""
    found = import_client().try_to_load_from_cache(name, file, revision=revision)
    if not isinstance(found, str):
        return None
    return Path(found).parent


def import_client() -> Any:
    """Return the module `huggingface_hub`.

    Raises:
        HubError: it is not installed.
    """
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        fix = "pip install -c constraints.txt -e '.[hub]'"
        raise HubError(
            "model=hub:... needs the package huggingface_hub, which is not installed",
            fix=fix,
            code="not-installed",
        ) from error
    return huggingface_hub
