# ruff: noqa: E501  a sentence is a line
"""Writes conf/optimizer/zoo/: one YAML for each optimizer of the packages of the extra `zoo`, from their signatures.

    pip install 'optbench[zoo]'
    python benchmarks/zoo_conf.py              # what would change
    python benchmarks/zoo_conf.py --write      # writes, and takes away what is no longer made

The keywords and their defaults are the package's own, read from the signature of the class; so is the sentence where
the package states the paper. What stands here is what no signature says: the learning rate where the default fails on
one of the problems of `zoo.py`, the protocol that a class speaks, what it is built from, and what is left out and why.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import inspect
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "conf" / "optimizer" / "zoo"
_OF_TORCH = {"foreach", "maximize", "capturable", "differentiable", "fused"}
"""How and in which direction a class computes: no part of a method."""


@dataclass(frozen=True)
class Told:
    """What no signature says of a class.

    Attributes:
        words: the sentence; "": the package's own.
        keywords: values in place of the defaults.
        more: keys of the node that are no keywords of the class (protocol, groups, params, given).
        tuned: keyword that is searched; "": none.
        drop: keywords that are left out.
    """

    words: str = ""
    keywords: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)
    tuned: str = "lr"
    drop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Package:
    """Classes of a package.

    Attributes:
        module: where they are imported from.
        name: on the package index.
        prefix: of the names of the choices.
        told: of each class that is taken; of pytorch_optimizer those that need no word are not named.
    """

    module: str
    name: str
    prefix: str
    told: Mapping[str, Told]


RATES: Mapping[str, tuple[float, float]] = {
    "accsgd": (0.001, 0.1), "adabelief": (0.01, 0.001), "adadelta": (10.0, 1.0), "adagc": (0.01, 0.001),
    "adago": (0.05, 0.5), "adai": (0.001, 1.0), "adalomo": (0.001, 0.01), "adam_mini_adam_mini": (0.01, 0.001),
    "adammini": (1.0, 0.1),
    "adamax": (0.01, 0.001), "adamc": (0.01, 0.001), "adamod": (1.0, 0.01), "adamp": (0.01, 0.001),
    "adams": (0.01, 0.001), "adamwsn": (0.01, 0.001), "adan": (0.01, 0.001), "adanorm": (0.01, 0.001),
    "adapnm": (0.1, 0.001), "adashift": (0.1, 0.01), "adasmooth": (0.01, 0.001), "ademamix": (0.01, 0.001),
    "adopt": (0.01, 0.001), "aggmo": (0.001, 0.01), "aida": (0.01, 0.001), "alice": (0.2, 0.02), "amos": (0.1, 0.01),
    "ano": (0.01, 0.001), "apollodqn": (0.001, 0.01), "bcos": (0.01, 0.001), "came": (0.02, 0.0002),
    "came_pytorch_came": (0.01, 0.001), "conda": (0.01, 0.001), "dash": (0.01, 0.001), "diffgrad": (0.1, 0.001),
    "dualadam": (0.0001, 0.001), "emofact": (0.01, 0.001), "emolynx": (0.01, 0.001), "emonavi": (0.01, 0.001),
    "exadam": (0.01, 0.001), "fira": (0.01, 0.001), "flashadamw": (0.01, 0.001), "ftrl": (0.1, 0.01),
    "galore": (0.01, 0.001), "grams": (0.01, 0.001), "gravity": (0.01, 0.1), "grokfastadamw": (0.1, 0.001),
    "heavyball_adamw": (0.025, 0.0025), "heavyball_ademamix": (0.01, 0.001), "heavyball_adopt": (0.025, 0.0025),
    "heavyball_klshampoo": (0.03, 0.003), "heavyball_laprop": (0.025, 0.0025), "heavyball_muon": (0.0025, 0.025),
    "heavyball_muonadamw": (0.025, 0.025), "heavyball_psgdkron": (0.01, 0.001), "heavyball_scion": (0.025, 0.025),
    "heavyball_sfadamw": (0.025, 0.0025), "heavyball_soap": (0.03, 0.003), "kate": (0.001, 0.0001),
    "kron": (0.01, 0.001), "kron_torch_kron": (0.03, 0.003), "lamb": (0.01, 0.01), "laprop": (0.004, 0.0004),
    "lars": (0.01, 1.0), "lion": (0.01, 0.001), "lion_pytorch_lion": (0.01, 0.001), "lomo": (0.001, 0.1),
    "madgrad": (0.01, 0.001), "mars": (0.03, 0.003), "msvag": (0.01, 0.1), "novograd": (0.1, 0.01),
    "optimi_adam": (0.01, 0.001), "optimi_adamw": (0.01, 0.001), "optimi_adan": (0.01, 0.001),
    "optimi_lion": (0.01, 0.001), "optimi_radam": (0.01, 0.001), "optimi_ranger": (0.01, 0.01),
    "optimi_sgd": (0.01, 0.1), "optimi_stableadamw": (0.01, 0.001), "pid": (0.01, 0.1), "pnm": (0.001, 1.0),
    "qhadam": (0.01, 0.001), "qhm": (0.01, 0.1), "racs": (0.1, 0.01), "radam": (0.01, 0.01), "ranger": (0.001, 0.01),
    "ranger21": (0.1, 0.01), "rose": (0.01, 0.01), "sara": (0.01, 0.001), "scalableshampoo": (0.01, 0.1),
    "schedulefree_adamwschedulefree": (0.025, 0.0025), "schedulefree_radamschedulefree": (0.025, 0.025),
    "schedulefree_sgdschedulefree": (0.01, 1.0), "schedulefree_sgdschedulefreeclosure": (0.01, 1.0),
    "schedulefreeadamw": (0.025, 0.0025), "schedulefreeradam": (0.025, 0.025), "schedulefreesgd": (0.01, 1.0),
    "scion": (0.01, 0.01), "scionlight": (0.01, 0.01), "sgdp": (0.01, 0.1), "sgdsai": (0.001, 0.01),
    "sgdw": (0.01, 0.1), "shampoo": (0.1, 0.1), "signsgd": (0.01, 0.001), "simplifiedademamix": (0.01, 0.01),
    "soap": (0.03, 0.003), "sophiah": (0.6, 0.06), "spam": (0.01, 0.001), "splus": (1.0, 0.1), "srmm": (0.01, 1.0),
    "stableadamw": (0.01, 0.001), "stablespam": (0.01, 0.001), "swats": (0.01, 0.001), "tam": (0.01, 0.1),
    "tiger": (0.01, 0.001), "timm_adabelief": (0.01, 0.01), "timm_adafactor": (0.01, 0.001),
    "timm_adafactorbigvision": (0.1, 0.01), "timm_adamp": (0.01, 0.001), "timm_adamwlegacy": (0.01, 0.001),
    "timm_adan": (0.01, 0.001), "timm_adopt": (0.01, 0.001), "timm_lamb": (0.01, 0.01),
    "timm_laprop": (0.004, 0.0004), "timm_lars": (0.01, 0.1), "timm_lion": (0.01, 0.001), "timm_mars": (0.03, 0.003),
    "timm_nadamw": (0.01, 0.001), "timm_nvnovograd": (0.1, 0.01), "timm_sgdp": (0.01, 0.1), "timm_sgdw": (0.01, 0.1),
    "torch_adopt_adopt": (0.01, 0.001), "vsgd": (0.1, 0.01),
}  # fmt: skip
"""lr on a surface and on a network, where the default fails on a problem of zoo.py: the power of ten of it that does
not; on a surface ten times that of a network where the method goes by signs or by Adam's scale, as of torch's Adam."""

_ADAMW = {"adamw_lr": "${by_problem:0.01,0.0003}  # on a surface, where all goes by AdamW, on a network"}
MUON = {
    "groups": '"${by_problem:[{use_muon:false}],'
    '[{role:[matrix,filter],use_muon:true,optional:true},{use_muon:false}]}"',
    "options": "[use_muon]",
}
_FLAT = {"protocol": "{layout: contiguous}"}  # it views filters as matrices
_GRAPH = {"protocol": "{backward: create_graph}"}
_MODEL = {"params": "model"}
_STEPS = {"given": "{num_iterations: steps}"}
_D = "d_coef"  # of methods that set their own rate: lr is a factor of it, and stays 1

KOZISTR: Mapping[str, Told] = {
    "A2Grad": Told(tuned="lips", keywords={"lr": "1.0"}),  # it is not used, and null cannot be scheduled
    "ASGD": Told("ASGD, adaptive gradient descent without descent: a step from two gradients (arXiv:1910.09529)"),
    "AccSGD": Told(),
    "AdaGO": Told(more={**MUON, **_FLAT}, keywords=_ADAMW),
    "AdaHessian": Told(more=_GRAPH),
    "AdaLOMO": Told(more=_MODEL),
    "AdaMuon": Told(more={**MUON, **_FLAT}, keywords=_ADAMW),
    "AdaMax": Told("AdaMax, Adam with the largest gradient in place of the mean square (Kingma & Ba 2015, arXiv:1412.6980)"),
    "AdamP": Told(more=_FLAT),
    "AdaPNM": Told("AdaPNM, positive-negative momentum with Adam's scale (Xie et al. 2021, arXiv:2103.17182)"),
    "AdaTAM": Told("AdaTAM, torque-aware momentum with Adam's scale (arXiv:2412.18790)"),
    "AdamMini": Told(more=_MODEL, words="Adam-mini, one rate for a block of parameters (arXiv:2406.16793)"),
    "AdamWSN": Told("AdamW-SN, AdamW with subset-norm step sizes (arXiv:2411.07120)"),
    "Alice": Told("Alice, Adam in a low-rank subspace with its remainder (arXiv:2502.07752)"),
    "AliG": Told(keywords={"max_lr": "0.1"}, more={"protocol": "{closure: float}"}, tuned="max_lr"),
    "ApolloDQN": Told("Apollo, an adaptive parameter-wise diagonal quasi-Newton method (Ma 2020, arXiv:2009.13586)"),
    "APOLLO": Told("APOLLO, SGD-like memory and AdamW-level performance: one scale a channel (arXiv:2412.05270)"),
    "DAdaptAdaGrad": Told("D-Adaptation with AdaGrad: no rate to set (Defazio & Mishchenko 2023, arXiv:2301.07733)", tuned=""),
    "DAdaptAdam": Told("D-Adaptation with Adam: no rate to set (Defazio & Mishchenko 2023, arXiv:2301.07733)", tuned=""),
    "DAdaptAdan": Told("D-Adaptation with Adan: no rate to set (Defazio & Mishchenko 2023, arXiv:2301.07733)", tuned=""),
    "DAdaptLion": Told("D-Adaptation with Lion: no rate to set (Defazio & Mishchenko 2023, arXiv:2301.07733)", tuned=""),
    "DAdaptSGD": Told("D-Adaptation with SGD: no rate to set (Defazio & Mishchenko 2023, arXiv:2301.07733)", tuned=""),
    "EmoFact": Told("EmoFact, EmoNavi with factored second moments (github.com/muooon/EmoNavi)"),
    "EmoLynx": Told("EmoLynx, EmoNavi with the sign of Lion (github.com/muooon/EmoNavi)"),
    "LOMO": Told(more=_MODEL),
    "Muon": Told("Muon, momentum of hidden matrices and filters made orthogonal, with AdamW for the rest (Jordan et al. 2024)",
                 more={**MUON, **_FLAT}, keywords=_ADAMW),
    "MuonClip": Told("MuonClip, Muon with clipped attention weights (arXiv:2507.20534)", more={**MUON, **_FLAT}, keywords=_ADAMW),
    "Nero": Told(more=_FLAT),
    "QHAdam": Told(drop=("nus",)),  # it takes a tuple alone
    "SWATS": Told(more=_FLAT),
    "NorMuon": Told("NorMuon, Muon with a scale for each neuron (arXiv:2510.05491)", more={**MUON, **_FLAT}, keywords=_ADAMW),
    "Prodigy": Told(tuned=_D),
    "QHM": Told("QHM, quasi-hyperbolic momentum (Ma & Yarats 2019, arXiv:1810.06801)"),
    "Ranger21": Told(more=_STEPS),
    "RACS": Told("RACS, row and column scaled SGD (arXiv:2502.07752)"),
    "SCIONLight": Told("SCION light, with the gradient's memory as the momentum (arXiv:2502.07529)"),
    "ScalableShampoo": Told("Scalable Shampoo, with grafting and blocks (Anil et al. 2020, arXiv:2002.09018)"),
    "ScheduleFreeAdamW": Told("Schedule-free AdamW, an average in place of a schedule (Defazio et al. 2024, arXiv:2405.15682)"),
    "ScheduleFreeRAdam": Told("Schedule-free RAdam, without a warm-up (Defazio et al. 2024, arXiv:2405.15682)"),
    "ScheduleFreeSGD": Told("Schedule-free SGD, an average in place of a schedule (Defazio et al. 2024, arXiv:2405.15682)"),
    "SGDP": Told("SGDP, SGD that takes the radial part out of its step (arXiv:2006.08217)", more=_FLAT),
    "SignSGD": Told("SignSGD with momentum, compressed optimisation for non-convex problems (arXiv:1802.04434)"),
    "SophiaH": Told("Sophia-H, the diagonal of the Hessian by products with signs (arXiv:2305.14342)", more=_GRAPH),
    "SimplifiedAdEMAMix": Told("Simplified AdEMAMix, one average in place of two (arXiv:2502.02431)"),
    "Kron": Told("PSGD Kron, a preconditioner of Kronecker factors fitted on the fly (Li 2015, arXiv:1512.04202)"),
    "FlashAdamW": Told("FlashAdamW, AdamW with memories of few bits (arXiv:2602.23349)"),
    "GrokFastAdamW": Told("GrokFast AdamW, amplified slow gradients (arXiv:2405.20233)"),
    "SaRA": Told(keywords={"lr": "0.001"}),
    "SGDSaI": Told("SGD-SaI, no more Adam: rates of tensors set once, at the start (arXiv:2412.11768)"),
    "Adalite": Told("Adalite, an Adam of little memory (github.com/VatsaDev/adalite)"),
    "MADGRAD": Told("MADGRAD: A Momentumized, Adaptive, Dual Averaged Gradient Method (arXiv:2101.11075)"),
    "AdamS": Told("AdamS, Adam with stable weight decay (Xie et al. 2020, arXiv:2011.11152)"),
    "LARS": Told("LARS, SGD with rates in proportion to norms of layers (You et al. 2017, arXiv:1708.03888)"),
}  # fmt: skip
"""Classes of pytorch_optimizer of which something must be said; the others are as their signature says."""

KOZISTR_LEFT_OUT: Mapping[str, str] = {
    "LBFGS": "torch's own", "SGD": "torch's own", "Adam": "torch's own", "AdamW": "torch's own",
    "NAdam": "torch's own", "RMSprop": "torch's own",
    "DistributedMuon": "for several processes",
    "Magma": "goes round another optimizer",
    "BSAM": "with its defaults the loss of the mlp rises by a factor of 76,000",
    "SpectralSphere": "takes matrices alone",
    "DeMo": "for several processes; wants einops",
    "LoRARite": "for the pairs of matrices of LoRA alone",
}  # fmt: skip

TIMM: Mapping[str, Told] = {
    "AdaBelief": Told("AdaBelief, Adam's scale from the surprise of a gradient (Zhuang et al. 2020, arXiv:2010.07468)"),
    "Adafactor": Told("Adafactor, factored second moments (Shazeer & Stern 2018, arXiv:1804.04235)", keywords={"lr": "0.001"}),
    "AdafactorBigVision": Told("Adafactor as Big Vision has it, with a momentum in bfloat16 (Zhai et al. 2021, arXiv:2106.04560)"),
    "Adahessian": Told("AdaHessian, the diagonal of the Hessian in Adam's place (Yao et al. 2020, arXiv:2006.00719)",
                       more=_GRAPH),
    "AdamP": Told("AdamP, Adam that takes the radial part out of its step (Heo et al. 2021, arXiv:2006.08217)"),
    "AdamWLegacy": Told("Cautious AdamW: only coordinates whose step agrees with the gradient move (Liang et al. 2024, arXiv:2411.16085)",
                        keywords={"caution": "true"}),
    "Adan": Told("Adan, adaptive Nesterov momentum (Xie et al. 2022, arXiv:2208.06677)"),
    "Adopt": Told("ADOPT, Adam that converges with any beta2 (Taniguchi et al. 2024, arXiv:2411.02853)"),
    "Lamb": Told("LAMB, Adam's step in proportion to a layer's norm (You et al. 2020, arXiv:1904.00962)"),
    "LaProp": Told("LaProp, momentum of the gradient already scaled (Ziyin et al. 2020, arXiv:2002.04839)"),
    "Lars": Told("LARS, SGD's step in proportion to a layer's norm (You et al. 2017, arXiv:1708.03888)"),
    "Lion": Told("Cautious Lion: only coordinates whose step agrees with the gradient move (Liang et al. 2024, arXiv:2411.16085)",
                 keywords={"caution": "true"}),
    "MADGRAD": Told("MADGRAD, dual averaging with a cube root (Defazio & Jelassi 2021, arXiv:2101.11075)"),
    "Mars": Told("MARS, variance reduction in AdamW's form (Yuan et al. 2024, arXiv:2411.10438)"),
    "Muon": Told("Muon with AdamW for vectors, filters flattened (Jordan et al. 2024, arXiv:2502.16982)"),
    "NAdamW": Told("NAdamW, AdamW with Nesterov's momentum, as AlgoPerf has it (Dahl et al. 2023, arXiv:2306.07179)"),
    "NvNovoGrad": Told("NovoGrad, second moments of whole layers, as Nvidia has it (Ginsburg et al. 2019, arXiv:1905.11286)"),
    "RMSpropTF": Told("RMSprop as TensorFlow has it: eps within the root, the rate within the momentum (Tieleman & Hinton 2012)"),
    "SGDP": Told("SGDP, SGD that takes the radial part out of its step (Heo et al. 2021, arXiv:2006.08217)", keywords={"lr": "0.01"}),
    "SGDW": Told("SGDW, SGD with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101)"),
}  # fmt: skip
"""Those of timm that are no second copy of torch's."""

