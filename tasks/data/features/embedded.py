"""Tables that come with scikit-learn: nothing to download."""

from typing import Any, Literal

from tasks.data.features.module import Features
from tasks.errors import must_be_one_of

NAMES = ("diabetes", "wine")


class Embedded(Features):
    """442 patients with ten measurements and the progression of diabetes after a year (Efron et
    al. 2004, section 1), or 178 wines of three cultivars with 13 measurements (Aeberhard and
    Forina 1991).

    Args:
        name: diabetes, whose target is a number, or wine, whose target is a class.
        options: those of `Features`.
    """

    quick = True

    def __init__(self, *, name: Literal["diabetes", "wine"], **options: Any):
        must_be_one_of("name", name, NAMES)
        options.setdefault("kind", "numbers" if name == "diabetes" else "classes")
        super().__init__(**options)
        self.name = name

    def load(self) -> tuple[dict[str, list[str]], list[str]]:
        from sklearn import datasets

        if self.name == "diabetes":
            bunch = datasets.load_diabetes(scaled=False)
            target = "progression"
        else:
            bunch = datasets.load_wine()
            target = "cultivar"
        columns = {}
        for index, name in enumerate(bunch.feature_names):
            columns[str(name)] = [repr(float(value)) for value in bunch.data[:, index]]
        columns[target] = [repr(value) for value in bunch.target.tolist()]
        return columns, [str(row) for row in range(1, len(bunch.target) + 1)]
