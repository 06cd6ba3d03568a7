"""Small executed notebooks, made up here, with outputs like those of real ones; not a test."""

import base64
import io

from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

MODELS = {
    "lenet5": "LeNet-5",
    "resnet_mini": "ResNet-Mini",
    "densenet_tiny": "DenseNet-Tiny",
    "mobilenet_lite": "MobileNet-Lite",
    "vit_tiny": "ViT-Tiny",
    "baseline_cnn": "Custom CNN",
}
SEEDS = range(5)
LONG_LINE = "total = " + " + ".join(f"term_{n}" for n in range(40)) + "  # the end of the line"


def text(source, *tags):
    return new_markdown_cell(source, metadata={"tags": list(tags)})


def code(source, *outputs, tags=()):
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})


def shown(html, *tags, source="show(it)"):
    output = new_output("display_data", {"text/html": html, "text/plain": "plain"})
    return code(source, output, tags=tags)


def say(html, *tags):
    return shown(f'<div class="say">{html}</div>', "hide-input", *tags, source="say('hidden')")


def figure(name):
    drawing, image = Figure(figsize=(5, 3)), io.BytesIO()
    drawing.subplots().plot([1, 3, 2])
    drawing.savefig(image, format="svg", metadata={"Date": None})
    data = base64.b64encode(image.getvalue()).decode()
    return shown(
        f'<figure class="figure" id="fig-{name}"><img alt="A line that rises and falls" '
        f'src="data:image/svg+xml;base64,{data}"><figcaption>Caption {name}.</figcaption></figure>'
    )


def table(name, columns=3, value="91.25"):
    head = "".join(f"<th>column {n}</th>" for n in range(columns))
    rows = "".join(
        f"<tr><td>Model {n}</td>" + f"<td>{value}</td>" * columns + "</tr>" for n in range(3)
    )
    return shown(
        f'<figure class="table" id="tab-{name}"><figcaption>Caption {name}.</figcaption><table>'
        f"<thead><tr><th>model</th>{head}</tr></thead><tbody>{rows}</tbody></table></figure>"
    )


def stream(words, name="stderr"):
    return new_output("stream", name=name, text=words)


def references(*items):
    return text("## References\n\n" + "\n".join(f"1. {item}" for item in items), "references")


XIAO = '<a id="ref-xiao"></a>Xiao et al., *Fashion-MNIST*, <https://arxiv.org/abs/1708.07747>'
LECUN = '<a id="ref-lecun"></a>LeCun et al., *Gradient-based learning*'


# --- a report for readers: marked values, rows and figures of models, runs in the appendix ---


def runs_of(model):
    return [f"{model}-s{seed}-{place:012x}" for place, seed in enumerate(SEEDS, start=10)]


def value(words, source, at, spread=""):
    spread = f' data-spread="{spread}"' if spread else ""
    return f'<span class="value" data-source="{source}" data-at="{at}"{spread}>{words}</span>'


def frame(name, head, rows, caption="Made up."):
    """A table of rows as (attributes, heading, cells)."""
    head = "".join(f"<th>{words}</th>" for words in head)
    body = "".join(
        f"<tr {attributes}><th>{heading}</th>"
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
        for attributes, heading, cells in rows
    )
    return shown(
        f'<figure class="table" id="tab-{name}"><figcaption>{caption}</figcaption><table><thead>'
        f"<tr>{head}</tr></thead><tbody>{body}</tbody></table></figure>"
    )


TABLE1 = {
    "test_accuracy": ("Test accuracy (%)", "{} ± 0.21"),
    "interval": ("95 % interval", "88.58 – 89.79"),
    "paper": ("paper", "89.07"),
    "difference": ("difference", "−{}"),
    "best_epoch": ("Best epoch", "15.2 ± 3.1"),
    "paper_epoch": ("paper", "29"),
    "train_accuracy": ("Train accuracy (%)", "92.02 ± 0.41"),
    "paper_train": ("paper", "90.62"),
    "test_loss": ("Test loss", "0.2611 ± 0.0031"),
    "paper_loss": ("paper", "0.2488"),
    "train_loss": ("Train loss", "0.2189 ± 0.0102"),
    "paper_train_loss": ("paper", "0.2596"),
    "parameters": ("Parameters", "{}"),
}
ACCURACIES = ("89.20", "90.48", "90.64", "–", "88.52", "90.43")
PARAMETERS = ("61,706", "11,402", "11,666", "14,218", "105,546", "6,330")