HEAVYBALL: Mapping[str, Told] = {
    "AdamW": Told("AdamW in HeavyBall's compiled form (Loshchilov & Hutter 2019, arXiv:1711.05101)"),
    "AdEMAMix": Told("AdEMAMix, a second, slower average beside Adam's (Pagliardini et al. 2024, arXiv:2409.03137)"),
    "Scion": Told("Scion, steps of a norm that suits the layer (Pethick et al. 2025, arXiv:2502.07529)"),
    "MuonAdamW": Told("Muon for matrices, AdamW for vectors (Jordan et al. 2024)"),
    "SFAdamW": Told("Schedule-free AdamW in HeavyBall's compiled form (Defazio et al. 2024, arXiv:2405.15682)"),
    "ADOPT": Told("ADOPT in HeavyBall's compiled form (Taniguchi et al. 2024, arXiv:2411.02853)"),
    "Muon": Told("Muon in HeavyBall's compiled form (Jordan et al. 2024)"),
    "LaProp": Told("LaProp in HeavyBall's compiled form (Ziyin et al. 2020, arXiv:2002.04839)"),
    "SOAP": Told("SOAP, Adam in the eigenbasis of Shampoo (Vyas et al. 2024, arXiv:2409.11321)"),
    "KLShampoo": Told("KL-Shampoo, Kronecker factors by the divergence of Gaussians (Lin et al. 2025, arXiv:2509.03378)"),
    "PSGDKron": Told("PSGD with Kronecker factors in HeavyBall's compiled form (Li 2015, arXiv:1512.04202)"),
}  # fmt: skip

