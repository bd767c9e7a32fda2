"""The schema of a recipe: a base, the task, the data, and a graph of variants, each a list of steps.

A recipe is YAML. It is checked as a whole before anything runs. Every error is one line that names the place in the
recipe. `build` carries out what the recipe says.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from slimseq.compression.errors import BadRecipe
from slimseq.compression.families import check_step
from slimseq.compression.importing.importing import ImportOptions
from slimseq.compression.options import check_names, read_options
from slimseq.compression.technique import technique_named
from slimseq.compression.train.data.mixture import Mixture
from slimseq.evaluation.gate import Gate
from slimseq.inference.models.registry import FAMILIES
from slimseq.models_store.errors import SlimseqError
from slimseq.models_store.json_record import first_error
from slimseq.models_store.manifest import NAME_PATTERN, Task
from slimseq.models_store.model_folder import read_regular

# Name of the variant that the base of a recipe becomes, unless the recipe names another.
BASE = "original"
# Keys that a step may have beside the options of its technique: its data, in place of the recipe's.
STEP_DATA = ("train", "calibration", "dev", "mixture", "unlabelled", "exclude", "seed")

Name = Annotated[str, Field(pattern=NAME_PATTERN)]


def _known_family(name: str) -> str:
    known = dict.fromkeys(family.artifact_family for family in FAMILIES.values())
    if name not in known:
        raise ValueError(f"{name!r} is not one of {', '.join(known)}")
    return name


class RecipePart(BaseModel):
    """Base of every part of a recipe: strict about unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class TestSet(RecipePart):
    """A data set to measure on. A string is short for its `data`."""

    # pytest would take a class of this name for a collection of tests.
    __test__ = False

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"data": value} if isinstance(value, str) else value

    data: str
    """A file, or the name of a hub data set."""
    split: str = "test"
    """Split of a hub data set."""
    samples: int | None = Field(default=None, ge=1)
    """Number of samples, from the start. By default all."""
    prefix: str | None = None
    """Text before every source. By default the variant's own."""
    generation: dict[str, Any] = {}
    """Generation settings in place of the variant's own, such as `num_beams`."""


class Data(RecipePart):
    """The data of a recipe. Paths are relative to the data folder."""

    train: list[str] = []
    """Training files, or names of hub data sets."""
    unlabelled: list[str] = []
    """Files of texts without targets. A teacher generates the targets."""
    calibration: list[str] = []
    """Calibration files. By default the first rows of `train`."""
    dev: list[str] = []
    """Held-out files, to choose settings and to print the loss before and after a step."""
    test: list[TestSet] = []
    """Data sets on which all variants are measured at the end. They are neither training nor dev data."""
    exclude: list[str] = []
    """Held-out files, such as those of `dev` and `test`: their sources are left out of the training data."""
    mixture: dict[str, Any] = {}
    """Weights of the training data: the options that `train` has under "Mixture of the training data"."""


class RecipeStep(RecipePart):
    """One technique with its options, written as `- TECHNIQUE: {OPTION: VALUE}`.

    The keys `train`, `calibration`, `dev`, `mixture`, `unlabelled`, `exclude` and `seed` beside the options replace
    those of the recipe for this step.
    """

    technique: str
    """Name of the technique: `train`, `prune`, `distill`, `average`, `quantize` or `decode`."""
    options: dict[str, Any] = {}
    """Options of the technique."""
    data: dict[str, Any] = {}
    """Data of this step, in place of the recipe's."""

    @model_validator(mode="before")
    @classmethod
    def _from_single_key(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"technique": value}
        if not isinstance(value, Mapping) or len(value) != 1:
            raise ValueError("a step is one technique with its options, such as `- prune: {feed_forward: 0.5}`")
        ((technique, given),) = value.items()
        if given is not None and not isinstance(given, Mapping):
            raise ValueError(f"the options of {technique} are not a mapping")
        settings = given or {}
        return {
            "technique": technique,
            "data": {key: settings[key] for key in STEP_DATA if key in settings},
            "options": {key: setting for key, setting in settings.items() if key not in STEP_DATA},
        }


