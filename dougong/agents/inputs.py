"""The tools: what each takes, described for who calls it, and the command line that answers it."""

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME = r"^\w[\w-]*(/\w[\w-]*)*$"
PATH = r"^\w[^\n]*$"
GRAMMAR = (
    "Overrides in Hydra's syntax, one a string. model=vit chooses a file; model/norm=rmsnorm the "
    "option of a slot; model.params.depth=6, optimizer.lr=3e-4, trainer.max_epochs=5 set a value; "
    "'+model.graph.drop={block: Dropout, rate: 0.1, after: position}' inserts a node; "
    "'~model.graph.position' deletes one. Values that are expressions are quoted: "
    "model.graph.head.features='dim * 2'. No ${...}, no path outside the project. "
    "The same overrides describe the same model for every tool."
)
Override = Annotated[str, Field(max_length=5000)]
Overrides = Annotated[list[Override], Field(max_length=100, description=GRAMMAR)]


class Input(BaseModel):
    """The arguments of a tool; its docstring is what an agent reads of the tool."""

    model_config = ConfigDict(extra="forbid")
    command: ClassVar[str]
    changes_nothing: ClassVar[bool] = True

    def words(self) -> list[str]:
        """Return the words of the command line behind `dougong`."""
        raise NotImplementedError

    def given_overrides(self) -> list[str]:
        """Return all overrides among the arguments."""
        return list(getattr(self, "overrides", ()))


class List(Input):
    """List what can be chosen. Without a kind: the kinds themselves, such as model, data, task,
    optimizer, experiment, the slots model/attention, model/norm, model/mlp, ..., and block. With a
    kind: the name of each choice, what it is, and whose file it is. Begin here.
    """

    command: ClassVar[str] = "list"
    kind: str | None = Field(
        None, pattern=NAME, description='"model", "data", "model/norm", "block", ...; null for all'
    )

    def words(self) -> list[str]:
        kinds = [] if self.kind is None else [self.kind]
        return ["list", *kinds, "--json"]


class Show(Input):
    """Return the YAML of a choice: its params, its nodes by name, its slots. Read it before you
    change nodes with overrides.
    """

    command: ClassVar[str] = "show"
    name: str = Field(pattern=NAME, description='"model/vit", "model/norm/rmsnorm", "data/digits"')

    def words(self) -> list[str]:
        return ["show", self.name, "--json"]


class Catalog(Input):
    """Describe blocks, which `block:` names in YAML: their inputs, outputs, arguments, source, and
    the models that use them. `list` with kind "block" has all names.
    """

    command: ClassVar[str] = "catalog"
    names: list[Annotated[str, Field(pattern=r"^\w+$")]] = Field(
        min_length=1, max_length=20, description='["SelfAttention"]'
    )

    def words(self) -> list[str]:
        return ["catalog", *self.names, "--json"]


class Explain(Input):
    """Build a model without weights and return its parameters, multiply-adds, memory, outputs, and
    each node with its block, shapes, arguments and line of YAML. Takes a second or two.
    """

    command: ClassVar[str] = "explain"
    overrides: Overrides = []
    depth: int = Field(
        2,
        ge=1,
        le=20,
        description="levels of nested nodes: 1 for the top, 4 for all of most models",
    )

    def words(self) -> list[str]:
        return ["explain", *self.overrides, "--json", "--no-server", "--depth", str(self.depth)]


class Check(Input):
    """Build models and report every mistake with its place, what was given, what fits and how to
    fix it. An override may have several values (model/norm=layernorm,rmsnorm; seed=1,2): every
    combination is checked. Do this before `train`.
    """

    command: ClassVar[str] = "check"
    overrides: Overrides = []

    def words(self) -> list[str]:
        return ["check", *self.overrides, "--json", "--no-server"]


class Diff(Input):
    """Compare two models: parameters, multiply-adds, and the nodes that were added, removed,
    replaced or changed.
    """

    command: ClassVar[str] = "diff"
    old: Overrides
    new: Overrides
    overrides: Annotated[
        list[Override], Field(max_length=100, description="for both models: data=imagenet")
    ] = []

    def words(self) -> list[str]:
        sides = [",".join(side) for side in (self.old, self.new)]
        return ["diff", *sides, *self.overrides, "--json", "--no-server"]

    def given_overrides(self) -> list[str]:
        return [*self.old, *self.new, *self.overrides]


class Fit(Input):
    """Find the value of a whole number for which a model comes nearest to a budget of parameters
    or of multiply-adds. Give exactly one of the two. With several models (model=vit,swin), each is
    fitted to the same budget.
    """

    command: ClassVar[str] = "fit"
    param: str = Field(pattern=r"^[\w.]+$", max_length=200, description='"model.params.dim"')
    parameters: float | None = Field(None, gt=0, description="number of parameters: 1e6")
    macs: float | None = Field(None, gt=0, description="multiply-adds for one sample: 1e9")
    overrides: Overrides = []

    @model_validator(mode="after")
    def must_have_one_budget(self) -> "Fit":
        if (self.parameters is None) == (self.macs is None):
            raise ValueError("give either parameters or macs")
        return self

    def words(self) -> list[str]:
        budget = f"macs={self.macs}"
        if self.parameters is not None:
            budget = f"parameters={self.parameters}"
        return ["fit", *self.overrides, f"{self.param}=?", budget, "--json"]


class Why(Input):
    """Tell where a value comes from: the line that wrote it, the params that it reads, or the
    nodes by which a size was inferred.
    """

    command: ClassVar[str] = "why"
    path: str = Field(
        pattern=PATH,
        max_length=200,
        description="a node, an argument of it or a size of its input, as `explain` names them: "
        '"layers.0.attention.inner.heads", "norm.dim"; or "params.dim"',
    )
    overrides: Overrides = []

    def words(self) -> list[str]:
        return ["explain", *self.overrides, "--json", "--no-server", f"--why={self.path}"]


class Result(Input):
    """Return how a run ended, its test scores, and the last rows of its metrics, one an epoch."""

    command: ClassVar[str] = "result"
    run: str = Field(pattern=PATH, max_length=500, description="the folder that `train` returned")
    rows: int = Field(5, ge=0, le=1000, description="how many epochs, from the last")

    def words(self) -> list[str]:
        return ["result", self.run, "--rows", str(self.rows), "--json"]


class Train(Input):
    """Train a model and test it, and return what `result` returns. When the budget of seconds is
    spent, the run finishes its step, saves and ends with status "interrupted", without test
    scores; train with overrides ["resume=RUN"] continues it in its folder. Fewer epochs
    (trainer.max_epochs=5) finish sooner. One training runs at a time.
    """

    command: ClassVar[str] = "train"
    changes_nothing: ClassVar[bool] = False
    overrides: Overrides = []
    seconds: float = Field(
        60, gt=0, description="time to train, from when data are read and the network is built"
    )

    def words(self) -> list[str]:
        return ["train", *self.overrides]


TOOLS: dict[str, type[Input]] = {
    tool.command: tool
    for tool in (List, Show, Catalog, Explain, Check, Diff, Fit, Why, Train, Result)
}
