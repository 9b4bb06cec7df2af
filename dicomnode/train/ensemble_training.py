"""From the folder of all labelled sets to an ensemble's weights and card: ``train_ensemble``."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dicomnode.segment.card import ModelCard, NetworkSpec, load_installed_card
from dicomnode.segment.inference import has_bfloat16
from dicomnode.segment.networks.factory import build_network, network_class
from dicomnode.segment.networks.partnered import PartneredEnsemble
from dicomnode.segment.networks.patch_unet import PatchUNet
from dicomnode.train.cases import DataError, LabelledCase
from dicomnode.train.clahe import OTHER_SCANNERS, load_clahe
from dicomnode.train.ensemble import new_member, restore_member, train_member
from dicomnode.train.linear import load_linear
from dicomnode.train.medseg import load_medseg
from dicomnode.train.mixture import Example, prepare_examples
from dicomnode.train.protocol import TRAINED, EnsembleProtocol, Folds
from dicomnode.train.training_folder import half_precision, take_folder

LINEAR, CLAHE, MEDSEG = "covid10_linear", "covid20_clahe", "medseg_ggo_consolidation"
EXAMPLES_FILE = "examples.pt"


def train_ensemble(
    card: ModelCard,
    protocol: EnsembleProtocol,
    folds: Folds,
    data: Path,
    out: Path,
    *,
    minutes: float | None = None,
    resume: bool = False,
    progress: Callable[[int, float, float], None] | None = None,
) -> None:
    """Train all members one after the other and write ``card.weights.file`` into ``out``.

    ``out`` gets the prepared examples, and a checkpoint and a log (CSV) a member; with ``resume`` what is
    there already is gone on with. ``minutes`` is a member's share. ``progress`` gets the member, the part
    of all training done and the mean loss.

    Raises
    ------
    DataError
        If the data can't be read, lack a case of the folds, or ``out`` already holds another training.
    """
    partner = partner_weights(card, protocol)
    take_folder(out, EXAMPLES_FILE, resume=resume)
    examples = _examples(card, protocol, folds, data, out)
    states: list[dict[str, Tensor]] = []
    for member, fold in enumerate(folds.folds):

        def show(done: float, loss: float, member: int = member) -> None:
            if progress is not None:
                progress(member, (member + done) / len(folds.folds), loss)

        seen = {*folds.uses, *OTHER_SCANNERS} - {*fold, *folds.test}
        torch.manual_seed(protocol.seed + member)
        state = new_member(build_network(member_network(card)), protocol)
        checkpoint = out / f"member{member}.pt"
        if checkpoint.exists():
            restore_member(state, checkpoint)
        train_member(
            state,
            [item for name, items in examples.items() if name in seen for item in items],
            [item for name in fold for item in examples[name]],
            card.preprocessing,
            protocol,
            checkpoint,
            member=member,
            low_precision=has_bfloat16(torch.device("cpu")),
            minutes=minutes,
            progress=show,
        )
        states.append(state.average.state_dict())
    save_file(joined_members(states) | partner, out / card.weights.file)
    (out / card.weights.file).chmod(0o644)


def member_network(card: ModelCard) -> NetworkSpec:
    """One member of the ensemble that a card names: :class:`PatchUNet` with its parameters."""
    own = signature(PatchUNet).parameters
    parameters = {name: value for name, value in card.network.parameters.items() if name in own}
    return NetworkSpec("patch_unet", "PatchUNet", parameters)


def partner_weights(card: ModelCard, protocol: EnsembleProtocol) -> dict[str, Tensor]:
    """Weights of the partner that the network of ``card`` has, from the model that the protocol names.

    Raises
    ------
    ModelError
        If that model isn't installed, or its weights are not its card's.
    DataError
        If the network has a partner and the protocol names none, or the other way round.
    """
    if issubclass(network_class(card.network), PartneredEnsemble) != bool(protocol.partner):
        raise DataError(f"network and protocol of {card.name} must both have a partner, or neither")
    if not protocol.partner:
        return {}
    weights = load_file(load_installed_card(protocol.partner).weights_path)
    return {f"partner.{name}": tensor for name, tensor in half_precision(weights).items()}


def joined_members(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The ensemble's weights; floating-point ones are kept in half precision, where all fit."""
    return {
        f"members.{index}.{name}": tensor
        for index, state in enumerate(states)
        for name, tensor in half_precision(state).items()
    }


def _examples(
    card: ModelCard, protocol: EnsembleProtocol, folds: Folds, data: Path, out: Path
) -> dict[str, list[Example]]:
    path = out / EXAMPLES_FILE
    if path.exists():
        kept: dict[str, list[Example]] = torch.load(path, weights_only=False)
        return kept
    linear = load_linear(data / LINEAR)
    # The way back from equalised grey is learned without the first held-out case, which shows how good it is.
    trained = {name for name, use in folds.uses.items() if use == TRAINED} - {folds.folds[0][0]}
    seen = [case for case in linear if case.name in trained]
    cases: list[LabelledCase] = [*linear, *load_medseg(data / MEDSEG)]
    cases += load_clahe(data / CLAHE, data / LINEAR, seen, seed=0, steps=protocol.equalised_steps)
    if missing := sorted(folds.uses.keys() - {case.name for case in cases}):
        raise DataError(f"the data lack {', '.join(missing)}, which the folds of {card.name} name")
    examples = {
        case.name: prepare_examples(case, card.preprocessing, protocol.weak_split_hu) for case in cases
    }
    torch.save(examples, path)
    return examples
