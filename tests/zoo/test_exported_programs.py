"""Exported programs (.pt2): what people export is read as it is, or refused by its real reason."""

from __future__ import annotations

import io

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from merging.errors import CheckpointError, UnsupportedOperation
from merging.network.graph.graph import export
from merging.network.programs.json_text import program_to_json
from merging.network.programs.module import ProgramModule
from merging.network.tracing.tracer import trace_graph
from merging.zoo import catalogue
from merging.zoo.checkpoints import sandbox
from merging.zoo.checkpoints.checkpoint import load_bytes, load_checkpoint
from merging.zoo.checkpoints.reading.programs.program import is_exported_program, read_program
from tests.nets.nets import cnn
from tests.nets.programs import exported, file_of, net, saved
from tests.zoo.hostile import saved as torch_saved
from tests.zoo.hostile_programs import packed


def run(data: bytes, x: Tensor) -> Tensor:
    found = read_program(data)
    with torch.no_grad():
        return ProgramModule(found.program, found.state, found.constants)(x)


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).eval()


def sliced(model: nn.Module, starts: tuple[int, int], size: int) -> nn.Module:
    """Weight and bias of the first layer as views of one tensor."""
    flat = torch.randn(size)
    model[0].weight = nn.Parameter(flat[starts[0] : starts[0] + 30].view(5, 6))
    model[0].bias = nn.Parameter(flat[starts[1] : starts[1] + 5])
    return model


def transposed() -> nn.Module:
    model = small()
    model[0].weight = nn.Parameter(torch.randn(6, 5).t())
    return model