_OPTIMI = {"triton": "false", "lr": "0.001"}
PACKAGES = (
    Package("pytorch_optimizer", "pytorch-optimizer", "", KOZISTR),
    Package("schedulefree", "schedulefree", "schedulefree_", {
        "AdamWScheduleFree": Told("Schedule-free AdamW of its authors (Defazio et al. 2024, arXiv:2405.15682)"),
        "RAdamScheduleFree": Told("Schedule-free RAdam of its authors, without a warm-up (Defazio et al. 2024, arXiv:2405.15682)"),
        "SGDScheduleFree": Told("Schedule-free SGD of its authors (Defazio et al. 2024, arXiv:2405.15682)"),
        "SGDScheduleFreeClosure": Told("Schedule-free SGD that changes its weights round the closure (Defazio et al. 2024, arXiv:2405.15682)"),
    }),
    Package("heavyball", "heavyball", "heavyball_", HEAVYBALL),
    Package("optimi", "torch-optimi", "optimi_", {
        "Adam": Told("Adam of optimi, with Kahan sums in low precision (Kingma & Ba 2015, arXiv:1412.6980)", keywords=_OPTIMI),
        "AdamW": Told("AdamW of optimi, with Kahan sums in low precision (Loshchilov & Hutter 2019, arXiv:1711.05101)", keywords=_OPTIMI),
        "Adan": Told("Adan of optimi (Xie et al. 2022, arXiv:2208.06677)", keywords=_OPTIMI),
        "Lion": Told("Lion of optimi (Chen et al. 2023, arXiv:2302.06675)", keywords={**_OPTIMI, "lr": "0.0001"}),
        "RAdam": Told("RAdam of optimi (Liu et al. 2019, arXiv:1908.03265)", keywords=_OPTIMI),
        "Ranger": Told("Ranger of optimi, RAdam with Lookahead (Wright 2019)", keywords=_OPTIMI),
        "SGD": Told("SGD of optimi, with a momentum that is an average", keywords=_OPTIMI),
        "StableAdamW": Told("StableAdamW of optimi, AdamW with Adafactor's clipping (Wortsman et al. 2023, arXiv:2304.13013)", keywords=_OPTIMI),
    }),
    Package("timm.optim", "timm", "timm_", TIMM),
    Package("prodigyopt", "prodigyopt", "prodigyopt_", {
        "Prodigy": Told("Prodigy of its authors: finds its own rate, lr stays 1 (Mishchenko & Defazio 2023, arXiv:2306.06101)", tuned=_D),
    }),
    Package("prodigyplus", "prodigy-plus-schedule-free", "prodigyplus_", {
        "ProdigyPlusScheduleFree": Told("Prodigy with schedule-free averages and factored moments (LoganBooker, github)", tuned=_D),
    }),
    Package("lion_pytorch", "lion-pytorch", "lion_pytorch_", {
        "Lion": Told("Lion of lion-pytorch (Chen et al. 2023, arXiv:2302.06675)"),
    }),
    Package("adopt", "torch-adopt", "torch_adopt_", {
        "ADOPT": Told("ADOPT of its authors, clipping by the fourth root of the step (Taniguchi et al. 2024, arXiv:2411.02853)"),
    }),
    Package("came_pytorch", "came-pytorch", "came_pytorch_", {
        "CAME": Told("CAME of its authors, factored moments with a confidence (Luo et al. 2023, arXiv:2307.02047)", keywords={"lr": "0.001"}),
    }),
    Package("adam_mini", "adam-mini", "adam_mini_", {
        "Adam_mini": Told("Adam-mini of its authors, one rate for a block of parameters (Zhang et al. 2024, arXiv:2406.16793)",
                          more={"params": "named"}, keywords={"verbose": "false"}),
    }),
    Package("kron_torch", "kron-torch", "kron_torch_", {
        "Kron": Told("PSGD Kron of kron-torch, whose factors are fitted at random steps (Li 2015, arXiv:1512.04202)", more=_FLAT),
    }),
)  # fmt: skip


