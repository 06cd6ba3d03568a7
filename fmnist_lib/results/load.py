"""Which runs a report rests on. Accuracies are in percent, losses are means per image."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from math import nan
from operator import attrgetter

import numpy as np
from scipy import stats

from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS
from fmnist_lib.results.value import Value
from fmnist_lib.runs import plans
from fmnist_lib.runs.config import TRAIN_IMAGES, RunConfig, Stop, make_config
from fmnist_lib.runs.record import Arrays, CostRecord, RunRecord, StopResult, labels_of
from fmnist_lib.runs.store import RunStore

TESTED = ("test_loss", "test_accuracy")
REPLICATE = {"seed", "fold", "partition"}  # what tells the runs of a variant apart
WHERE = {"device", "precision"}  # of no concern to who reads a report's records
HOW = {"protocol", "folds", "stops", "max_epochs", *WHERE}  # the same of all variants of a study
HOW |= {"validation_images", "train_images", "test_images"}


@dataclass(frozen=True)
class Results:
    """Runs keyed by model and variant, then by seed and fold, at one stopping rule."""

    store: RunStore
    runs: tuple[RunRecord, ...]  # in the paper's order, the paper's variant first, then by seed
    costs: Mapping[str, CostRecord] = field(default_factory=dict)  # by model; may lack some
    rule: str = Stop().name  # the stopping rule that everything is read at
    origin: str = ""  # where the records come from, for the reader
    family: str = plans.PAPER
    variant: str = plans.PAPER  # of each model, what is read

    @property
    def draft(self) -> bool:
        """Whether any run is shortened."""
        return any(run.config.shortened for run in self.runs)

    @cached_property
    def _keyed(self) -> dict[tuple[str, str], list[RunRecord]]:
        keyed: dict[tuple[str, str], list[RunRecord]] = {}
        chosen = plans.FAMILIES[self.family].search  # one recipe a model: how it is trained
        for run in self.runs:
            variant = plans.PAPER if chosen else variant_of(run.config)
            keyed.setdefault((run.config.model, variant), []).append(run)
        return keyed

    @property
    def variants(self) -> list[tuple[str, str]]:
        """Each model with each variant there are runs of."""
        return [*self._keyed]

    @property
    def models(self) -> list[str]:
        """The models there are runs of in the variant that is read, in the paper's order."""
        return [model for model, variant in self._keyed if variant == self.variant]

    def of(self, model: str) -> list[RunRecord]:
        """The runs of a model by seed and fold; raises `UserError` if there is none."""
        if (model, self.variant) not in self._keyed:
            raise UserError(f"no results for {model!r}")
        return self._keyed[model, self.variant]

    def kept(self, run: RunRecord) -> StopResult:
        """What the stopping rule kept of a run; one that holds a fold out is tested on that."""
        kept = run.stops[self.rule]
        if run.config.protocol != "fold":
            return kept
        return kept.model_copy(update={n: getattr(kept, n.replace("test", "fold")) for n in TESTED})

    @property
    def folding(self) -> dict[str, float]:
        """Of runs that hold folds out: `folds`, and images `tested` on by images trained on."""
        config = self.runs[0].config
        if config.protocol != "fold":
            return {}
        tested = (config.train_images or TRAIN_IMAGES) / config.folds
        return {"folds": config.folds, "tested": tested / config.trained_images}

    def predictions(self, run: RunRecord) -> Arrays:
        """As in the store, at the rule, with the `true` classes and which are `right`."""
        found = self.store.arrays(run, "predictions", self.rule)
        true = labels_of("test", run.config.test_images).numpy()
        return {**found, "true": true, "right": found["predicted"] == true}

    def shares_right(self, model: str) -> np.ndarray:
        """For each test image (N,), the share of the model's runs that get it right, 0 to 1."""
        return np.mean([self.predictions(run)["right"] for run in self.of(model)], axis=0)

    def longer(self) -> "Results | None":
        """The runs that were also kept at a longer patience, at the longest; None without any."""
        own = self.kept(self.runs[0]).rule
        rules = {kept.rule for run in self.runs for kept in run.stops.values()}
        alike = [rule for rule in rules if rule.monitor == own.monitor]
        rule = max(alike, key=attrgetter("patience"))
        runs = tuple(run for run in self.runs if rule.name in run.stops)
        return replace(self, runs=runs, rule=rule.name) if rule != own else None


def load_results(
    store: RunStore, configs: Iterable[RunConfig], *, rule: str = Stop().name, **known: str
) -> Results:
    """The results of those of `configs` that the store has a record of, with the newest costs.

    What is `known` of them besides is their `origin` and `family`. Raises `UserError` for no record
    at all, one without the stopping rule, or runs of one variant that differ in more than seed and
    fold, whose mean would mean nothing.
    """
    wanted = {config.name: config for config in configs}
    found = [run for config in wanted.values() if (run := store.find(config)) is not None]
    if not found:
        raise UserError(f"{store.folder}: no record of {', '.join(wanted) or 'any run'}")
    results = Results(store, tuple(sorted(found, key=_place)), rule=rule, **known)
    for runs in results._keyed.values():
        for run in runs:
            if rule not in run.stops:
                there = ", ".join(run.stops)
                raise UserError(f"{run.name}: no result for rule {rule!r}; there are: {there}")
            if run.config.differs(runs[0].config, ignoring=REPLICATE):
                raise UserError(f"{run.name} and {runs[0].name} differ in more than the seed")
    return replace(results, costs=_newest_costs(results))