LAYOUTS = {
    "transposed": (transposed, (2, 6)),
    "one flat tensor": (lambda: sliced(small(), (0, 30), 35), (2, 6)),
    "channels side by side": (lambda: cnn()[0].to(memory_format=torch.channels_last), (2, 3, 8, 8)),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.filterwarnings("ignore:No complete tensor")
def test_weights_lie_in_any_order(name):
    make, shape = LAYOUTS[name]
    model = make()
    x = torch.randn(shape)
    with torch.no_grad():
        torch.testing.assert_close(run(saved(model, x), x), model(x), rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore:No complete tensor")
@pytest.mark.parametrize("starts, size, words", [((0, 28), 35, "overlap"), ((0, 30), 64, "larger tensor")])
def test_weights_that_share_numbers_or_leave_some_out_are_refused(starts, size, words):
    with pytest.raises(CheckpointError, match=words):
        read_program(saved(sliced(small(), starts, size), torch.randn(2, 6)))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_floating_point_types_become_float32(kind):
    model, x = small().to(kind), torch.randn(2, 6)
    found = read_program(saved(model, x.to(kind)))
    assert found.was == (str(kind).removeprefix("torch."),)
    assert {tensor.dtype for tensor in found.state.values()} == {torch.float32}
    with torch.no_grad():
        expected = model.float()(x)
        torch.testing.assert_close(ProgramModule(found.program, found.state, {})(x), expected, rtol=1e-6, atol=1e-6)


def test_masks_counters_and_indices_keep_their_kind():
    class Indexed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Parameter(torch.randn(4, 6)), nn.Linear(6, 3)
            self.register_buffer("places", torch.tensor([3, 1], dtype=torch.int32))
            self.register_buffer("mask", torch.tensor([[0.0, -torch.inf], [0.0, 0.0]]))
            self.register_buffer("empty", torch.zeros(0, 3))

        def forward(self, x: Tensor) -> Tensor:
            weights = (self.mask + x[:, :2, None]).softmax(-1)
            return self.head((weights @ self.table[self.places]).mean(1) + x)

    model, x = Indexed().eval(), torch.randn(3, 6)
    found = read_program(saved(model, x))
    kinds = {entry.name: (entry.kind, entry.dtype) for entry in found.program.tensors}
    assert kinds["places"] == ("buffer", "int32") and kinds["mask"] == ("buffer", "float")
    module = ProgramModule(found.program, found.state, found.constants)
    assert module.get_buffer("places").dtype == torch.int32
    with torch.no_grad():
        torch.testing.assert_close(module(x), model(x), rtol=1e-6, atol=1e-6)
    assert list(module.state_dict()) == list(model.state_dict())


@pytest.mark.parametrize("strict", [False, True])
def test_layers_have_their_names_however_it_was_exported(strict):
    model, x = net("residual-pad")
    found = read_program(saved(model, x, strict=strict))
    ours = export(ProgramModule(found.program, found.state, found.constants), x)
    assert ours.layers == export(model, x).layers
    assert trace_graph(ours) == trace_graph(export(model, x))


class Several(nn.Module):
    """A module whose forward pass is given; it has one layer and a counter."""

    def __init__(self, forward: object) -> None:
        super().__init__()
        self.layer, self.run = nn.Linear(4, 4), forward
        self.register_buffer("count", torch.zeros(4))

    def forward(self, x: Tensor) -> object:
        return self.run(self, x)


def without_gradients(m: Several, x: Tensor) -> Tensor:
    with torch.no_grad():
        y = m.layer(x)
    return m.layer(y)


REFUSED = {
    "fixed batch": (lambda: saved(small(), torch.randn(2, 6), dynamic_shapes=None), "fixed to 2.*DYNAMIC"),
    "batch of one": (
        lambda: saved(small(), torch.randn(1, 6), dynamic_shapes=({0: Dim.AUTO},)),
        "fixed to 1.*at least two images",
    ),
    "dropout": (lambda: saved(nn.Sequential(small(), nn.Dropout()).train(), torch.randn(2, 6)), r"model\.eval\(\)"),
    "batch norm": (lambda: saved(nn.Sequential(nn.BatchNorm1d(6)).train(), torch.randn(2, 6)), r"model\.eval\(\)"),
    "dictionary": (lambda: saved(Several(lambda m, x: {"logits": m.layer(x)}), torch.randn(2, 4)), "a dictionary"),
    "tuple": (lambda: saved(Several(lambda m, x: (m.layer(x), x)), torch.randn(2, 4)), "several outputs"),
    "tuple of one": (lambda: saved(Several(lambda m, x: (m.layer(x),)), torch.randn(2, 4)), "a tuple"),
    "gradients switched": (lambda: saved(Several(without_gradients), torch.randn(2, 4)), "switches gradients"),
    "counts": (lambda: saved(Several(lambda m, x: m.layer(x) + m.count.add_(1)), torch.randn(2, 4)), "count in place"),
    "no rule": (lambda: saved(Several(lambda m, x: m.layer(x).bernoulli()), torch.randn(2, 4)), "no rule"),
    "its own input": (lambda: saved(Several(lambda m, x: x), torch.randn(2, 4)), "not one of its operations"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_by_its_real_reason(case):
    make, words = REFUSED[case]
    with pytest.raises((CheckpointError, UnsupportedOperation), match=words):
        read_program(make())


def test_two_inputs_are_refused():
    class Sum(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    sizes, out = ({0: Dim.DYNAMIC}, {0: Dim.DYNAMIC}), io.BytesIO()
    torch.export.save(torch.export.export(Sum(), (torch.randn(2, 4),) * 2, dynamic_shapes=sizes), out)
    with pytest.raises(UnsupportedOperation, match="takes 2 inputs"):
        read_program(out.getvalue())


def test_a_size_of_the_image_may_be_free_too():
    model, x = net("residual-batch")
    found = read_program(saved(model, x, dynamic_shapes=({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)))
    assert found.program.shape == (3, 8, 8)
    larger = torch.randn(2, 3, 12, 16)
    with torch.no_grad():
        ours = ProgramModule(found.program, found.state, found.constants)(larger)
        torch.testing.assert_close(ours, model(larger), rtol=1e-6, atol=1e-6)


def test_programs_are_told_from_other_files():
    assert is_exported_program(file_of("pinned"))
    assert is_exported_program(packed({"serialized_exported_program.json": b"{}"}, root=""))
    for other in (b"", b"PK", b"hello", torch_saved(small().state_dict()), file_of("pinned")[:5_000]):
        assert not is_exported_program(other)


def test_the_same_file_gives_the_same_program():
    assert program_to_json(read_program(file_of("pinned")).program) == program_to_json(exported("pinned").program)
    assert exported("pinned").program.torch == torch.__version__


class Everything(nn.Module):
    """Layers of most kinds that a label counts, over many tokens and classes."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(200_000, 4)
        self.conv = nn.Conv1d(4, 4, 3, padding=1)
        self.reads = nn.ModuleList(nn.Linear(4, 4) for _ in range(12))
        self.head = nn.Linear(4, 150_000)

    def forward(self, x):
        x = self.conv(self.tokens(x).mT).mT
        for read in self.reads:
            x = x + nn.functional.scaled_dot_product_attention(read(x), x, x)
        return self.head(x.mean(1))


def test_a_program_of_many_layers_tokens_and_classes_is_read_again_as_it_was_written(tmp_path):
    out, shapes = io.BytesIO(), ({0: torch.export.Dim.DYNAMIC},)
    x = torch.randint(0, 9, (2, 5))
    torch.export.save(torch.export.export(Everything().eval(), (x,), dynamic_shapes=shapes), out)
    first = load_bytes_of(out.getvalue(), tmp_path)
    assert (first.config["classes"], first.config["tokens"]) == (150_000, 200_000)
    assert 40 < len(first.config["label"]) <= 120
    again = load_bytes(first.to_bytes())
    assert again.config == first.config
    assert torch.equal(again.build()(x), first.build()(x))


def load_bytes_of(data, folder):
    """A checkpoint from the bytes of a file."""
    (folder / "net.pt2").write_bytes(data)
    return load_checkpoint(folder / "net.pt2")


def test_a_known_program_that_cannot_be_read_refuses_no_other_file(tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    data = catalogue.shipped_file(catalogue.find_entry("fashion-mlp-128-s0").sha256).read_bytes()
    assert sandbox.convert(data, programs=[tmp_path / "broken.safetensors"]).facts["architecture"] == "mlp"
