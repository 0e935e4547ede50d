"""A small transformer that tells the next token of a text from those before it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from optbench.errors import UserError
from optbench.models._checks import check_count


def check_tokens(tokens: Tensor, longest: int | None = None) -> None:
    """Raises UserError unless tokens are whole numbers (b, t), of texts that are not longer than this."""
    if tokens.ndim != 2 or tokens.is_floating_point():
        raise UserError(
            f"the network takes tokens, whole numbers (b, length); got {tokens.dtype} {tuple(tokens.shape)}",
            "e.g. data=made_text",
        )
    if longest is not None and tokens.shape[1] > longest:
        raise UserError(f"texts of {tokens.shape[1]} tokens are longer than model.context={longest}")


class _Attention(nn.Module):
    """Causal self-attention; written out, so that it can be differentiated twice on any device."""

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_divisor = math.sqrt(width // heads)  # under muP another, see problem.mup
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        later = torch.ones(context, context, dtype=torch.bool).triu(1)
        self.register_buffer("later", later, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        b, t, width = x.shape
        parts = self.queries_keys_values(x).reshape(b, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        queries, keys, values = parts.unbind(0)
        scores = queries @ keys.transpose(-2, -1) / self.attention_divisor
        assert isinstance(self.later, Tensor)
        weights = scores.masked_fill(self.later[:t, :t], -math.inf).softmax(dim=-1)
        found: Tensor = self.out((weights @ values).transpose(1, 2).reshape(b, t, width))
        return found


class _Block(nn.Module):
    """Attention and a network of one hidden layer, each on what layer norm leaves and added to what came."""

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.before_attention, self.attention = nn.LayerNorm(width), _Attention(width, heads, context)
        self.before_network = nn.LayerNorm(width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.before_attention(x))
        found: Tensor = x + self.network(self.before_network(x))
        return found


class GPT(nn.Module):
    """Embeddings of token and place, blocks of causal self-attention with layer norm first, a linear head.

    Weights begin as normal draws of deviation 0.02, those that add to the residual stream of 0.02 / sqrt(2 layers),
    biases as 0.

    Args:
        n_outputs: size of the vocabulary.
        context: longest text.
        width: of the embeddings, a multiple of heads.
        layers: number of blocks.
        heads: of each attention.

    Shape: whole numbers below n_outputs, (b, t) with t up to context -> (b, t, n_outputs).

    Raises:
        UserError: a size that is no whole number of at least 1, or an input of another kind.

    Source: Radford et al., Language models are unsupervised multitask learners (2019), section 2.3.
    """

    def __init__(
        self, n_outputs: int = 27, context: int = 32, width: int = 32, layers: int = 2, heads: int = 4
    ) -> None:
        super().__init__()
        sizes = {"n_outputs": n_outputs, "context": context, "width": width, "layers": layers, "heads": heads}
        for name, value in sizes.items():
            check_count(name, value)
        if width % heads:
            raise UserError(f"width={width}: expected a multiple of heads={heads}")
        self.context = context
        self.tokens, self.places = nn.Embedding(n_outputs, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(_Block(width, heads, context) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, n_outputs, bias=False)
        adds = tuple(f"{name}.weight" for name in ("attention.out", "network.2"))
        for name, weights in self.named_parameters():
            if weights.ndim > 1:
                nn.init.normal_(weights, std=0.02 / (math.sqrt(2 * layers) if name.endswith(adds) else 1.0))
            elif name.endswith("bias"):
                nn.init.zeros_(weights)

    def residual_branches(self) -> list[nn.Module]:
        """What is added to the residual stream, in the order of depth: for trainer.stochastic_depth."""
        blocks = (block for block in self.blocks if isinstance(block, _Block))
        return [part for block in blocks for part in (block.attention, block.network)]

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the token after each: (b, t) -> (b, t, n_outputs)."""
        check_tokens(tokens, self.context)
        places = torch.arange(tokens.shape[1], device=tokens.device)
        logits: Tensor = self.head(self.norm(self.blocks(self.tokens(tokens) + self.places(places))))
        return logits