# from a class to its YAML ---------------------------------------------------------------------------------------------


def members() -> Iterator[tuple[str, str]]:
    """Name and text of every YAML."""
    for package in PACKAGES:
        module = importlib.import_module(package.module)
        papers = _papers() if package.module == "pytorch_optimizer" else {}
        for name in _classes(package, module):
            told = package.told.get(name, Told())
            words = told.words or papers.get(_plain(name), "")
            if not words:
                raise SystemExit(f"{package.module}.{name}: there is no sentence for it")
            # of its authors or of a package: what a choice says of itself stands nowhere else
            words = words if package.prefix.strip("_") in words.lower() else f"{words}, from {package.name}"
            yield package.prefix + name.lower(), _text(package, name, getattr(module, name), words, told)


def _classes(package: Package, module: Any) -> list[str]:
    if package.module != "pytorch_optimizer":
        return list(package.told)
    known = [kind.__name__ for kind in module.optimizer.OPTIMIZER_LIST]
    if unknown := {*package.told, *KOZISTR_LEFT_OUT} - {*known}:
        raise SystemExit(f"pytorch_optimizer has no {', '.join(sorted(unknown))}")
    return [name for name in known if name not in KOZISTR_LEFT_OUT]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _papers() -> dict[str, str]:
    """Sentences of the table of papers in the description of pytorch_optimizer, by plain name."""
    text = importlib.metadata.metadata("pytorch_optimizer").get_payload() or ""
    rows = re.findall(
        r"^\|\s*([^|]+?)\s*\|\s*\*(.+?)\*\s*\|[^|]*\|\s*(?:\[paper\]\((\S+?)\))?", str(text), re.MULTILINE
    )
    found = {}
    for name, title, link in rows:
        paper = re.search(r"arxiv\.org/(?:abs|pdf)/([\d.]+?)(?:v\d+)?$", link)
        source = f" (arXiv:{paper[1]})" if paper else ""
        found[_plain(name)] = f"{name}: {title[0].upper()}{title[1:]}{source}"
    return found


