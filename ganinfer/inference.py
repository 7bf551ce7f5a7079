"""The inference loop: propose, simulate, train, move. ``init`` and ``step`` return the state; nothing is hidden.

No window is ever embedded by a network that was trained on it. Proposals are dealt to folds, real blocks were
(see :mod:`ganinfer.observed`); the network of a fold trains on the windows outside it and embeds the windows inside.
Networks train in the first rounds, until the bound on their sample is reached; then they are frozen, and further
windows are embedded as they arrive and feed the emulator alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ganinfer import randomness, training
from ganinfer.execution import Executor
from ganinfer.interfaces import Budget, FoldResult, Generator, Info, RoundPlan, RoundResult, SecondLook, State
from ganinfer.observed import Observed
from ganinfer.parameters import Parameters
from ganinfer.simulation import Encoded, Setup, Task, choose_templates, encoding_specs, simulate

CLASSICAL = "classical"
#: A generator that needs the critic's verdict trains in every round; one that matches statistics freezes its networks.
CRITIC = "critic"
#: What the names of a round's input arrays begin with on disk.
INPUT = "input-"
#: The family of the statistics that a network makes.
EMBEDDING = "embedding"
_EMBED_WINDOWS = 512
#: A place that a generator gave up is looked at in so many steps.
_LOOKS = 3

Done = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class Network:
    """The discriminator to train: plugin name, its options, how it is trained; ``encodings`` it asked for by name."""

    name: str
    options: Mapping[str, Any]
    settings: training.TrainingSettings
    encodings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Problem:
    """Everything that an inference is about, and nothing of how far it is."""

    setup: Setup
    parameters: Parameters
    observed: Observed
    generator: Generator
    budget: Budget
    network: Network
    scenario: str
    seed: int
    classical: bool = True
    label: str = ""

    @property
    def plan(self) -> tuple[RoundPlan, ...]:
        return self.generator.plan(self.parameters, self.budget)

    @property
    def freezes(self) -> bool:
        return getattr(self.generator, "uses", "statistics") != CRITIC


@dataclass(frozen=True, eq=False)
class Round:
    """One round's simulations: ``theta`` (k, p) and ``fold`` (k,) of proposals; n windows in order of proposals.

    ``proposal`` (n,) index into ``theta``; ``statistics`` (n, c) classical ones; ``embedding`` (n, width) and
    ``logits`` (n,) out of fold; ``inputs`` the network's arrays while it may still train on them, else empty.
    """

    theta: np.ndarray
    fold: np.ndarray
    proposal: np.ndarray
    statistics: np.ndarray
    embedding: np.ndarray
    logits: np.ndarray
    inputs: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.proposal)

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it as named arrays, inputs prefixed by :data:`INPUT`."""
        own = {name: getattr(self, name) for name in _ROUND_ARRAYS}
        return own | {f"{INPUT}{name}": array for name, array in self.inputs.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Round:
        inputs = {n.removeprefix(INPUT): a for n, a in arrays.items() if n.startswith(INPUT)}
        return cls(**{name: arrays[name] for name in _ROUND_ARRAYS}, inputs=inputs)


_ROUND_ARRAYS = ("theta", "fold", "proposal", "statistics", "embedding", "logits")


@dataclass(frozen=True, eq=False)
class InferenceState:
    """How far an inference is: ``index`` of the next round, the generator's state, networks, rounds so far.

    ``trained`` is the index of the last round that trained the networks, -1 before; ``real_embedding`` and
    ``real_logits`` are the real windows', out of fold, by the networks as they are.
    """

    index: int
    generator: State
    networks: Sequence[training.FoldNetwork]
    rounds: tuple[Round, ...] = ()
    trained: int = -1
    real_embedding: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    real_logits: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.float32))

    @property
    def num_windows(self) -> int:
        return sum(len(r) for r in self.rounds)


@dataclass(frozen=True, eq=False)
class StepInfo:
    """What a step did: the generator's info, training rows (empty where it did not train), the critic's AUC.

    ``looked_at``: windows simulated where the generator had given up, if any; ``turned``: it goes on from there.
    """

    info: Info
    training: training.TrainingInfo
    auc: float
    num_windows: int
    seconds: Mapping[str, float]
    looked_at: int = 0
    turned: bool = False


