"""A configuration to a problem on a device: the parts built, and checked to belong together."""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from optbench.config import build, build_optimizer
from optbench.config.build import check_made, named_object
from optbench.config.metrics import WORDS, node_of, unfit
from optbench.errors import ConfigError, IncompatibleError, StoppedError
from optbench.experiment.depth import leave_out_branches
from optbench.experiment.kept_data import built_data
from optbench.experiment.recorder import Display, Stop
from optbench.experiment.unlabelled import pseudo_labels
from optbench.protocol import protocol_of
from optbench.records.vocabulary import as_now
from optbench.settings import NetworkTrainer, SurfaceTrainer, trainer_from

if TYPE_CHECKING:
    import torch
    from torch import nn

    from optbench.problem import AbstractData, AbstractProblem, NetworkProblem
    from optbench.problem.measures import Metric
    from optbench.problem.parallel import Parallel


def optimizer_of(config: Mapping[str, Any], problem: AbstractProblem) -> torch.optim.Optimizer:
    """The optimizer of a configuration over the parameters of its problem, told what it wants to know of the run.

    Raises:
        ConfigError, IncompatibleError: as `config.build_optimizer`.
    """
    from optbench.loop import total_steps
    from optbench.problem import NetworkProblem

    examples = len(problem.train) if isinstance(problem, NetworkProblem) else None
    steps = total_steps(problem, trainer_from(config))
    if isinstance(problem, NetworkProblem):
        config = {**config, "optimizer": with_mup(config, problem)}
    made: torch.optim.Optimizer = build_optimizer(config, problem.module, steps, examples, problem.steps_per_epoch)
    _rate_where_none_is(made, config)
    return made


def with_mup(config: Mapping[str, Any], problem: NetworkProblem) -> dict[str, Any]:
    """The node of a configuration's optimizer, with the groups that muP divides the parameters of its network into."""
    node = dict(config["optimizer"])
    if not is_mup(config):
        return node
    from optbench.problem.mup import rules

    base = base_of(config, outputs_for(problem.data, problem.loss), problem.data)
    groups = rules(node, problem.module, base)
    return {**node, **({"groups": groups} if groups else {})}


def _rate_where_none_is(optimizer: torch.optim.Optimizer, config: Mapping[str, Any]) -> None:
    """Gives groups without a learning rate one that is no number: torch's schedules want to multiply it.

    Raises:
        IncompatibleError: the schedule would change a rate that is not there.
    """
    without = [group for group in getattr(optimizer, "param_groups", ()) if "lr" not in group]
    if not without:
        return
    if config["scheduler"].get("_target_") != "torch.optim.lr_scheduler.ConstantLR":
        name = config["choices"]["scheduler"]
        raise IncompatibleError(f"{type(optimizer).__name__} has no lr for scheduler={name} to set",
                                "use scheduler=constant")  # fmt: skip
    for group in without:
        group["lr"] = math.nan


