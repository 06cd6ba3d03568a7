"""Which runs there are: families, each with the question it answers; profiles choose among them.

Times are those of one core of 2020 and of one NVIDIA H100 with 30 runs side by side, both rough.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS
from fmnist_lib.runs.config import MAX_SEED, RunConfig, Stop, make_config
from fmnist_lib.runs.record import RunRecord

Chosen = dict[str, Any]

PATIENT = {"stops": (Stop(), Stop(patience=20))}
ON_VALIDATION = Stop(monitor="validation_loss"), Stop(monitor="validation_loss", patience=20)
SPLIT = {"protocol": "split", "stops": (Stop(), *ON_VALIDATION)}
SHORT = {**SPLIT, "stops": SPLIT["stops"][:2]}  # patience 5 alone: half the epochs
FOLD = {**SHORT, "protocol": "fold", "validation_images": 4_800}
SEARCH = {"protocol": "split", "validation_images": 6_000}
SMOKE = {"train_images": 640, "test_images": 500, "max_epochs": 2}
MOST_SEEDS = 1000  # at once: a plan is made of each

PAPER = "paper"  # the variant that the paper describes


@dataclass(frozen=True)
class Variant:
    """A model and what sets it apart from the one in the paper."""

    model: str
    name: str = PAPER
    settings: Chosen = field(default_factory=dict)


def options(model: str, name: str, **changed: Any) -> Variant:  # noqa: ANN401, as in build_model
    """Return a variant that differs in the model's own options."""
    return Variant(model, name, {"model_options": changed})


def all_models(name: str = PAPER, **settings: Any) -> tuple[Variant, ...]:  # noqa: ANN401
    """Return one variant of each of the six models."""
    return tuple(Variant(model, name, settings) for model in MODELS)


@dataclass(frozen=True)
class Family:
    """Runs that answer one question: every variant with every seed (or fold)."""

    variants: Sequence[Variant] = ()
    settings: Chosen = field(default_factory=dict)
    seeds: str = "0-4"
    folds: Sequence[Chosen] = ({},)  # of each seed
    reduced: Chosen = field(default_factory=dict)  # fields of this class, on a processor
    search: str = ""  # the family whose best settings of each model are the variants
    quickest: bool = False  # not the best: the quickest that is as good as the paper's


FULL_CONVOLUTIONS = options("mobilenet_lite", "full convolutions", separable=False)  # timed too

ABLATED = (  # the parts that the paper's claims are about
    options("resnet_mini", "no shortcuts", shortcuts=False),
    options("densenet_tiny", "plain blocks", dense=False),
    FULL_CONVOLUTIONS,
    options("lenet5", "relu", activation="relu"),
    options("lenet5", "batch norm", batch_norm=True),
    options("lenet5", "relu + batch norm", activation="relu", batch_norm=True),
    options("lenet5", "half dense", dense=[60, 42]),
    options("lenet5", "quarter dense", dense=[30, 21]),
)
DESIGNS = (
    options("resnet_mini", "widths 8-16-32", widths=[8, 16, 32]),
    options("resnet_mini", "widths 16-32-64", widths=[16, 32, 64]),  # as the paper's text has it
    options("resnet_mini", "1 block a stage", blocks_per_stage=1),
    options("resnet_mini", "3 blocks a stage", blocks_per_stage=3),
    options("densenet_tiny", "growth 4", growth_rate=4),
    options("densenet_tiny", "growth 12", growth_rate=12),
    options("mobilenet_lite", "stride", downsample="stride"),
    options("vit_tiny", "depth 1", depth=1),
    options("vit_tiny", "depth 6", depth=6),
    options("vit_tiny", "patch 7", patch=7),
    options("vit_tiny", "dropout 0.1", dropout=0.1),
    options("baseline_cnn", "no dropout", dropout=0.0),
)

RATES = *all_models("rate 3e-4", learning_rate=3e-4), *all_models("rate 3e-3", learning_rate=3e-3)
VARIED = (
    *RATES,
    *all_models("batch 32", batch_size=32),
    *all_models("batch 128", batch_size=128),
    *all_models("sgd", optimizer="sgd", momentum=0.9, learning_rate=0.05),
)

AUGMENTED = *all_models("mixup", augment="mixup"), *all_models("flip+shift", augment="flip+shift")