def _text(package: Package, name: str, kind: Any, words: str, told: Told) -> str:
    values = _keywords(kind, told)
    rates = RATES.get(package.prefix + name.lower())
    lines = [f"# {words}", "# extra: zoo", *_tuned(values, told, rates)]
    lines += [f"_target_: {package.module}.{name}", "_partial_: true"]
    if rates is not None:
        surface, network = map(_value, rates)
        values["lr"] = f"${{by_problem:{surface},{network}}}  # on a surface, on a network"
    lines += [f"{key}: {value}" for key, value in values.items()]
    lines += [f"{key}: {value}" for key, value in told.more.items()]
    return "\n".join(lines) + "\n"


def _keywords(kind: Any, told: Told) -> dict[str, str]:
    """Keyword to value, as YAML, of what a user may want to set."""
    found: dict[str, str] = {}
    for p in list(inspect.signature(kind).parameters.values())[1:]:
        if p.kind is p.VAR_KEYWORD or p.name in _OF_TORCH or p.name in told.drop or p.name in _given(told):
            continue
        if p.name in told.keywords:
            found[p.name] = told.keywords[p.name]
            continue
        is_float = isinstance(p.default, int) and not isinstance(p.default, bool) and "float" in str(p.annotation)
        default = float(p.default) if is_float else p.default
        if default is None or type(default) in (bool, int, float, str):
            found[p.name] = _value(default)
        elif type(default) in (tuple, list) and all(type(v) in (int, float, str) for v in default):
            found[p.name] = f"[{', '.join(map(_value, default))}]"
    return found


