"""The same training as a chain of recorded launches, so that many runs share one GPU.

A small network leaves a GPU idle while the host prepares its next kernel. Here groups of steps are
recorded once as CUDA graphs, which read the buffers of `Trainer` and are replayed on a stream of
the run's own. The host feeds many runs in turn (`execution.gpu`). Results do not depend on how
many: cuDNN is told to be deterministic, and each run has its own generator for dropout. On a CPU a
replay does the work itself, so that all but the recording is tested without a GPU.
"""

import copy
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from fmnist_lib.runs.config import RunConfig
from fmnist_lib.training.loop import Parts, State, Steps, Trainer, batch_sums
from fmnist_lib.training.metrics import Sums

IN_FLIGHT = 2  # launches of a run: with a queue full of them the host would wait for this run alone

Launch = Callable[[], None]


class SideBySide(Trainer):
    """A run that never makes the host wait. On a GPU its own stream is the current one meanwhile.

    PyTorch records on no other: the default stream waits for all.
    """

    def __init__(self, model: nn.Module, parts: Parts, config: RunConfig) -> None:
        super().__init__(model, parts, config)
        self.on_gpu = self.labels.is_cuda
        if self.on_gpu:
            self.pool = torch.cuda.graph_pool_handle()  # one for all: nothing stays there
            self.shared = torch.cuda.default_generators[self.labels.device.index or 0]
            self.dropout = self.shared.clone_state()
        untouched = copy.deepcopy(self.state())
        self.model.train()
        for _ in range(3):  # libraries and the optimiser's state come to be before any recording
            self.train_on(self.order[:1] if self.full else self.last)
            self.position.zero_()
        self.epoch_launches: list[Launch] = []
        for count, work in self.groups():
            if count:  # nothing is recorded in vain
                self.epoch_launches += [self._record(work)] * count
        self.evaluated.eval()
        self.tallies = {s: batch_sums(self.evaluated, part) for s, part in parts.held.items()}
        self.evaluations = {s: self._record(partial(self._tally, s)) for s in parts.held}
        self.restore(untouched)

    def _tally(self, split: str) -> None:
        self.tallies[split].copy_(batch_sums(self.evaluated, self.parts.held[split]))

    def _record(self, work: Launch) -> Launch:
        """Return what does the work again, on the same buffers and in the model's present mode."""
        if not self.on_gpu:
            return work
        others = self.shared.graphsafe_get_state()
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.dropout)
        # Dropout draws from the default generator alone: meanwhile that one is this run's.
        self.shared.graphsafe_set_state(self.dropout)
        try:
            with torch.cuda.graph(graph, pool=self.pool, stream=torch.cuda.current_stream()):
                work()
        finally:
            self.shared.graphsafe_set_state(others)
        return graph.replay

    def restore_optimizer(self, state: State) -> None:
        """Copy the state in place: what is recorded goes on reading the same memory."""
        for index, tensors in self.optimizer.state_dict()["state"].items():
            for name, tensor in tensors.items():
                saved = state.get(index, {}).get(name)
                tensor.zero_() if saved is None else tensor.copy_(saved)

    def seed_dropout(self, seed: int) -> None:
        """Seed this run's own generator."""
        self.dropout.manual_seed(seed) if self.on_gpu else super().seed_dropout(seed)

    def run_groups(self) -> Steps[Tensor]:
        """Do the work of an epoch; yield while the GPU is at it."""
        return self._run(self.epoch_launches, self.sums)

    def evaluate(self, split: str) -> Steps[Sums]:
        """Return the sums over the images of a held-out part."""
        self.evaluated.eval()
        tally = yield from self._run([self.evaluations[split]], self.tallies[split])
        return Sums.over(tally, len(self.parts.held[split][1]))

    def _run(self, launches: Sequence[Launch], result: Tensor) -> Steps[Tensor]:
        """Launch one after another, few at a time; return a copy of the result on the host."""
        flying: deque[torch.cuda.Event] = deque()
        for launch in launches:
            while len(flying) == IN_FLIGHT:
                if flying[0].query():
                    flying.popleft()
                else:
                    yield
            launch()
            if self.on_gpu:
                flying.append(torch.cuda.current_stream().record_event())
            yield
        if not self.on_gpu:
            return result.clone()
        host = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
        host.copy_(result, non_blocking=True)  # into pageable memory the host would wait
        done = torch.cuda.current_stream().record_event()
        while not done.query():
            yield
        return host