class RecipeVariant(RecipePart):
    """A variant: what it starts from and the steps from there."""

    start: Name | None = Field(default=None, alias="from")
    """Variant to start from. By default the base."""
    steps: list[RecipeStep] = Field(min_length=1)
    """Techniques to apply, in this order."""
    gate: Gate | None = None
    """Conditions that the variant must meet. By default none."""


class RecipeBase(RecipePart):
    """The original: what it starts from, and how it is trained from there."""

    import_: str | None = Field(default=None, alias="import")
    """Hub id or folder of the model to import."""
    options: dict[str, Any] = {}
    """Options of the import."""
    steps: list[RecipeStep] = []
    """`train` and `average` steps. Without `import`, the first one makes a new model."""
    keep: bool = False
    """Whether to use an original that is in the store already, as it is."""
    variant: Name = BASE
    """Name of the original in the store."""
    digest: str | None = None
    """Digest that an original to keep must have. By default any."""

    @model_validator(mode="after")
    def _has_a_source(self) -> "RecipeBase":
        if self.import_ is None and not self.steps and not self.keep:
            raise ValueError("a base needs `import`, `steps` or `keep: true`")
        return self


class Recipe(RecipePart):
    """A whole recipe."""

    name: Name
    """Name of the recipe, and of its build folder."""
    task: Task
    """`summarization` or `translation`."""
    family: Annotated[str, AfterValidator(_known_family)] | None = None
    """Family that the base must have. By default any."""
    description: str = ""
    """A sentence for readers of the recipe."""
    seed: int = Field(default=0, ge=0)
    """Seed of every random choice."""
    base: RecipeBase
    """The original that all variants derive from."""
    data: Data = Data()
    """Data sets for training and measuring."""
    variants: dict[Name, RecipeVariant] = Field(min_length=1)
    """The variants to make, by name."""
    benchmark: bool = True
    """Whether to measure the speed of the variants."""

    def start_of(self, name: str) -> str:
        """Returns the variant that a variant starts from."""
        return self.variants[name].start or self.base.variant

    def order(self) -> list[str]:
        """Returns the variants' names, each after what it starts from."""
        graph = {name: [self.start_of(name)] for name in self.variants}
        return [name for name in TopologicalSorter(graph).static_order() if name in self.variants]

    def requires(self) -> set[str]:
        """Returns the libraries without which a build cannot work: those of its techniques, and torch for an import."""
        libraries = {technique_named(step.technique).requires for step in steps_of(self)} - {""}
        return libraries | ({"torch"} if self.base.import_ is not None else set())


# Limit of a recipe's file. The longest recipe here has 7 kB.
MAX_BYTES = 1024 * 1024