def _given(told: Told) -> set[str]:
    return set(re.findall(r"(\w+):", told.more.get("given", "")))


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        if value in (float("inf"), float("-inf")):
            return ".inf" if value > 0 else "-.inf"
        return re.sub(r"e-0?(\d+)$", r"e-\1", repr(value))
    return str(value)


def _tuned(values: Mapping[str, str], told: Told, rates: tuple[float, float] | None) -> list[str]:
    """The remark that says what `tune` searches."""
    key, source = told.tuned, "(ours: two decades on each side of the default)"
    if key not in values or values[key] == "null":
        return []
    if key == "lr" and rates is not None:
        pairs = zip((" on a surface", " on a network"), rates, strict=True)
    else:
        pairs = iter([("", float(values[key]))])
    return [
        f"# tune{where}: optimizer.{key}=tag(log,interval({rate / 100:g},{rate * 100:g}))  {source}"
        for where, rate in pairs
    ]


def main() -> None:
    """Compares what the packages say with what is written, and writes it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="write the files")
    write = parser.parse_args().write
    warnings.simplefilter("ignore")
    import optbench.vision  # noqa: F401  declares the operators that a CPU build of torch lacks, for timm

    made = dict(members())
    there = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.yaml")}
    for name in sorted(there.keys() | made.keys()):
        if there.get(name) != made.get(name):
            print(f"{name}: {'new' if name not in there else 'gone' if name not in made else 'changed'}")
            path = FOLDER / f"{name}.yaml"
            if write and name in made:
                path.parent.mkdir(exist_ok=True)
                path.write_text(made[name], encoding="utf-8")
            elif write:
                path.unlink()
    print(f"{len(made)} optimizers")
    sys.exit(0 if write or made == there else 1)


if __name__ == "__main__":
    main()
