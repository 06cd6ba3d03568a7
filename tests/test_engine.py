"""Engines: the same mathematics, compiled code from a checked cache, and what `auto` takes."""

import pytest
import torch
from made_up import make_run

from fmnist_lib.commands.job import Job, Report
from fmnist_lib.commands.pipeline import settle_engines, train_missing
from fmnist_lib.models import MODELS
from fmnist_lib.runs.config import make_config
from fmnist_lib.runs.plans import plan
from fmnist_lib.runs.run import run_experiment
from fmnist_lib.runs.store import RunStore
from fmnist_lib.training import engine
from fmnist_lib.training.engine import CompilationError, make_forward, resolve_auto
from fmnist_lib.training.loop import place_model

SHORT = {"train_images": 256, "test_images": 200, "max_epochs": 1}
needs_compiler = pytest.mark.skipif(not engine.can_compile(), reason="no C++ compiler here")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "COMPILED", tmp_path / "compiled")
    return engine.COMPILED


def tiny_model(classes=10):
    """Compiles in seconds. Code compiled once in a process stays in its memory: vary `classes`."""
    torch.manual_seed(0)
    linear = torch.nn.Linear(784, classes)
    return torch.nn.Sequential(torch.nn.Flatten(), linear, torch.nn.Dropout(0.5))


def batch(size=64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size, 1, 28, 28, generator=generator), torch.arange(size) % 10


def step(forward, images, labels):
    torch.manual_seed(2)
    loss, logits = forward(images, labels)
    loss.backward()
    return loss.detach(), logits.detach()


@needs_compiler
@pytest.mark.filterwarnings("ignore")  # the compiler's own, on old interfaces
def test_compiled_is_eager_but_for_rounding_and_starts_warm(cache):
    config = make_config(model="lenet5", engine="compiled")
    for size in (64, 32):  # a whole batch and a shorter last one
        eager = step(
            make_forward(tiny_model(), config.model_copy(update={"engine": "eager"})), *batch(size)
        )
        compiled = step(make_forward(tiny_model(), config), *batch(size))
        for ours, theirs in zip(compiled, eager, strict=True):  # dropout's mask is the same too
            torch.testing.assert_close(ours, theirs)
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.so")}
    assert before
    step(make_forward(tiny_model(), config), *batch())
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.so")} == before


@needs_compiler
@pytest.mark.filterwarnings("ignore:(?!.*not what was stored)")
def test_damaged_compiled_code_is_named_and_compiled_again(cache):
    config = make_config(model="lenet5", engine="compiled")
    expected = step(make_forward(tiny_model(classes=11), config), *batch())
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    damaged = next(folder.rglob("*.so"))
    content = damaged.read_bytes()[:-1]
    damaged.unlink()  # this process has loaded it: another file takes its place
    damaged.write_bytes(content)
    with pytest.warns(UserWarning, match=f"{folder}: compiled code is not what was stored"):
        again = step(make_forward(tiny_model(classes=11), config), *batch())
    assert torch.equal(again[1], expected[1])
    assert engine.checksums(folder)


@pytest.mark.parametrize("model", MODELS)
def test_bf16_trains_near_fp32(small_data, model):
    losses = {
        precision: run_experiment(
            make_config(model=model, precision=precision, **SHORT), data=small_data
        )
        .record.history[0]
        .train_loss
        for precision in ("fp32", "bf16")
    }
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)


def test_the_model_and_the_loss_stay_single_precision_under_bf16():
    config = make_config(model="vit_tiny", precision="bf16")
    model = place_model(MODELS["vit_tiny"].builder(), config)
    loss, logits = make_forward(model, config)(*batch(8))
    assert {loss.dtype, logits.dtype, *(p.dtype for p in model.parameters())} == {torch.float32}


def test_auto_compiles_only_what_repays_it(monkeypatch):
    monkeypatch.setattr(engine, "can_compile", lambda: True)
    monkeypatch.setattr(engine, "REPAID_AFTER", {"resnet_mini": 12})
    chosen = {c.model: c.engine for c in plan("paper", engine="auto")}
    assert chosen == dict.fromkeys(MODELS, "eager") | {"resnet_mini": "compiled"}
    assert {c.engine for c in plan("smoke", engine="auto")} == {"eager"}
    assert {c.engine for c in plan("paper", engine="auto", device="cuda")} == {"eager"}
    monkeypatch.setattr(engine, "can_compile", lambda: False)
    assert {c.engine for c in plan("paper", engine="auto")} == {"eager"}


def test_the_engine_enters_the_key_unless_it_is_eager():
    (eager,) = plan("smoke", models="lenet5")
    assert (
        eager.key
        == make_config(
            model="lenet5",
            **plan("smoke")[0].model_dump(include={"train_images", "test_images", "max_epochs"}),
        ).key
    )
    assert (
        len(
            {c.key for e in ("eager", "compiled") for c in plan("smoke", models="lenet5", engine=e)}
        )
        == 2
    )
    assert resolve_auto(eager) == eager


def failing_job(tmp_path, monkeypatch, *, seeds="0", **options):
    def broken(model, **_):
        def fail(*_):
            raise RuntimeError("no such header\nand much more")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    stores = {name: RunStore(tmp_path / name) for name in ("store", "released")}
    configs = plan("smoke", models="lenet5", engine="compiled", seeds=seeds)
    return Job("smoke", configs, tmp_path, keep_going=True, **stores, **options)


def test_a_failing_compile_falls_back_under_auto_and_the_record_says_so(
    cache, tmp_path, monkeypatch
):
    job = failing_job(tmp_path, monkeypatch, auto_engine=True)
    report = Report(tmp_path)
    ((record, _),) = train_missing(job, report)
    assert record.config.engine == "eager"
    assert record.environment.notes == (
        "trained eagerly, since lenet5: compiling failed: no such header",
    )
    assert report.notices == list(record.environment.notes)
    assert report.failures == []
    (settled,) = settle_engines(job).configs  # another call finds it, and compiles nothing
    assert job.store.find(settled) == record


def test_a_fallback_is_for_all_runs_of_the_model(cache, tmp_path, monkeypatch):
    job = failing_job(tmp_path, monkeypatch, auto_engine=True, seeds="0-1")
    before = job.configs[0].model_dump(include={"engine", *SHORT})
    job.store.write(make_run(**before))
    runs = train_missing(job, Report(tmp_path))
    found = [(run.record.config.seed, run.record.config.engine) for run in runs]
    assert found == [(0, "eager"), (1, "eager")]


def test_a_failing_compile_is_a_failed_run_when_compiling_was_asked_for(
    cache, tmp_path, monkeypatch
):
    job = failing_job(tmp_path, monkeypatch)
    report = Report(tmp_path)
    assert train_missing(job, report) == []
    (failure,) = report.failures
    assert failure.endswith("CompilationError: lenet5: compiling failed: no such header")
    with pytest.raises(CompilationError):
        make_forward(tiny_model(), job.configs[0])(*batch())