def read_recipe(path: Path) -> Recipe:
    """Reads and checks a recipe, or raises BadRecipe, which names file and place."""
    try:
        content = yaml.safe_load(read_regular(path, MAX_BYTES).decode())
    except (OSError, UnicodeDecodeError) as error:
        raise BadRecipe(f"{path} cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # The last two are for impossible dates or numbers, and for too deep nesting.
        raise BadRecipe(f"{path.name} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise BadRecipe(f"{path.name} holds no mapping")
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        raise BadRecipe(f"{path.name}: {first_error(error, 'recipe')}") from error
    _check(recipe, path.name)
    return recipe


def _check(recipe: Recipe, file: str) -> None:
    """Checks what a schema cannot: names that refer to each other, and the options of every technique."""
    base = recipe.base.variant
    if base in recipe.variants:
        raise BadRecipe(f"{file}: variants.{base}: the base has that name")
    for name in recipe.variants:
        start = recipe.start_of(name)
        if start != base and start not in recipe.variants:
            known = ", ".join([base, *recipe.variants])
            raise BadRecipe(f"{file}: variants.{name}.from: there is no variant {start!r}; there are {known}")
    try:
        recipe.order()
    except CycleError as error:
        raise BadRecipe(f"{file}: variants: a cycle: {' from '.join(error.args[1])}") from error
    for place, steps in _places(recipe):
        for index, step in enumerate(steps):
            _check_step(recipe, step, f"{file}: {place}.steps[{index}]")
    with _at(f"{file}: data.mixture"):
        mixture_of(recipe.data.mixture)
    with _at(f"{file}: base.options"):
        import_options(recipe)


def _check_step(recipe: Recipe, step: RecipeStep, place: str) -> None:
    with _at(place):
        technique = technique_named(step.technique)
    with _at(f"{place}.{step.technique}"):
        technique.read(step.options)
        data = data_of(recipe, step)
        mixture_of(data.mixture)
        if technique.needs_data and not data.train:
            raise BadRecipe("no training data: name it under data.train")


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Turns an error in the block into BadRecipe, with the place in the recipe in front."""
    try:
        yield
    except ValidationError as error:
        raise BadRecipe(f"{place}: {first_error(error, 'value')}") from error
    except SlimseqError as error:
        raise BadRecipe(f"{place}: {error}") from error


def data_of(recipe: Recipe, step: RecipeStep) -> Data:
    """Returns the data of a step: the recipe's, except where the step names its own."""
    given = {key: value for key, value in step.data.items() if key != "seed"}
    return Data.model_validate(recipe.data.model_dump() | given)


def seed_of(recipe: Recipe, step: RecipeStep) -> int:
    return int(step.data.get("seed", recipe.seed))


def mixture_of(values: Mapping[str, Any]) -> Mixture:
    check_names([Mixture], list(values))
    return read_options(Mixture, values)


def with_import(recipe: Recipe, source: str) -> Recipe:
    """Returns a recipe that imports another model than its own, of the same family."""
    if recipe.base.import_ is None:
        raise BadRecipe(f"{recipe.name} imports no model; --import has nothing to take the place of")
    return recipe.model_copy(update={"base": recipe.base.model_copy(update={"import_": source})})


def check_family(recipe: Recipe, model_type: str) -> None:
    """Checks a recipe against the family of its base, before anything runs."""
    known = FAMILIES.get(model_type)
    family = known.artifact_family if known else None
    if recipe.family is not None and family != recipe.family:
        raise BadRecipe(f"{recipe.name} is for {recipe.family}; its base is a {family or model_type}")
    for place, steps in _places(recipe):
        for index, step in enumerate(steps):
            technique = technique_named(step.technique)
            with _at(f"{recipe.name}: {place}.steps[{index}]"):
                check_step(model_type, technique.name, technique.settings(step.options))


def steps_of(recipe: Recipe) -> list[RecipeStep]:
    """Returns the steps of the base and of all variants."""
    return [step for _, steps in _places(recipe) for step in steps]


def _places(recipe: Recipe) -> list[tuple[str, list[RecipeStep]]]:
    """Returns the steps of the base and of each variant, with their place in the recipe."""
    return [("base", recipe.base.steps), *((f"variants.{name}", each.steps) for name, each in recipe.variants.items())]


def import_options(recipe: Recipe) -> ImportOptions:
    """Returns the options with which the recipe's base is imported."""
    check_names([ImportOptions], list(recipe.base.options))
    return read_options(ImportOptions, {**recipe.base.options, "task": recipe.task, "variant": recipe.base.variant})


def shipped_recipe(name: str) -> Path:
    """Returns the file of a recipe that comes with Slimseq."""
    folder = Path(__file__).parent.parent / "recipes"
    path = folder / f"{Path(name).name.removesuffix('.yaml')}.yaml"
    if not path.exists():
        known = ", ".join(sorted(each.stem for each in folder.glob("*.yaml"))) or "none"
        raise BadRecipe(f"there is no recipe {name}; those that come with Slimseq are {known}")
    return path