ONE_CYCLE = {"optimizer": "adamw", "schedule": "onecycle"}
RECIPE = {**ONE_CYCLE, "average": 0.998, "augment": "flip", "weight_decay": 0.01}
RECIPES = tuple(  # searched on seed 100; at most eight a model
    variant
    for epochs in (40, 80)
    for rate in (3e-3, 1e-2, 1e-3, 3e-2)
    for variant in all_models(**RECIPE, epochs=epochs, learning_rate=rate)
)
QUICK = tuple(
    variant
    for epochs in (4, 6, 8, 12)
    for rate in (1e-2, 3e-3)
    for variant in all_models(**ONE_CYCLE, epochs=epochs, learning_rate=rate)
)

TWICE_FIVE = [{"partition": partition, "fold": fold} for partition in (0, 1) for fold in range(5)]

FAMILIES: Mapping[str, Family] = {
    # What the paper's protocol gives. 30 runs, 25 core hours, always on a processor.
    "paper": Family(all_models(), PATIENT),
    # How accurate the models are when validation images choose, and how much choosing by test
    # images flatters. 60 runs, 45 core hours or 30 min on a GPU; reduced 30.
    "split": Family(all_models(), SPLIT, seeds="0-9", reduced={"seeds": "0-4"}),
    # Whether ranks and verdicts hold in five-fold cross-validation.
    # 60 runs, 8 core hours or 9 min; reduced 30, one partition.
    "folds": Family(
        all_models(), FOLD, seeds="0", folds=TWICE_FIVE, reduced={"folds": TWICE_FIVE[:5]}
    ),
    # Which part of a model matters (C11, C16, C17, C18). 40 runs, 10 core hours or 6 min;
    # reduced 24.
    "ablations": Family(ABLATED, SHORT, reduced={"seeds": "0-2"}),
    # What augmentation brings each model (C19). 60 runs, 20 core hours or 15 min; reduced 24.
    "augment": Family(AUGMENTED, SHORT, reduced={"seeds": "0-1"}),
    # Other widths, depths and growth rates, the paper's future work. 60 runs, 30 core hours or
    # 18 min; reduced 36.
    "designs": Family(DESIGNS, SHORT, reduced={"seeds": "0-2"}),
    # Which epochs and rate of the recipe suit each model, on validation images.
    # 48 runs, 90 core hours or 50 min; reduced 18, three settings a model.
    "recipe-search": Family(
        RECIPES, SEARCH, seeds="100", reduced={"variants": RECIPES[: 3 * len(MODELS)]}
    ),
    # What nets of these sizes can reach, on all training images; test images count once.
    # 30 runs; reduced 18.
    "recipe": Family(search="recipe-search", reduced={"seeds": "0-2"}),
    # How few epochs reach the paper's accuracy, on validation images.
    # 48 runs, 4 core hours or 8 min.
    "quick-search": Family(QUICK, SEARCH, seeds="100"),
    # The paper's accuracies in a fraction of time, likewise. 30 runs; reduced 18.
    "quick": Family(search="quick-search", quickest=True, reduced={"seeds": "0-2"}),
    # Whether the order of the models hangs on Adam at 1e-3 with batches of 64: rank correlations,
    # each run against those (Holm). 90 runs, 70 core hours or 50 min; reduced 12, rates alone.
    "sensitivity": Family(VARIED, SHORT, seeds="0-2", reduced={"seeds": "0", "variants": RATES}),
}
"""In the order in which they are trained."""

PAPER_ACCURACY = dict(zip(MODELS, (89.07, 91.10, 89.71, 91.55, 88.09, 90.04), strict=True))
"""In percent, Table 1 of the paper."""

IN_REPORT = ("split", "folds", "ablations", "augment")  # and the paper's
IN_REPORT += ("recipe-search", "recipe", "quick-search", "quick")

ONCE = Family(all_models(), seeds="0")  # one run a model, by the paper's protocol
PROFILES = ("smoke", "paper", "quick", "study")
Find = Callable[[RunConfig], RunRecord | None]  # the record of a run, if there is one


def plan(profile: str, **chosen: Any) -> list[RunConfig]:  # noqa: ANN401
    """Return the runs of `plan_families` in one list; of `smoke` those of the paper's protocol."""
    found = plan_families(profile, **chosen)
    return found.get("") or [config for configs in found.values() for config in configs]


