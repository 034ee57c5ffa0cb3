"""Operators that no rule can trace: the reason, and what to write instead."""

from __future__ import annotations

from merging.network.tracing.rules.base import REMEDY

_RANDOM = (
    "bernoulli cauchy exponential fractional_max_pool2d fractional_max_pool3d geometric log_normal multinomial"
    " native_dropout normal poisson rand rand_like randint randint_like randn randn_like random randperm uniform"
)
_UNWRITTEN = "empty empty_like empty_permuted empty_strided new_empty new_empty_strided"
_WHOLE = "_native_multi_head_attention _transformer_encoder_layer_fwd"
_DECOMPOSED = (
    "convolution native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training native_layer_norm"
    " native_group_norm"
)
_COUNTING = "masked_scatter masked_select nonzero put take _unique2 unique_dim"

_REASONS = {
    _RANDOM: ("it draws random numbers in eval mode too", "Draw them only while the network trains (self.training)."),
    _UNWRITTEN: ("its values are uninitialised memory", "Write zeros, or zeros_like, in its place."),
    _DECOMPOSED: ("run_decompositions() created it from a layer", "Export the network without that call."),
    _WHOLE: ("it computes a whole layer", "Call torch.backends.mha.set_fastpath_enabled(False) before the export."),
    _COUNTING: ("it depends on the order of all elements", "Write torch.where with a mask, or gather."),
    "as_strided": ("it reads memory with given strides", "Write unfold, view or expand in its place."),
}
REFUSALS = {operator: reason for operators, reason in _REASONS.items() for operator in operators.split()}


def refusal(operator: str) -> tuple[str, str]:
    """Return the reason why an operator without a rule cannot be traced, and the remedy."""
    return REFUSALS.get(operator, ("this operator has no rule", REMEDY))
