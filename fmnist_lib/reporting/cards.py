"""A card for each model: what it is, how it was made, how good it is, and how to load it."""

from fmnist_lib.reporting import analysis, beside, findings, protocol
from fmnist_lib.reporting.analysis import Results, row_of
from fmnist_lib.reporting.markdown import code, literal, table
from fmnist_lib.reporting.say import DASH, shown
from fmnist_lib.reporting.words import join

CARD = """
# {title}

{draft}One of the six classifiers of the [report](../../index.html): images of 28×28 grey pixels to
ten classes of clothing, {parameters:,} trainable weights, {macs:,} multiply-accumulates an image.
Its architecture and what was found about it are in its [notebook](../../notebooks/{model}.ipynb).

## Results

{results}

Measured on {runs} ({seeds}), at the best epoch by the stopping rule `{rule}`; the interval is that
{over}. {spread} {ranked} Every run by itself is in [`results.csv`](../../results.csv).

## Data and protocol

FashionMNIST (Xiao, Rasul and Vollgraf, 2017, arXiv:1708.07747; MIT licence), nothing else: no
pretraining, no augmentation. What the paper leaves open is our assumption, chosen once, not tuned.

{settings}

## Meant for

Reproducing and comparing small classifiers, teaching, tests of tools that need a trained network.
Not for sorting real photographs: the model knows small, centred, grey pictures on black, and calls
anything it is shown one of its ten classes.

## Limits

- {caveat}
- The epoch was chosen by its loss on the test images, as in the paper, so the test accuracy is
  slightly too good for new images.
- Its probabilities are not calibrated.
- {times}

## The weights

{weights}
"""

WITH_WEIGHTS = """
`weights.safetensors` holds those of seed {seed} at its best epoch, which classify {accuracy:.2f} %
of the test images correctly. They are the first seed's, whatever others reached. The run is
`{run}`. SHA-256 of the file:

    {digest}

In this folder, with the project installed, this classifies an image:

{example}
"""

WITHOUT_WEIGHTS = "None are kept of these runs. `python run_all.py` trains the model again."

EXAMPLE = """
from safetensors.torch import load_model

from fmnist_lib.data.fashion_mnist import CLASS_NAMES, load
from fmnist_lib.models import build_model

model = build_model("{model}"{options})
load_model(model.eval(), "weights.safetensors")
print(CLASS_NAMES[model(load(train_images=1, test_images=1).test_images).argmax()])
"""

SPREAD = (
    "± is the standard deviation, of times over repeated timings, in the paper over the epochs of a"
    " run."
)
SPREADS = f"{SPREAD.removesuffix('.')}; of all else it is that over the runs."

MEASURES = {  # of `beside.result` and `beside.times`: format and heading
    "test_accuracy": (".2f", "Test accuracy (%)"),
    "test_loss": (".4f", "Test loss"),
    "train_accuracy": (".2f", "Train accuracy, running (%)"),
    "best_epoch": (".3g", "Best epoch"),
    "train_seconds": (".2f", "Training an epoch (s)"),
    "inference_ms": (",.0f", "Classifying the test images (ms)"),
    "latency_ms_median": (".2f", "Classifying one image, median (ms)"),
}


def model_card(results: Results, model: str, weights_sha256: str) -> str:
    """The card of a model in Markdown; an empty digest says that there are no weights."""
    found, wrong = findings.headline(results, model), findings.mistakes(results, model)
    runs = results.of(model)
    best, worst = wrong.best_class, wrong.worst_class
    text = CARD.format(
        title=found.title,
        model=model,
        draft="**Draft**, from shortened runs: its figures mean nothing. " * results.draft,
        parameters=runs[0].parameters,
        macs=runs[0].macs,
        results=_measured(results, model),
        runs=found.runs,
        seeds=f"{'seeds' if len(runs) > 1 else 'seed'} {join(run.config.seed for run in runs)}",
        rule=results.rule,
        over=found.over,
        spread=SPREADS if len(runs) > 1 else SPREAD,
        ranked=f"It does best on {best.name} (F1 {best.f1:.1f} %), worst on {worst.name} "
        f"({worst.f1:.1f} %).",
        settings=table(
            ["setting", "value", "source"],
            protocol.settings(results)[["setting", "value", "source"]].itertuples(index=False),
        ),
        caveat=found.caveat,
        times=_where_timed(results, model),
        weights=_weights(results, model, weights_sha256),
    )
    return text.lstrip()


def _measured(results: Results, model: str) -> str:
    """A table of what was measured, and of the same in the paper."""
    frames = (beside.result(results, model), beside.times(results, model))
    rows = []
    for column, (spec, heading) in MEASURES.items():
        frame = next(frame for frame in frames if column in frame)
        by_source = frame.set_index("source")
        cells = [_with_spread(by_source.loc[source], column, spec) for source in ("here", "paper")]
        rows.append([heading, *cells])
    ours = row_of(analysis.table1(results), model)
    interval = f"{ours.test_accuracy_low:.2f} to {ours.test_accuracy_high:.2f}"
    rows.insert(1, ["… its 95 % interval", interval, DASH])
    return table(["", "here", "in the paper"], rows)


def _with_spread(row: object, column: str, spec: str) -> str:
    text, spread = shown(row[column], spec), shown(row.get(f"{column}_std"), spec)
    return text if DASH in (text, spread) else f"{text} ± {spread}"


def _where_timed(results: Results, model: str) -> str:
    if not (cost := results.costs.get(model)):
        return "It was not timed."
    return (
        f"Times are those of {literal(cost.environment.cpu)}, on one thread, alone on the machine."
    )


def _weights(results: Results, model: str, digest: str) -> str:
    if not digest:
        return WITHOUT_WEIGHTS
    run = results.of(model)[0]
    options = "".join(f", {name}={value!r}" for name, value in run.config.model_options.items())
    example = code("python", EXAMPLE.format(model=model, options=options))
    return WITH_WEIGHTS.strip().format(
        seed=run.config.seed,
        accuracy=results.kept(run).test_accuracy,
        run=run.name,
        digest=digest,
        example=example,
    )