def build_problem(
    config: Mapping[str, Any],
    device: torch.device,
    display: Display | None = None,
    stop: Stop | None = None,
    parallel: Parallel | None = None,
) -> AbstractProblem:
    """The problem of a configuration: model + data + loss.

    Args:
        config: resolved.
        device: where to compute.
        display: told how many images are decoded, now and when a split is first wanted.
        stop: looked at after each image that is decoded.
        parallel: the processes that share a network's batches; None: this is the only one.

    Raises:
        IncompatibleError: parts that do not belong together.
        StoppedError: `stop` says so.
    """
    from optbench.problem import AbstractSurface, NetworkProblem, SurfaceProblem, as_loss

    config = as_now(config)
    trainer, seed = trainer_from(config), config["seed"]
    loss = as_loss(build(config["loss"], "loss"))
    augmentation, collate = build(config["augment"], "augment"), collate_of(config)
    check_made(augmentation, config["augment"], "augment")
    _seed_weights(seed)
    data = built_data(config)
    check_made(data, config["data"], "data")
    if data is not None and hasattr(data, "progress"):
        data.progress = functools.partial(_decoded, display, stop)
    check_learns(data, loss, config["choices"])
    _check_target(trainer, data, config["choices"])
    model = build(with_outputs(config["model"], outputs_for(data, loss)), "model")
    name = config["choices"]["model"]
    if isinstance(model, AbstractSurface):
        if augmentation is not None:
            raise IncompatibleError(f"{name} is a surface and has no images to augment", "leave augment=none")
        if collate is not None:
            raise IncompatibleError(f"{name} is a surface and has no rows to make batches of", "leave collate=stack")
        if data is not None:
            raise IncompatibleError(f"{name} is a surface and takes no data", "leave data=none")
        if not isinstance(trainer, SurfaceTrainer):
            raise IncompatibleError(f"{name} is a surface; trainer=network is for networks", "use trainer=surface")
        return SurfaceProblem(model, loss, trainer, seed, device)
    if data is None:
        raise IncompatibleError(f"{name} is a network and needs data", "choose one, e.g. data=digits")
    if not isinstance(trainer, NetworkTrainer):
        raise IncompatibleError(f"{name} is a network; trainer=surface is for surfaces", "use trainer=network")
    _check_network(model, loss, name)
    if is_mup(config):
        _as_mup(model, config, loss, data)
    if trainer.stochastic_depth:
        leave_out_branches(model, trainer.stochastic_depth, name)
    return NetworkProblem(
        model, data, loss, trainer.batch_size, seed, device, augmentation, normal=bool(trainer.normalize),
        accumulate=trainer.accumulate, precision=trainer.precision, compiled=trainer.compile,
        pseudo=pseudo_labels(config, data), metrics=metrics_of(config, data, loss),
        contiguous=protocol_of(config).layout == "contiguous", parallel=parallel, collate=collate,
    )  # fmt: skip


def collate_of(config: Mapping[str, Any]) -> Any:
    """What makes batches of rows, see `problem.collating`; None: they are stacked. Raises ConfigError."""
    made = build(config["collate"], "collate") if "collate" in config else None
    if made is not None and not callable(made):
        target = config["collate"]["_target_"]
        raise ConfigError(f"collate: {target} makes a {type(made).__name__}, which cannot be called",
                          "a collate is (inputs, targets) -> (inputs, targets); of a function _partial_")  # fmt: skip
    return made


def metrics_of(config: Mapping[str, Any], data: AbstractData, loss: nn.Module) -> list[Metric]:
    """The metrics in trainer.metrics of a configuration; none where it is not set.

    Raises:
        IncompatibleError: one says nothing of such data under this loss.
        ConfigError: one cannot be built.
    """
    from optbench.problem.measures import Metric

    found, choices = [], config["choices"]
    for node in map(node_of, config["trainer"].get("metrics") or ()):
        of_data, of_loss = (f"{group}={choices.get(group)}" for group in ("data", "loss"))
        if (why := unfit(node, data.n_classes, getattr(loss, "predict", None) is None, of_data, of_loss)) is not None:
            raise IncompatibleError(f"trainer.metrics: {why}")
        made = build(_built_with(node), f"metric {node['name']}")
        sign = 1 if node["direction"] == "max" else -1
        found.append(Metric(node["name"], made, sign, node.get("needs") == "classes"))
    return found


def _built_with(node: Mapping[str, Any]) -> dict[str, Any]:
    """A node as it is built: a class with its keywords, a function as it is, to be called later."""
    bare = {key: value for key, value in node.items() if key not in WORDS}
    return {"_partial_": not isinstance(named_object(str(node["_target_"])), type), **bare}


def is_mup(config: Mapping[str, Any]) -> bool:
    """Whether a configuration is under muP."""
    return bool(config["trainer"].get("mup_base"))


def base_of(config: Mapping[str, Any], outputs: int | None, data: AbstractData | None = None) -> nn.Module:
    """The network of a configuration that is under muP at the base width, for its shapes; torch's random state is as
    before afterwards.

    Args:
        config: resolved.
        outputs: see `with_outputs`.
        data: whose examples give lazy layers their sizes; None: these are not wanted.
    """
    import torch

    from optbench.problem.network import first_examples, give_sizes, waits_for_sizes

    node = with_outputs({**config["model"], **config["trainer"]["mup_base"]}, outputs)
    with torch.random.fork_rng(devices=[]):
        with torch.device("meta"):
            made: nn.Module = build(node, "model")
        if data is not None and waits_for_sizes(made):
            made = build(node, "model")  # on the device meta nothing is computed
            give_sizes(made, functools.partial(first_examples, data, collate_of(config)))
    return made


