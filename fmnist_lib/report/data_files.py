"""The files of a report that no notebook shows: flat tables, trained models, what they mean."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import jinja2

from fmnist_lib.report.show import as_text, plain
from fmnist_lib.results import tables
from fmnist_lib.results.columns import COLUMNS, column, heading
from fmnist_lib.results.load import Results
from fmnist_lib.results.value import Value
from fmnist_lib.runs.plans import PAPER
from fmnist_lib.runs.record import Arrays, DamagedRecordError, encode_arrays
from fmnist_lib.runs.store import RunStore, read_arrays

WEIGHTS, BY_RECIPE = "weights.safetensors", "recipe.safetensors"
SAVED = {PAPER: WEIGHTS, "recipe": BY_RECIPE}  # the file of a model's weights, by family


def find_weights(families: Iterable[Results], own: RunStore, released: Path) -> dict[str, Arrays]:
    """The weights of each model's first seed as `MODEL/FILE`, where its record vouches for some.

    The first seed's, whatever its result: the best by test would promise too much. They come from
    this machine's store, else from the `released` report, whose records hold none. Of families that
    are not in `SAVED` there are none.
    """
    found: dict[str, Arrays] = {}
    saved = [(each, model) for each in families if each.family in SAVED for model in each.models]
    for results, model in saved:
        run, place = results.of(model)[0], f"{model}/{SAVED[results.family]}"
        here = own.path_of(run, "weights", results.rule)
        for path in (released / "models" / place, here):  # the latter, if both
            with suppress(DamagedRecordError):
                found[place] = read_arrays(path, results.kept(run).weights_sha256)
    return found


def data_files(
    results: Results, weights: Mapping[str, Arrays], study: Sequence[Results] = ()
) -> dict[str, bytes]:
    """Flat tables, each model's card and weights, and the README, by path in the report.

    Those of the paper's protocol, `results`; in `results.csv` the runs of the study come after.
    """
    models = tables.models_frame(results)
    flat = {
        "results.csv": tables.results_csv(results, *study),
        "tables/table1.csv": tables.in_file(tables.flat(models), "table1"),
        "tables/table2.csv": tables.in_file(tables.flat(models), "table2"),
        "tables/confusion.csv": tables.confusion_csv(results),
    }
    files = {path: tables.to_csv(frame) for path, frame in flat.items()}
    rows = tables.namespace(models)
    by_recipe = {m: each.of(m)[0] for each in study if each.family == "recipe" for m in each.models}
    saved = {place: encode_arrays(arrays) for place, arrays in weights.items()}
    digests = {place: hashlib.sha256(content).hexdigest() for place, content in saved.items()}
    files |= {f"models/{place}": content for place, content in saved.items()}
    for model in results.models:
        run = results.of(model)[0]
        told = {"row": rows[model], "cost": results.costs.get(model), "kept": results.kept(run)}
        told |= {"results": results, "run": run, "by_recipe": by_recipe.get(model)}
        told["digest"], told["recipe_digest"] = (
            digests.get(f"{model}/{file}") for file in (WEIGHTS, BY_RECIPE)
        )
        files[f"models/{model}/README.md"] = _filled_in("model_card.md.j2", **told)
    columns: dict[str, dict[str, None]] = {}
    for path, name in ((path, name) for path, frame in flat.items() for name in frame):
        while name and name not in COLUMNS:  # but for what all columns may have: _std, _low, …
            name = name.rpartition("_")[0]
        columns.setdefault(name, {})[Path(path).stem] = None
    files["README.md"] = _filled_in("report_readme.md.j2", results=results, columns=columns)
    return files


def _filled_in(template: str, **values: object) -> bytes:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"in_format_of": in_format_of, "literal": literal}
    environment.filters |= {"heading": heading, "column": column}
    return environment.get_template(template).render(values).encode()


def in_format_of(value: Value | None, name: str, part: str = "spread") -> str:
    """A number as a column of that name shows it, with its standard deviation or as an interval."""
    return plain(as_text(value, column(name).format, part))


def literal(text: str) -> str:
    """A string from outside, such as a record's, as code: whatever it holds, it is shown."""
    return f"`{' '.join(re.sub('[`|]', ' ', text).split())}`"