def table1():
    rows = []
    for model, accuracy, parameters in zip(MODELS, ACCURACIES, PARAMETERS, strict=True):
        cells = []
        for column, (_, form) in TABLE1.items():
            source = "paper" if "paper" in column else " ".join(runs_of(model))
            if column == "parameters":
                source, words = f"model:{model}", parameters
            else:
                words = accuracy if accuracy == "–" else form.format(accuracy)
            spread = "standard deviation 0.21 over 5 runs" if "±" in words else ""
            cells.append(value(words, source, f"table1/{model}/{column}", spread))
        rows.append((f'data-model="{model}"', MODELS[model], cells))
    return frame("table1", ["Model", *(heading for heading, _ in TABLE1.values())], rows)


def runs_table():
    rows = [
        (
            f'data-run="{run}"',
            run,
            [str(seed), "20", f"2026-11-{25 - seed} 22:16", "c0ffee123456", "1"],
        )
        for model in MODELS
        for seed, run in zip(SEEDS, runs_of(model), strict=True)
    ]
    return frame("runs", ["Run", "Seed", "Epochs", "Started (UTC)", "Commit", "Environment"], rows)


def model_figure(name):
    drawing, image = Figure(figsize=(6, 3)), io.BytesIO()
    axes = drawing.subplots()
    for place, (model, title) in enumerate(MODELS.items()):
        axes.plot([0, 1, 2], [place, place + 0.5, place], marker="o", gid=f"model-{model}")
        axes.text(2.1, place, title, gid=f"model-{model}-2")
    drawing.savefig(image, format="svg", metadata={"Date": None})
    data = base64.b64encode(image.getvalue()).decode()
    return shown(
        f'<figure class="figure" id="fig-{name}"><img alt="A line for each model" '
        f'src="data:image/svg+xml;base64,{data}"><figcaption>Lines {name}.</figcaption></figure>'
    )


def report_notebooks():
    """Two notebooks as `execute_notebooks` leaves them, with all that the page can do."""
    runs = runs_of("lenet5")
    every = " ".join(run for model in MODELS for run in runs_of(model))
    one = value("89.20", runs[0], "found.accuracy", "95 % interval 88.58 to 89.79")
    many = value("90.13", every, "found.mean")
    timed = value("4.2", "costs/lenet5-7ef21c82adc7", "found.seconds")
    reported = value("89.07", "paper", "found.paper")
    words = "A sentence that says nothing, again and again, to be scrolled past. " * 20
    machine = [("", "Processor", ["A processor", "Another"]), ("", "Cores", ["2", "4"])]
    comparison = [
        text('# Results <a id="sec-results"></a>\n\nThe first words [](#ref-paper).'),
        say(f"<p>What was found: {one} %, and {timed} s.</p>", "abstract"),
        code(LONG_LINE),
        text("## Accuracy"),
        say(f"<p>On average {many}, by the paper {reported}; see <a href='#tab-table1'></a>.</p>"),
        table1(),
        text(words),
        text("## Curves"),
        model_figure("curves"),
        text(words),
        text("## The runs", "appendix"),
        runs_table(),
        frame("environments", ["", "Environment 1", "Environment 2"], machine),
        references('<a id="ref-paper"></a>Edén Wallberg and Karolin, *Benchmarking*', LECUN),
    ]
    for cell in comparison[-3:-1]:
        cell.metadata.tags.append("appendix")
    net = [
        text("# LeNet-5"),
        text(words),
        text("## Training"),
        figure("net"),
        code("train()"),
        text(words),
    ]
    return [
        new_notebook(cells=comparison, metadata={"name": "comparison"}),
        new_notebook(cells=net, metadata={"name": "lenet5"}),
    ]