def _seed_weights(seed: int) -> None:
    """Begins what the initial weights of a run are drawn from."""
    import torch

    from optbench.problem import stream

    torch.manual_seed(stream(seed, "init").initial_seed())


def seeded_model(config: Mapping[str, Any]) -> nn.Module:
    """The model of a configuration with the initial weights of its run, those of lazy layers too, as `build_problem`
    draws them."""
    from optbench.problem import as_loss
    from optbench.problem.network import first_examples, give_sizes

    config = as_now(config)
    loss = as_loss(build(config["loss"], "loss"))
    _seed_weights(config["seed"])
    data = built_data(config)  # that of anyone else may draw too
    outputs = outputs_for(data, loss)
    model: nn.Module = build(with_outputs(config["model"], outputs), "model")
    if data is not None:
        give_sizes(model, functools.partial(first_examples, data, collate_of(config)))
        if is_mup(config):
            _as_mup(model, config, loss, data)
    return model


_factors_of: dict[str, Mapping[str, float]] = {}
"""Of a network and its base, and of the form of their inputs: `mup.factors`, which are the same for all seeds."""


def _as_mup(model: nn.Module, config: Mapping[str, Any], loss: nn.Module, data: AbstractData) -> None:
    """Brings the initial weights of a model, of lazy layers too, to those of muP.

    Raises:
        IncompatibleError: it has another base.
    """
    import torch

    from optbench.problem.mup import factors, rescale
    from optbench.problem.network import first_examples, give_sizes
    from optbench.problem.trees import shape_of

    few, outputs = functools.cache(lambda: first_examples(data, collate_of(config))), outputs_for(data, loss)
    try:
        is_lazy = give_sizes(model, few)
    except (RuntimeError, ValueError, IndexError, TypeError):
        return  # said in words where the problem is made, which tries the same
    at_base = {**config["model"], **config["trainer"]["mup_base"]}
    nodes = [with_outputs(node, outputs) for node in (config["model"], at_base)]

    def made(node: Mapping[str, Any]) -> nn.Module:
        built: nn.Module = build(node, "model")
        give_sizes(built, few)
        return built

    key = json.dumps([*nodes, shape_of(few()) if is_lazy else ""], default=str)
    if key not in _factors_of:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            _factors_of[key] = factors(lambda: (made(nodes[0]), made(nodes[1])))
    rescale(model, base_of(config, outputs, data), _factors_of[key])


def _decoded(display: Display | None, stop: Stop | None, done: int, total: int) -> None:
    """`done` of `total` images are decoded."""
    if stop is not None and stop.requested:
        raise StoppedError(f"stopped by the user when {done} of {total} images were decoded")
    if display is not None:
        display.loading(done, total)


def check_serves(problem: AbstractProblem, trainer: SurfaceTrainer | NetworkTrainer, device: torch.device) -> None:
    """Checks that a run that begins can be compiled where it is to be, and that its precision is one for its device;
    takes a few passes where that is of 16 bits.

    Raises:
        IncompatibleError: it cannot, or it is not, or is slower than fp32 there.
    """
    if isinstance(trainer, NetworkTrainer) and trainer.compile:
        from optbench.problem.compiled import check_compiles

        check_compiles(trainer.compile, trainer.accumulate, device)
    if isinstance(trainer, NetworkTrainer) and trainer.precision != "fp32":
        from optbench.problem import NetworkProblem
        from optbench.problem.precision import check_precision
        from optbench.problem.trees import part_of

        assert isinstance(problem, NetworkProblem)
        inputs = part_of(problem.batch(0).inputs, slice(0, problem.mini_batch))
        check_precision(trainer.precision, problem.module, inputs, device)


def check_learns(data: AbstractData | None, loss: nn.Module, choices: Mapping[str, Any]) -> None:
    """Raises IncompatibleError for numbers as labels under a loss that is known to be of classes, and the reverse."""
    if data is None or not getattr(loss, "takes_label", True):
        return  # a loss without labels is for surfaces: said where the model is known
    numbers = learns_numbers(loss)
    if numbers is None or numbers == (data.n_classes == 0):
        return  # a loss of which nothing is known is tried
    of_data, of_loss = (f"{group}={choices.get(group)}" for group in ("data", "loss"))
    if numbers:
        hint = "use loss=cross_entropy; loss=class_number learns the number of a class; data=diabetes has numbers"
        raise IncompatibleError(f"{of_loss} learns numbers, and {of_data} has classes", hint)
    raise IncompatibleError(f"{of_data} has numbers and no classes for {of_loss}", "use loss=squared_error")


