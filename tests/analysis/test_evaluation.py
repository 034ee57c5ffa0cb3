import math

import numpy as np
import pytest
import torch
from torch import nn

from merging.analysis.path.evaluation import ensemble, evaluate
from merging.errors import Cancelled, DataUnavailable, IncompatibleModels
from merging.network.data import as_batches


def answers(logits):
    """A network whose images are numbers of rows of `logits`."""
    return lambda images: logits[images[:, 0, 0, 0].long()]


def rows(labels, size=500):
    labels = torch.as_tensor(labels)
    return as_batches((torch.arange(len(labels)).float()[:, None, None, None], labels), size)


def by_hand(probabilities, labels):
    """Loss, accuracy and ECE written as in Guo et al. 2017, section 2: bins, then their accuracy and confidence."""
    p, labels = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    confidence, hit = p.max(1), p.argmax(1) == labels
    ece = 0.0
    for m in range(15):
        inside = (confidence > m / 15) & (confidence <= (m + 1) / 15)
        if inside.any():
            ece += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
    return -np.log(p[np.arange(len(labels)), labels]).mean(), hit.mean(), ece


def test_metrics_are_those_of_the_definition_whatever_the_batches():
    rng = np.random.default_rng(3)
    logits = torch.from_numpy(rng.standard_normal((203, 7)) * 3)
    labels = torch.from_numpy(rng.integers(0, 7, 203))
    expected = by_hand(logits.softmax(1).numpy(), labels.numpy())
    for size in (500, 64, 7, 1):
        found = evaluate(answers(logits), rows(labels, size))
        assert (found.loss, found.accuracy, found.ece) == pytest.approx(expected, rel=1e-12)


def test_a_sure_and_right_network_has_no_loss_and_no_calibration_error():
    found = evaluate(answers(torch.eye(4) * 200), rows([0, 1, 2, 3]))
    assert found.accuracy == 1
    assert found.loss == found.ece == 0


def test_a_sure_and_wrong_network_has_calibration_error_one():
    assert evaluate(answers(torch.eye(3) * 200), rows([1, 2, 0])).ece == pytest.approx(1)


def test_a_guessing_network_loses_the_logarithm_of_the_classes():
    found = evaluate(answers(torch.zeros(5, 10)), rows([0, 0, 1, 2, 3]))
    assert found.loss == pytest.approx(math.log(10))
    assert found.ece == pytest.approx(0.3)  # says .1 of class 0, which is right twice in five


def test_an_ensemble_averages_probabilities_or_logits():
    rng = np.random.default_rng(4)
    parts = [torch.from_numpy(rng.standard_normal((50, 5)) * 4) for _ in range(3)]
    labels = rng.integers(0, 5, 50)
    mean = torch.stack([part.softmax(1) for part in parts]).mean(0)
    found = ensemble([answers(part) for part in parts], rows(labels))
    assert (found.loss, found.accuracy, found.ece) == pytest.approx(by_hand(mean, labels), rel=1e-12)
    logits = ensemble([answers(part) for part in parts], rows(labels), mean="logits")
    assert logits == evaluate(answers(torch.stack(parts).mean(0)), rows(labels))


def test_an_ensemble_never_loses_more_than_its_members_on_average():
    rng = np.random.default_rng(5)
    parts = [torch.from_numpy(rng.standard_normal((50, 5)) * 4) for _ in range(3)]
    data = rows(rng.integers(0, 5, 50))
    losses = [evaluate(answers(part), data).loss for part in parts]
    assert ensemble([answers(part) for part in parts], data).loss <= np.mean(losses)


def test_a_module_is_run_in_eval_mode_and_left_as_it_was():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    model.train()
    model[2].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    data = as_batches((torch.randn(20, 1, 2, 2), torch.arange(20) % 3), 8)
    assert evaluate(model, data) == evaluate(model, data)
    assert [module.training for module in model] == [True, True, False, True, True]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


class Reading(nn.Module):
    """A convolution, a pool and a linear layer; `read` makes rows of what the pool gives. Keeps the images' strides."""

    def __init__(self, channels, read):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.pool, self.head = nn.Conv2d(channels, 6, 3), nn.MaxPool2d(2), nn.Linear(54, 3)
        self.read, self.seen = read, []

    def forward(self, images):
        self.seen.append(images.stride(1))
        return self.head(self.read(self.pool(self.conv(images).relu())))


@pytest.mark.parametrize("channels", [1, 3])
def test_on_a_cpu_a_network_reads_pixels_with_their_channels_side_by_side(channels):
    model = Reading(channels, lambda pooled: pooled.flatten(1))
    images, labels = torch.rand(40, channels, 8, 8), torch.arange(40) % 3
    found = evaluate(model, (images, labels))
    assert model.seen[-1] == 1
    with torch.no_grad():
        p = model(images).double().softmax(1)
    assert (found.loss, found.accuracy, found.ece) == pytest.approx(by_hand(p, labels), abs=1e-6)