def _place(run: RunRecord) -> tuple:
    config, variant = run.config, variant_of(run.config)
    replicate = config.seed, config.partition, config.fold or 0
    return [*MODELS].index(config.model), variant != plans.PAPER, variant, *replicate


def _newest_costs(results: Results) -> dict[str, CostRecord]:
    """The newest costs of one machine: that of the most models, else the one last used.

    Of models without runs too: the ruler of a time is that of all that were timed beside it. What
    holds images out is no matter: a time is scaled to all of them.
    """
    timed = {model: _as_timed(results.of(model)[0].config) for model in results.models}
    machines: dict[tuple[str, str], dict[str, CostRecord]] = {}
    for cost in sorted(results.store.costs(), key=lambda cost: cost.environment.finished)[::-1]:
        config = timed.get(cost.model, next(iter(timed.values()), None))
        if cost.turns and config and not cost.config.differs(config, ignoring={"seed", "model"}):
            machine = cost.environment.cpu, cost.environment.packages.get("torch", "")
            machines.setdefault(machine, {}).setdefault(cost.model, cost)
    return max(machines.values(), key=lambda costs: len(costs.keys() & timed.keys()), default={})


def _as_timed(config: RunConfig) -> RunConfig:
    """A run as its model is timed: alone, by a processor unless it is of the paper's protocol."""
    if config.protocol == "paper" and not config.epochs:
        return config
    kept = config.model_dump(include={"model", "train_images", "test_images", "max_epochs"})
    return RunConfig(**kept)


def recorded_family(
    store: RunStore, profile: str, family: str, **chosen: object
) -> list[RunConfig]:
    """Those runs of a family that the store has, all of the kind of device that trained the most.

    Results of a GPU and of a processor are never mixed. `chosen` is what `plan` takes.
    """
    there = set(store.names())
    by_device = [
        plans.plan(profile, families=family, device=device, **chosen) for device in ("cuda", "cpu")
    ]
    return max(([c for c in configs if c.name in there] for configs in by_device), key=len)


def as_recorded(store: RunStore, configs: Iterable[RunConfig]) -> list[RunConfig]:
    """Each run as the store has it: itself, else one that differs in `WHERE` alone.

    What the store does not have stays as it is; the stopping rules are those asked for.
    """
    names = {*store.names()}

    def nearest(config: RunConfig) -> RunConfig:
        runs = () if config.name in names else store.readable(f"{config.model}-s{config.seed}-")
        alike = [run.config for run in runs if not run.config.differs(config, ignoring=WHERE)]
        return alike[-1] if alike else config

    return [nearest(config).model_copy(update={"stops": config.stops}) for config in configs]


def variant_of(config: RunConfig) -> str:
    """The name of a run's variant in `plans`, else what sets it apart from the paper's, as JSON."""
    apart = _apart(config)
    return _planned().get((config.model, apart), apart)


def _apart(config: RunConfig) -> str:
    ignored = {"model", *REPLICATE, *HOW}
    apart = config.model_dump(mode="json", exclude_defaults=True, exclude=ignored)
    return json.dumps(apart, sort_keys=True) if apart else plans.PAPER


@cache
def _planned() -> dict[tuple[str, str], str]:
    variants = (*plans.ABLATED, *plans.DESIGNS, *plans.VARIED, *plans.AUGMENTED)
    return {(v.model, _apart(make_config(model=v.model, **v.settings))): v.name for v in variants}


def names_of(runs: Iterable[RunRecord]) -> list[str]:
    """The runs as sources."""
    return [run.name for run in runs]


def over_runs(runs: Sequence[RunRecord], numbers: Sequence[float]) -> Value:
    """The mean of a number that each run has, its spread and 95 % interval (t), and the parts."""
    parts = {_replicate(run.config): float(n) for run, n in zip(runs, numbers, strict=True)}
    return _over(parts, names_of(runs))


def paired(after: Value, before: Value) -> Value:
    """As `over_runs`, the difference of two means over the seeds and folds that both have."""
    common = [part for part in after.parts if part in before.parts]
    return _over({part: after.parts[part] - before.parts[part] for part in common}, after, before)


def _over(parts: Mapping[str, float], *of: object) -> Value:
    numbers, df = [*parts.values()], len(parts) - 1
    mean = float(np.mean(numbers)) if numbers else nan
    std = float(np.std(numbers, ddof=1)) if df > 0 else nan
    reach = stats.t.ppf(0.975, df) * std / np.sqrt(df + 1)
    return Value(mean, *of, std=std, low=mean - reach, high=mean + reach, parts=parts)


def _replicate(config: RunConfig) -> str:
    fold = "" if config.fold is None else f", partition {config.partition}, fold {config.fold}"
    return f"seed {config.seed}{fold}"