def plan_families(
    profile: str,
    *,
    families: str = "",
    seeds: str = "",
    find: Find = lambda config: None,
    **chosen: str,
) -> dict[str, list[RunConfig]]:
    """Return the runs of each of a profile's families, model by model in the paper's order.

    `smoke`: shortened runs of whatever a report shows; `paper`: one a model, in a family without a
    name; `quick`: one of each model's quickest recipe; `study`: all families. `families`, `models`
    and `seeds` as on the command line; empty means the profile's or a family's own. A search keeps
    its seeds in any case. Unless named, the paper's family is a processor's. What a search decides
    is read from the records that `find` returns, and left out for a model whose search is not
    whole. Raises `UserError` for anything unknown.
    """
    if profile not in PROFILES:
        raise UserError(f"profile: unknown {profile!r}; allowed: {', '.join(PROFILES)}")
    known = FAMILIES
    if profile == "paper" and not families:
        known = {"": ONCE}
    elif profile == "smoke":
        known = {"": replace(ONCE, settings=SMOKE)} | {name: in_small(name) for name in IN_REPORT}
    elif profile == "quick":
        families, seeds = "quick", seeds or "0"
    names = parse_names("families", families, known)
    if "paper" in names and chosen.get("device") == "cuda" and not families.strip():
        names.remove("paper")
    found = {}
    for name in names:
        family = known[name]
        if family.search:
            family = replace(family, variants=decided(family, find, **chosen))
        found[name] = runs_of(family, seeds="" if name.endswith("-search") else seeds, **chosen)
    return found


def in_small(name: str) -> Family:
    """Return a family with one shortened run of each variant; a search tries one recipe alone."""
    family = FAMILIES[name]
    if family.search:
        return replace(in_small(family.search), settings=SMOKE)
    variants = family.variants
    if name == "ablations" or name.endswith("-search"):  # one a model, so that any has some
        variants = [*{v.model: v for v in reversed((*variants, *DESIGNS))}.values()]
    settings = {**family.settings, **SMOKE, "validation_images": 64}
    folds = [{"folds": 2, "fold": fold} for fold in range(2)] if name == "folds" else family.folds
    return replace(family, variants=variants, settings=settings, folds=folds, seeds="0", reduced={})


def runs_of(family: Family, *, models: str = "", seeds: str = "", **how: str) -> list[RunConfig]:
    """Return a family's runs model by model: all on a GPU, on a processor the reduced number."""
    if how.get("device") != "cuda":
        family = replace(family, **family.reduced)
    return [
        make_config(model=model, seed=seed, **family.settings | variant.settings | fold | how)
        for model in parse_models(models)
        for variant in family.variants
        if variant.model == model
        for seed in parse_seeds(seeds or family.seeds)
        for fold in family.folds
    ]


def decided(family: Family, find: Find, *, models: str = "", **how: str) -> list[Variant]:
    """Return the variants that a family's search found best, of each of the models."""
    search, variants = FAMILIES[family.search], []
    for model in parse_models(models):
        tried = [find(config) for config in runs_of(search, models=model, **how)]
        if all(tried):  # the search is whole
            best = best_of(tried, quickest=family.quickest).config
            apart = {"model", "seed", "stops", *SEARCH, *how}
            settings = best.model_dump(exclude_defaults=True, exclude=apart)
            variants.append(Variant(model, settings=settings))
    return variants


def best_of(records: Sequence[RunRecord], *, quickest: bool) -> RunRecord:
    """Return the run that validation images say is best, or the quickest of those good enough."""

    def accuracy(record: RunRecord) -> float:
        return record.history[-1].validation_accuracy

    enough = [r for r in records if quickest and accuracy(r) >= PAPER_ACCURACY[r.config.model]]
    default = max(records, key=accuracy)
    return min(enough, key=lambda r: (r.config.epochs, -accuracy(r)), default=default)


def parse_names(what: str, text: str, allowed: Collection[str]) -> list[str]:
    """Return the names in `a,b`, each once in the order of those allowed; all for an empty text."""
    names = [name.strip() for name in text.split(",")] if text.strip() else allowed
    for name in names:
        if name not in allowed:
            known = ", ".join(filter(None, allowed))
            raise UserError(f"{what}: unknown {name!r}; allowed: {known}")
    return [name for name in allowed if name in names]


def parse_models(text: str) -> list[str]:
    """Return the models named in `a,b`, in the paper's order; all of them for an empty text."""
    return parse_names("models", text, MODELS)


def parse_seeds(text: str) -> list[int]:
    """Return the seeds of a text like `0-4,7`, each once, ascending; a thousand at most."""
    seeds: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,10})(?:\s*-\s*(\d{1,10}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last <= MAX_SEED:
            raise UserError(f"seeds: cannot read {part.strip()!r}; allowed: e.g. 0 or 0-4,7")
        seeds |= set(range(first, min(last, first + MOST_SEEDS) + 1))
        if len(seeds) > MOST_SEEDS:
            raise UserError(f"seeds: too many by {part.strip()!r}; allowed: {MOST_SEEDS} at once")
    return sorted(seeds)