@pytest.mark.parametrize(
    "read",
    [
        lambda pooled: pooled.view(len(pooled), -1),  # torch refuses it
        lambda pooled: pooled.as_strided((len(pooled), 54), (54, 1)),  # torch gives other numbers
    ],
    ids=["view", "memory"],
)
def test_a_network_that_cannot_read_channels_side_by_side_gets_the_images_as_they_come(read):
    model = Reading(3, read)
    images, labels = torch.rand(40, 3, 8, 8), torch.arange(40) % 3
    found = evaluate(model, (images, labels))
    assert model.seen[-1] == 64
    with torch.no_grad():
        p = model(images).double().softmax(1)
    assert (found.loss, found.accuracy, found.ece) == pytest.approx(by_hand(p, labels), abs=1e-6)


def test_images_go_to_the_network_s_device():
    class Far(nn.Linear):
        def forward(self, images):
            raise Cancelled(f"The images are on {images.device}.")

    with pytest.raises(Cancelled, match="on meta"):
        evaluate(Far(2, 2, device="meta"), rows([0, 1]))


def test_networks_that_give_not_a_number_are_measured_too():
    found = evaluate(answers(torch.full((4, 3), torch.nan)), rows([0, 1, 2, 0]))
    assert math.isnan(found.loss)
    assert math.isnan(found.ece)
    assert (found.accuracy, found.images) == (0.0, 4)  # argmax of NaN is class 0, but that is no prediction


def test_what_cannot_be_measured_is_refused_in_words():
    with pytest.raises(DataUnavailable, match="no batches"):
        evaluate(answers(torch.eye(3)), [])
    with pytest.raises(DataUnavailable, match=r"labels are 0..7, but the network has 3 classes"):
        evaluate(answers(torch.eye(3)), rows([0, 1, 7]))
    with pytest.raises(IncompatibleModels, match="logits"):
        evaluate(lambda images: images, rows([0, 1]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_probabilities_are_measured_as_probabilities(dtype):
    rng = np.random.default_rng(6)
    logits = torch.from_numpy(rng.standard_normal((80, 6)) * 3)
    labels = rng.integers(0, 6, 80)
    expected = evaluate(answers(logits), rows(labels))
    log_p = logits.log_softmax(1)
    exact = {torch.float64: 1e-9, torch.float32: 1e-5, torch.float16: 1e-2}[dtype]
    for found in (log_p.exp().to(dtype), log_p.to(dtype)):  # ends in softmax, in log_softmax
        measured = evaluate(answers(found), rows(labels))
        assert (measured.loss, measured.accuracy, measured.ece) == pytest.approx(
            (expected.loss, expected.accuracy, expected.ece), abs=exact
        )
    both = [answers(log_p.exp()), answers(log_p.flip(1).exp())]
    mean = (log_p.exp() + log_p.flip(1).exp()) / 2
    assert ensemble(both, rows(labels)).loss == pytest.approx(by_hand(mean, labels)[0])


def test_logits_that_sum_to_1_in_some_rows_stay_logits():
    logits = torch.tensor([[0.2, 0.8], [1.0, 0.0], [2.0, 0.5]])
    found = evaluate(answers(logits), rows([1, 0, 0]))
    assert found.loss == pytest.approx(by_hand(logits.double().softmax(1), [1, 0, 0])[0])


def test_a_probability_of_0_is_a_large_loss_and_no_infinite_one():
    found = evaluate(answers(torch.eye(3)), rows([0, 1, 0]))
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.loss == pytest.approx(149 * math.log(2) / 3)  # float32 knows no smaller number than 2^-149


def test_an_answer_that_depends_on_the_batch_is_no_answer():
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(6, track_running_stats=False)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), norm, nn.Linear(6, 3))
    data = as_batches((torch.randn(20, 1, 2, 2), torch.arange(20) % 3), 8)
    with pytest.raises(IncompatibleModels, match=r"2 is a BatchNorm without running statistics.*track_running_stats"):
        evaluate(model, data)
    with pytest.raises(IncompatibleModels, match="depends on the other images in its batch"):
        evaluate(lambda images: (images - images.mean(0)).flatten(1), data)
    times = nn.LSTM(2, 5)  # without batch_first: images are times, and only later ones depend on others
    with pytest.raises(IncompatibleModels, match="depends on the other images in its batch"):
        evaluate(lambda images: times(images.squeeze(1))[0][:, -1], data)
    evaluate(nn.Sequential(nn.InstanceNorm2d(1), nn.Flatten(), nn.Linear(4, 3)), data)
