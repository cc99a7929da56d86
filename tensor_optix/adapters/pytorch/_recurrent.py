"""Recurrent networks in PyTorch, and acting with them.

A recurrent model is called with `(observations (B, T, ...), memory (B, S), begins (B, T))` and returns its outputs
(B, T, ...) and the memory (B, S) after the last step; `memory_size` is S. Where an episode begins it starts from zeros.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from tensor_optix.adapters._architecture import FORGET_BIAS, Architecture, RecurrentArchitecture
from tensor_optix.adapters.backend import Tensor
from tensor_optix.adapters.pytorch import _networks
from tensor_optix.adapters.pytorch._without_compiler import unfilled


class RecurrentTrunk(nn.Module):
    """Encoder → LSTM or GRU → head.

    Args:
        encoder: observations (B, ...) → features (B, F).
        cell: an `nn.LSTM` or `nn.GRU` of one layer with `batch_first=True`.
        head: what the cell gives (..., H) → outputs (..., P).
    """

    def __init__(self, encoder: nn.Module, cell: nn.LSTM | nn.GRU, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.cell, self.head = encoder, cell, head
        self.memory_size = cell.hidden_size * (2 if isinstance(cell, nn.LSTM) else 1)
        """S: [h ‖ c] of an LSTM, h of a GRU."""

    def forward(
        self, observations: torch.Tensor, memory: torch.Tensor, begins: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the outputs (B, T, P), and the memory (B, S) after the last step."""
        features = self.encoder(observations.flatten(0, 1)).unflatten(0, observations.shape[:2])
        memory = memory * (~begins[:, :1]).to(memory.dtype)
        if begins.shape[1] > 1 and begins[:, 1:].any():
            given, memory = self._in_pieces(features, memory, begins)
        else:
            given, memory = self._run(features, memory)
        return self.head(given), memory

    def _run(self, features: Tensor, memory: torch.Tensor) -> tuple[Tensor, torch.Tensor]:
        state = memory.unsqueeze(0)
        if isinstance(self.cell, nn.GRU):
            given, after = self.cell(features, state.contiguous())
            return given, after[0]
        h, c = state.chunk(2, -1)
        given, (h, c) = self.cell(features, (h.contiguous(), c.contiguous()))
        return given, torch.cat([h[0], c[0]], -1)

    def _in_pieces(
        self, features: torch.Tensor, memory: torch.Tensor, begins: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run sequences in which episodes begin, each episode as a sequence of its own: one fused loop for all."""
        rows, steps = begins.shape
        starts = begins.clone()
        starts[:, 0] = True
        piece = starts.flatten().cumsum(0) - 1
        first = starts.flatten().nonzero()[:, 0]
        place = torch.arange(rows * steps, device=piece.device) - first[piece]
        padded = features.new_zeros(len(first), int(place.max()) + 1, features.shape[-1])
        padded[piece, place] = features.flatten(0, 1)
        before = memory.new_zeros(len(first), self.memory_size)
        of_row = piece.view(rows, steps)
        before[of_row[:, 0]] = memory
        if torch.is_grad_enabled():  # the faster way, after which nobody asks for the memory
            given, _ = self._run(padded, before)
            return given[piece, place].unflatten(0, (rows, steps)), memory
        lengths = torch.bincount(piece).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(padded, lengths, batch_first=True, enforce_sorted=False)
        given, after = self._run(packed, before)
        given, _ = nn.utils.rnn.pad_packed_sequence(given, batch_first=True)
        return given[piece, place].unflatten(0, (rows, steps)), after[of_row[:, -1]]


class RecurrentNetwork(nn.Module):
    """A policy and a value, each with a memory of its own: outputs are [parameters ‖ value] (B, T, P + 1).

    Args:
        policy: gives the distribution's parameters, or the means (B, T, A) where there is a free log_std.
        value: gives one number.
        log_std: (A,) at the start; None = the policy gives all its parameters.
    """

    def __init__(self, policy: RecurrentTrunk, value: RecurrentTrunk, log_std: torch.Tensor | None = None) -> None:
        super().__init__()
        self.policy, self.value = policy, value
        self.log_std = None if log_std is None else nn.Parameter(log_std)
        self.memory_size = policy.memory_size + value.memory_size

    def forward(
        self, observations: torch.Tensor, memory: torch.Tensor, begins: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the outputs (B, T, P + 1), and the memory (B, S) after the last step.

        Under gradients the memory is that of before, where an episode begins within a sequence: no loss reads it.
        """
        of_policy, of_value = memory.split([self.policy.memory_size, self.value.memory_size], -1)
        params, of_policy = self.policy(observations, of_policy, begins)
        value, of_value = self.value(observations, of_value, begins)
        if self.log_std is not None:
            params = torch.cat([params, self.log_std.expand_as(params)], -1)
        return torch.cat([params, value], -1), torch.cat([of_policy, of_value], -1)


class TorchRecurrentPredictor:
    """A recurrent module's output as numpy arrays.

    Args:
        module: the module.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __call__(self, observations: object, memory: np.ndarray, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the outputs and the memory after the last step; see `RecurrentPredictor`."""
        parameter = next(self._module.parameters())
        as_weights = {"dtype": parameter.dtype, "device": parameter.device}
        with torch.inference_mode():
            outputs, after = self._module(
                torch.tensor(np.asarray(observations), **as_weights),
                torch.tensor(memory, **as_weights),
                torch.tensor(begins, device=parameter.device),
            )
        return _as_numpy(outputs), _as_numpy(after)


def _as_numpy(tensor: torch.Tensor) -> np.ndarray:
    return (tensor if tensor.dtype is torch.float64 else tensor.float()).cpu().numpy()


def build(architecture: RecurrentArchitecture, generator: torch.Generator) -> RecurrentNetwork:
    """Return the network; nothing is drawn from the process's global generator."""
    policy = _trunk(architecture, architecture.head, generator)
    value = _trunk(architecture, replace(architecture.head, outputs=1, head_gain=1.0), generator)
    log_std = torch.zeros(architecture.head.outputs) if architecture.has_log_std else None
    return RecurrentNetwork(policy, value, log_std)


def _trunk(architecture: RecurrentArchitecture, head: Architecture, generator: torch.Generator) -> RecurrentTrunk:
    encoder: nn.Module = nn.Flatten()
    features = math.prod(architecture.input_shape)
    if architecture.encoder is not None:
        encoder = nn.Sequential(_networks.build(architecture.encoder, generator), nn.ReLU())
        features = architecture.encoder.outputs
    kind = nn.LSTM if architecture.cell == "lstm" else nn.GRU
    cell = unfilled(kind, features, architecture.memory_size, batch_first=True)
    return RecurrentTrunk(encoder, _initialised(cell, generator), _networks.build(head, generator))


def _initialised(cell: Any, generator: torch.Generator) -> Any:
    """Return a cell with orthogonal weights, gate by gate, no biases, and a forget gate that begins open."""
    size, biases = cell.hidden_size, cell.bias_ih_l0
    with torch.no_grad():
        for weight in (cell.weight_ih_l0, cell.weight_hh_l0):
            for gate in weight.split(size):
                nn.init.orthogonal_(gate, generator=generator)
        biases.zero_()
        cell.bias_hh_l0.zero_()
        if isinstance(cell, nn.LSTM):
            biases[size : 2 * size] = FORGET_BIAS
    return cell