def _check_target(
    trainer: SurfaceTrainer | NetworkTrainer, data: AbstractData | None, choices: Mapping[str, Any]
) -> None:
    """Raises IncompatibleError for an accuracy as the target of a run that has none: it would never be met."""
    wanted = trainer.target_accuracy if isinstance(trainer, NetworkTrainer) else None
    if wanted is not None and data is not None and not data.n_classes:
        raise IncompatibleError(f"trainer.target_accuracy={wanted:g}: data={choices.get('data')} has numbers and no "
                                "classes", "use trainer.target_val_loss")  # fmt: skip


def _check_network(model: Any, loss: nn.Module, name: str) -> None:
    """Raises IncompatibleError for what is no network, and for the loss of a surface."""
    from torch import nn

    if not getattr(loss, "takes_label", True):
        raise IncompatibleError(f"{name} is a network; loss=surface is for surfaces", "e.g. loss=cross_entropy")
    if not isinstance(model, nn.Module):
        raise IncompatibleError(f"model={name} makes a {type(model).__name__}; expected a torch.nn.Module",
                                "derive its class from torch.nn.Module")  # fmt: skip


def learns_numbers(loss: nn.Module) -> bool | None:
    """Whether a loss is of numbers (True) or of classes (False), as it says itself or as torch's are; None: unknown."""
    from torch import nn

    own: bool | None = getattr(loss, "takes_numbers", None)
    if own is not None:
        return own
    if isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss | nn.MultiMarginLoss):
        return False
    return True if isinstance(loss, nn.L1Loss | nn.MSELoss | nn.SmoothL1Loss | nn.HuberLoss) else None


def outputs_for(data: AbstractData | None, loss: nn.Module) -> int | None:
    """Outputs that a model needs for the data under a loss; None: there are no data to say so."""
    if data is None:
        return None
    if not data.n_classes:
        return data.n_targets
    own: int | None = getattr(loss, "n_outputs", None)
    return own or data.n_classes


_OUTPUTS = ("n_outputs", "num_classes")
"""What models, ours and torchvision's, call the number of their outputs."""


def with_outputs(model: Mapping[str, Any], outputs: int | None) -> Mapping[str, Any]:
    """The node of a model with the number of its outputs where that is null: what the data have decides."""
    return {key: outputs if value is None and key in _OUTPUTS else value for key, value in model.items()}


def set_up(trainer: SurfaceTrainer | NetworkTrainer, threads: int | None) -> torch.device:
    """Sets device, threads and flags of the process as the run needs them."""
    import torch

    from optbench.device import keep_freed_memory, pick_device

    device = pick_device(trainer.device)
    network = isinstance(trainer, NetworkTrainer)
    torch.set_num_threads(trainer.threads or ((threads or os.cpu_count() or 1) if network else 1))
    if network and device.type == "cpu":
        keep_freed_memory()
    choose_algorithms(device, isinstance(trainer, NetworkTrainer) and trainer.deterministic)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = isinstance(trainer, NetworkTrainer) and trainer.precision == "tf32"
        torch.backends.cudnn.allow_tf32 = True
    return device


def choose_algorithms(device: torch.device, repeat: bool) -> None:
    """Asks torch for algorithms that give the same bits each time, or on a GPU for the quickest, which it finds by
    timing them."""
    import torch

    if repeat and device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats only so; read at its first use
    if torch.are_deterministic_algorithms_enabled() != repeat:
        torch.use_deterministic_algorithms(repeat)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if device.type == "cuda":
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = repeat, not repeat


def deterministic(device: torch.device) -> bool:
    """Whether a run made again on this device has the same bits."""
    import torch

    return device.type == "cpu" or torch.are_deterministic_algorithms_enabled()


def dtype_of(problem: AbstractProblem) -> str:
    """Name of the parameters' dtype."""
    return str(next(problem.module.parameters()).dtype).removeprefix("torch.")