def init(problem: Problem) -> InferenceState:
    """State before the first round: untrained networks, the generator's start."""
    specs = _network_specs(problem)
    networks = training.init(
        problem.network.name,
        problem.network.options,
        specs,
        len(problem.parameters),
        problem.network.settings,
        problem.seed,
    )
    # A generator may need its plan before it starts: annealing cools over it.
    assert problem.plan, "a plan has at least one round"
    start = problem.generator.init(problem.parameters, randomness.stream(problem.seed, "init"))
    return InferenceState(0, start, networks)


def remaining(problem: Problem, state: InferenceState) -> tuple[RoundPlan, ...]:
    """The rounds still to come: those of the plan, or where earlier ones had another budget, what is left of it.

    That is dealt to the plan's later rounds by their sizes, or where it has none, to further ones like its last.
    """
    plan = problem.plan
    later = plan[state.index :]
    if state.index <= len(plan) and state.num_windows == _num_windows(plan[: state.index]):
        return later
    left = max(problem.budget.simulated_windows - state.num_windows, 0)
    if not later:
        later = (plan[-1],) * -(-left // _num_windows(plan[-1:]))
    total = _num_windows(later)
    dealt = [RoundPlan(p.num_proposals * left // total, p.num_windows) for p in later]
    return tuple(p for p in dealt if p.num_proposals > 0)


def _num_windows(plan: Sequence[RoundPlan]) -> int:
    return sum(p.num_proposals * p.num_windows for p in plan)


def step(
    problem: Problem, state: InferenceState, executor: Executor, *, done: Done, clock: Callable[[], float]
) -> tuple[InferenceState, StepInfo]:
    """One round; ``done`` hears of every proposal's windows as they come, ``clock`` gives seconds."""
    plan, index = remaining(problem, state)[0], state.index
    begun = clock()
    rng = randomness.stream(problem.seed, "propose", index)
    theta = _proposed(problem, state, rng, plan.num_proposals)
    trains = _trains(problem, state)
    current = _simulated_round(problem, state, theta, plan.num_windows, executor, trains, done)
    simulated = clock()
    state = replace(state, rounds=(*state.rounds, current))
    info = training.TrainingInfo()
    if trains:
        state, info = _trained(problem, state)
    trained = clock()
    result = RoundResult(index, fold_results(problem, state))
    # Thousands of small products: threads of linear algebra would spin against each other and against the workers.
    with threadpool_limits(1, user_api="blas"):
        stream = randomness.stream(problem.seed, "step", index)
        generator, moved = problem.generator.step(state.generator, result, stream)
    ended = clock()
    seconds = {"simulate": simulated - begun, "train": trained - simulated, "move": ended - trained}
    looked = _Looked(state, generator, moved)
    if not trains:
        looked = _second_look(problem, looked, plan, executor)
    if looked.windows:
        seconds["look"] = clock() - ended
    state = looked.state
    auc = training.area_under_curve(state.real_logits, state.rounds[-1].logits)
    state = replace(_forgotten(problem, state), index=index + 1, generator=looked.generator)
    size = len(state.rounds[-1])
    return state, StepInfo(looked.info, info, auc, size, seconds, looked.windows, looked.turned)


def more_simulations(problem: Problem, state: InferenceState, num_windows: int, executor: Executor) -> Round:
    """As many more windows, a round of the generator's proposals that trains no network and moves nothing.

    Networks have to be frozen, and the generator to have proposals of as many windows as in its last round.
    """
    plan = problem.plan[-1]
    rng = randomness.stream(problem.seed, "propose", "more")
    theta = _proposed(problem, state, rng, max(num_windows // plan.num_windows, 1))
    return _simulated_round(problem, state, theta, plan.num_windows, executor, False, lambda _: None, "more")


def fold_results(problem: Problem, state: InferenceState) -> tuple[FoldResult, ...]:
    """What the generator sees: every fold's windows with their out-of-fold statistics."""
    rounds = state.rounds
    offsets = np.cumsum([0, *(len(r.theta) for r in rounds)])
    theta = np.concatenate([r.theta for r in rounds])
    fold = np.concatenate([r.fold for r in rounds])
    number = np.repeat(np.arange(len(rounds)), [len(r.theta) for r in rounds])
    proposal = np.concatenate([r.proposal + o for r, o in zip(rounds, offsets, strict=False)])
    statistics = np.concatenate([_joined(problem, r.statistics, r.embedding) for r in rounds])
    logits = np.concatenate([r.logits for r in rounds])
    observed = problem.observed
    real = _joined(problem, _classical(problem, observed.arrays), state.real_embedding)
    families = _families(problem, real.shape[1])
    results = []
    for k in range(problem.network.settings.folds):
        mine, windows, real_mine = fold == k, fold[proposal] == k, observed.fold == k
        renumbered = np.cumsum(mine) - 1
        results.append(
            FoldResult(
                theta[mine],
                number[mine],
                statistics[windows],
                renumbered[proposal[windows]],
                real[real_mine],
                observed.block[real_mine],
                logits[windows],
                state.real_logits[real_mine],
                rounds[0].statistics.shape[1],
                families,
            )
        )
    return tuple(results)


def tasks(problem: Problem, theta: np.ndarray, num_windows: int, *key: str | int) -> Iterator[Task]:
    """One task a proposal, its seed keyed by the run's seed, ``key``, the scenario and the proposal's number."""
    templates = problem.observed.templates
    for i, (vector, chosen) in enumerate(zip(theta, resembled(problem, len(theta), num_windows, *key), strict=True)):
        seed = randomness.simulator_seed(problem.seed, *key, problem.scenario, i)
        values = problem.parameters.named(vector)
        yield Task(problem.setup, values, tuple(templates[t] for t in chosen), seed, problem.label)


def resembled(problem: Problem, number: int, num_windows: int, *key: str | int) -> Iterator[np.ndarray]:
    """The real windows (num_windows,) whose templates the windows of each of ``number`` such tasks have."""
    for i in range(number):
        seed = randomness.simulator_seed(problem.seed, *key, problem.scenario, i)
        yield choose_templates(seed, len(problem.observed.templates), num_windows)


# --- parts of a round ---------------------------------------------------------------------------------------------


def _proposed(problem: Problem, state: InferenceState, rng: np.random.Generator, size: int) -> np.ndarray:
    """What the generator proposes; ``ValueError`` for anything but ``size`` vectors inside the prior."""
    theta = np.asarray(problem.generator.propose(state.generator, rng, size), dtype=float)
    name = type(problem.generator).__name__
    if theta.shape != (size, len(problem.parameters)):
        expected = f"{size} proposals of {len(problem.parameters)} parameters"
        raise ValueError(f"generator {name} was asked for {expected} and gave an array of shape {theta.shape}")
    outside = np.flatnonzero(~np.isfinite(problem.parameters.log_prior(theta)))
    if len(outside):
        example = problem.parameters.named(theta[outside[0]])
        raise ValueError(f"generator {name} proposed {len(outside)} vectors outside the prior, such as {example}")
    return theta


@dataclass(frozen=True, eq=False)
class _Looked:
    """What a run goes on with; ``windows`` simulated for a second look, and whether it ``turned`` to what they show."""

    state: InferenceState
    generator: State
    info: Info
    windows: int = 0
    turned: bool = False


def _second_look(problem: Problem, ours: _Looked, plan: RoundPlan, executor: Executor) -> _Looked:
    """What the run goes on with, once a place that the generator gave up has been looked at, where there is one.

    That place is given as many windows as the round had, in a few steps. They join the round if the generator goes on
    from there. If not, they count nowhere, and the run's answer is what it would be without them.
    """
    generator, index, seen = problem.generator, ours.state.index, ours.state
    if not isinstance(generator, SecondLook):
        return ours
    other = generator.given_up(ours.generator, ours.info, randomness.stream(problem.seed, "given up", index))
    if other is None:
        return ours
    size, found = max(plan.num_proposals // _LOOKS, 1), ours.info
    for purpose in (f"look-{look}" for look in range(_LOOKS)):
        rng = randomness.stream(problem.seed, "propose", purpose, index)
        theta = _proposed(problem, replace(seen, generator=other), rng, size)
        further = _simulated_round(problem, seen, theta, plan.num_windows, executor, False, lambda _: None, purpose)
        seen = replace(seen, rounds=(*seen.rounds[:-1], _together(seen.rounds[-1], further)))
        stream = randomness.stream(problem.seed, "step", purpose, index)
        result = RoundResult(index, fold_results(problem, seen))
        try:
            with threadpool_limits(1, user_api="blas"):
                other, found = generator.step(other, result, stream)
        except (ArithmeticError, ValueError):  # nothing that a regression could be made of
            break
    kept, state, info = generator.chosen((ours.generator, ours.info), (other, found))
    return _Looked(ours.state if kept else seen, state, info, seen.num_windows - ours.state.num_windows, not kept)


def _together(one: Round, other: Round) -> Round:
    """One round of two that keep no inputs."""
    joined = {name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in _ROUND_ARRAYS}
    joined["proposal"] = np.concatenate([one.proposal, other.proposal + len(one.theta)])
    return Round(**joined, inputs={})


def _network_specs(problem: Problem) -> dict[str, Any]:
    """What a network may read: everything but classical statistics, and these where it asked for them."""
    unasked = {CLASSICAL} - set(problem.network.encodings)
    return {name: spec for name, spec in encoding_specs(problem.setup).items() if name not in unasked}


def _trains(problem: Problem, state: InferenceState) -> bool:
    return not problem.freezes or state.num_windows < problem.network.settings.windows


def _simulated_round(
    problem: Problem,
    state: InferenceState,
    theta: np.ndarray,
    num_windows: int,
    executor: Executor,
    keep_inputs: bool,
    done: Done,
    purpose: str = "round",
) -> Round:
    """Simulate the proposals; keep the networks' inputs where they will train on them, else embed what arrives."""
    fold = np.arange(len(theta)) % problem.network.settings.folds
    inputs = _inputs(problem, state)
    statistics, kept, embedded = [], [], []
    pending: list[tuple[int, Encoded]] = []
    stream = simulate(tasks(problem, theta, num_windows, purpose, state.index), executor)
    for i, encoded in enumerate(stream):
        statistics.append(_classical(problem, encoded))
        mine = {name: encoded[name] for name in inputs}
        if keep_inputs:
            kept.append(mine)
        else:
            pending.append((int(fold[i]), mine))
            if len(pending) * num_windows >= _EMBED_WINDOWS or i + 1 == len(theta):
                embedded += _embedded(state.networks, pending)
                pending = []
        done(num_windows)
    proposal = np.repeat(np.arange(len(theta)), num_windows)
    size, width = len(proposal), state.networks[0].width
    if keep_inputs:
        arrays = {name: np.concatenate([k[name] for k in kept]) for name in inputs}
        embedding, logits = np.zeros((size, width), np.float32), np.zeros(size, np.float32)
    else:
        arrays = {}
        embedding = np.concatenate([e for e, _ in embedded])
        logits = np.concatenate([c for _, c in embedded])
    return Round(theta, fold, proposal, np.concatenate(statistics), embedding, logits, arrays)


def _inputs(problem: Problem, state: InferenceState) -> tuple[str, ...]:
    return tuple(state.networks[0].names)


def _embedded(
    networks: Sequence[training.FoldNetwork], pending: Sequence[tuple[int, Encoded]]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Embedding and logits of each proposal, by the network of its fold, a batch for every fold."""
    out: list[tuple[np.ndarray, np.ndarray]] = [(np.empty(0), np.empty(0))] * len(pending)
    for network in networks:
        mine = [i for i, (fold, _) in enumerate(pending) if fold == network.fold]
        if not mine:
            continue
        arrays = {name: np.concatenate([pending[i][1][name] for i in mine]) for name in network.names}
        embedding, logits = training.embed(network, arrays, _EMBED_WINDOWS)
        edges = np.cumsum([len(pending[i][1][network.names[0]]) for i in mine])[:-1]
        for i, e, c in zip(mine, np.split(embedding, edges), np.split(logits, edges), strict=True):
            out[i] = (e, c)
    return out


def _trained(problem: Problem, state: InferenceState) -> tuple[InferenceState, training.TrainingInfo]:
    """The networks trained on all windows still kept, and every one of these embedded anew."""
    settings, observed = problem.network.settings, problem.observed
    kept = [i for i, r in enumerate(state.rounds) if r.inputs]
    simulated = _training_windows(problem, [state.rounds[i] for i in kept])
    real = training.Windows(observed.arrays, observed.fold)
    rng = randomness.stream(problem.seed, "train", state.index)
    info = training.train(state.networks, simulated, real, settings, rng)
    state = replace(state, trained=state.index)
    return refreshed(problem, state), info


def refreshed(problem: Problem, state: InferenceState) -> InferenceState:
    """Every round that still has its inputs, and the real windows, embedded by the networks as they are."""
    rounds = list(state.rounds)
    for i, r in enumerate(rounds):
        if r.inputs:
            embedding, logits = _embed_folds(state.networks, r.inputs, r.fold[r.proposal])
            rounds[i] = replace(r, embedding=embedding, logits=logits)
    observed = problem.observed
    embedding, logits = _embed_folds(state.networks, observed.arrays, observed.fold)
    return replace(state, rounds=tuple(rounds), real_embedding=embedding, real_logits=logits)


def _embed_folds(
    networks: Sequence[training.FoldNetwork], arrays: Mapping[str, np.ndarray], fold: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    embedding = np.empty((len(fold), networks[0].width), dtype=np.float32)
    logits = np.empty(len(fold), dtype=np.float32)
    for network in networks:
        index = np.flatnonzero(fold == network.fold)
        for start in range(0, len(index), 8 * _EMBED_WINDOWS):
            part = index[start : start + 8 * _EMBED_WINDOWS]
            chosen = {name: np.asarray(arrays[name][part]) for name in network.names}
            embedding[part], logits[part] = training.embed(network, chosen, _EMBED_WINDOWS)
    return embedding, logits


def _training_windows(problem: Problem, rounds: Sequence[Round]) -> training.Windows:
    offsets = np.cumsum([0, *(len(r.theta) for r in rounds)])
    theta = np.concatenate([r.theta for r in rounds])
    return training.Windows(
        {name: training.Stacked([r.inputs[name] for r in rounds]) for name in rounds[0].inputs},
        np.concatenate([r.fold[r.proposal] for r in rounds]),
        np.concatenate([r.proposal + o for r, o in zip(rounds, offsets, strict=False)]),
        problem.parameters.to_unit(theta),
    )


def _forgotten(problem: Problem, state: InferenceState) -> InferenceState:
    """Inputs dropped once no network will train on them again: all when frozen, else all but the latest windows."""
    if _trains(problem, state) and problem.freezes:
        return state
    room = 0 if problem.freezes else problem.network.settings.windows
    rounds, newer = list(state.rounds), 0
    for i in reversed(range(len(rounds))):
        if newer >= room and rounds[i].inputs:
            rounds[i] = replace(rounds[i], inputs={})
        newer += len(rounds[i])
    return replace(state, rounds=tuple(rounds))


def _classical(problem: Problem, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    some = next(iter(arrays.values()))
    return np.asarray(arrays[CLASSICAL]) if problem.classical else np.empty((len(some), 0), dtype=np.float32)


def _families(problem: Problem, size: int) -> tuple[str, ...]:
    """What kind of statistic each of ``size`` columns is: classical ones first, then the embedding."""
    classical = encoding_specs(problem.setup)[CLASSICAL].details["families"] if problem.classical else ()
    return (*classical, *[EMBEDDING] * (size - len(classical)))


def _joined(problem: Problem, classical: np.ndarray, embedding: np.ndarray) -> np.ndarray:
    return np.concatenate([classical, embedding], axis=1)


def resumed(problem: Problem, state: InferenceState) -> InferenceState:
    """A state read back from disk: what training changed of the rounds that still have inputs is worked out again."""
    if state.trained < 0:
        return _forgotten(problem, state)
    return _forgotten(problem, refreshed(problem, state))
