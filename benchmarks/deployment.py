"""The released models outside PyTorch, as trained and in eight bits: `deployment.py --help`.

Each is exported to ONNX for single images, checked against PyTorch on every test image, quantised
after training (weights per channel, activations by training images), and timed image by image on
one thread, all models and forms in turns.
"""

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import safetensors.torch
import torch
from common import Parser, between, measured_on, publish, table

from fmnist_lib.data.fashion_mnist import Dataset, load
from fmnist_lib.errors import UserError
from fmnist_lib.models import MODELS, build_model
from fmnist_lib.paths import REPORT
from fmnist_lib.runs.plans import parse_models
from fmnist_lib.training.loop import one_thread

NEEDED = ("onnx", "onnxscript", "onnxruntime")
CALIBRATION_IMAGES = 500
TIMED_IMAGES = 200  # in a round

Predict = Callable[[np.ndarray], np.ndarray]  # (1, 1, 28, 28) → (1, 10)


def export(network: torch.nn.Module, path: Path) -> None:
    """Write a network for single images as ONNX, without the names of this machine's files."""
    import onnx

    image = (torch.zeros(1, 1, 28, 28),)
    names = {"input_names": ["image"], "output_names": ["logits"]}
    torch.onnx.export(
        network, image, path, dynamo=True, external_data=False, verbose=False, **names
    )
    model = onnx.load(path)
    for part in (model, model.graph, *model.graph.node):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, path)


def quantise(exported: Path, path: Path, images: np.ndarray) -> None:
    """Write an exported network with weights and activations of eight bits."""
    from onnxruntime import quantization

    class Images(quantization.CalibrationDataReader):
        """Some training images (N, 1, 28, 28), one by one, whose ranges the activations get."""

        def __init__(self) -> None:
            self.left = iter(images[:, None])

        def get_next(self) -> dict[str, np.ndarray] | None:
            """Return the next image, None after the last."""
            image = next(self.left, None)
            return None if image is None else {"image": image}

    with TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quantization.shape_inference.quant_pre_process(exported, prepared)
        layers = ["Conv", "Gemm", "MatMul"]
        quantization.quantize_static(
            prepared, path, Images(), per_channel=True, op_types_to_quantize=layers
        )


def in_runtime(path: Path) -> Predict:
    """Return what a file predicts, by ONNX Runtime on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda image: session.run(["logits"], {"image": image})[0]


def in_pytorch(network: torch.nn.Module) -> Predict:
    """Return what a network predicts."""
    return lambda image: network(torch.from_numpy(image)).numpy()


def singly(images: torch.Tensor) -> Iterator[np.ndarray]:
    """Yield images (N, 1, 28, 28) as batches of one."""
    return iter(images.numpy()[:, None])


def milliseconds(predict: Predict, images: torch.Tensor) -> float:
    """Return the median time of an image."""
    times = []
    for image in singly(images):
        started = time.perf_counter()
        predict(image)
        times.append(time.perf_counter() - started)
    return 1000 * median(times)


def forms_of(
    model: str, data: Dataset, folder: Path
) -> tuple[list[Predict], list[dict[str, object]]]:
    """Return a model in each of its forms, and a row of each: its size and what it predicts."""
    weights, network = REPORT / "models" / model / "weights.safetensors", build_model(model)
    network.load_state_dict(safetensors.torch.load_file(weights))
    exported, small = (folder / f"{model}{end}" for end in (".onnx", ".int8.onnx"))
    export(network.eval(), exported)
    quantise(exported, small, data.train_images[:CALIBRATION_IMAGES].numpy())
    forms = {
        "pytorch": (weights, in_pytorch(network)),
        "onnx": (exported, in_runtime(exported)),
        "int8": (small, in_runtime(small)),
    }
    found = {
        form: np.array([predict(image).argmax() for image in singly(data.test_images)])
        for form, (_, predict) in forms.items()
    }
    return [predict for _, predict in forms.values()], [
        {
            "model": model,
            "form": form,
            "bytes": file.stat().st_size,
            "test_accuracy": 100 * float(np.mean(found[form] == data.test_labels.numpy())),
            "same_predictions": int(np.sum(found[form] == found["pytorch"])),
        }
        for form, (file, _) in forms.items()
    ]


@torch.inference_mode()
def measure(models: Sequence[str], folder: Path, rounds: int) -> list[dict[str, object]]:
    """Return a row a model and form: its size, what it predicts, and its time for an image."""
    data, forms, rows = load(), [], []
    for model in models:
        print(f"{model}: exporting, quantising, classifying", file=sys.stderr)
        runnable, found = forms_of(model, data, folder)
        forms += runnable
        rows += found
    timed, turns = data.test_images[:TIMED_IMAGES], []
    for number in range(rounds):
        print(f"timing, round {number + 1} of {rounds}", file=sys.stderr)
        turns.append([milliseconds(predict, timed) for predict in forms])
    for row, times in zip(rows, np.transpose(turns), strict=True):
        row["latency_ms"], row["latency_ms_std"] = np.median(times), np.std(times)
    return rows


def cells(row: dict[str, object]) -> list[str]:
    """Return a row for readers."""
    return [
        *(MODELS[row["model"]].title, row["form"], f"{row['bytes']:,}"),
        *(f"{row['test_accuracy']:.2f}", f"{row['same_predictions']:,}"),
        f"{row['latency_ms']:.3f} ± {row['latency_ms_std']:.3f}",
    ]


def run(options: argparse.Namespace) -> None:
    """Export, check, measure. Raises `UserError`."""
    models = parse_models(options.models)
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            raise UserError(f"{name} is not installed: pip install -e '.[deployment]'")
    where = measured_on(*NEEDED)
    options.files.mkdir(parents=True, exist_ok=True)
    with one_thread():
        rows = measure(models, options.files, options.rounds)
    head = ["model", "form", "bytes", "test accuracy (%)", "same as PyTorch", "ms an image"]
    section = (
        f"{where}; one thread; medians and standard deviations of {options.rounds} rounds of "
        f"{TIMED_IMAGES} images.\n\n{table(head, map(cells, rows))}"
    )
    publish("deployment", section, rows, options.output, whole=models == list(MODELS))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = Parser("deployment.py", "Export the released models to ONNX, check and time them.")
    add, files = parser.add_argument, Path(__file__).with_name("onnx")
    add("--models", default="", metavar="a,b", help="these models only (default: all six)")
    add("--rounds", type=between(1), default=20, metavar="N", help="default: %(default)s")
    add("--files", type=Path, default=files, metavar="DIR", help="of the exported models")
    add("--output", type=Path, metavar="CSV", help="default, if all was measured: beside this file")
    return parser.carry_out(run, arguments)


if __name__ == "__main__":
    sys.exit(main())
