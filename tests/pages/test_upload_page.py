"""Bringing networks on the page Models: checked, shown, asked where it cannot be known, then kept."""

from dataclasses import replace

import pytest
import safetensors.torch

from merging.errors import UnknownArchitecture
from merging.zoo import catalogue
from merging.zoo.architectures import build
from merging.zoo.checkpoints import sandbox
from merging.zoo.checkpoints.checkpoint import load_checkpoint
from merging.zoo.disposable import in_silence
from tests.pages.test_merge_page import press, texts
from tests.zoo.forms import fed
from ui.forms.upload_review import Said, check


def checked(app, *files):
    """The upload form after the button Check; files: (name, bytes)."""
    app.file_uploader[0].set_value([(name, data, "application/octet-stream") for name, data in files]).run()
    return press(app, "Check")


def shipped_bytes(key):
    return catalogue.shipped_file(catalogue.find_entry(key).sha256).read_bytes()


def plain_bytes(architecture, config, seed=0):
    return safetensors.torch.save(build(architecture, config, seed=seed).state_dict())


def test_an_uploaded_checkpoint_is_shown_before_it_is_kept_is_its_owners_alone_and_can_be_deleted(ledger, open_page):
    app = checked(open_page("models"), ("../../mine.safetensors", shipped_bytes("fashion-mlp-128-s0")))
    assert "88.4 % of 500 test images" in texts(app, "success")
    assert ledger.models() == ()
    press(app, "Add this network")
    (entry,) = ledger.models()
    assert (entry.architecture, entry.dataset, entry.source) == ("mlp", "fashion-mnist", "uploaded")
    assert (entry.accuracy, entry.why, entry.private) == (0.884, "as the file states", True)
    assert "Added: MLP 3×128" in texts(app, "success")
    assert "Uploaded" not in texts(open_page("models"), "markdown"), "another visitor sees it"
    app.run()
    press(app, "Delete this network")
    assert ledger.models() == ()


def test_both_networks_of_a_pair_go_in_at_once_under_one_name_and_can_be_shared(ledger, open_page):
    app = open_page("models")
    app.segmented_control(key="upload private").set_value("everybody here").run()
    files = [("model.safetensors", shipped_bytes(f"fashion-small-s{seed}")) for seed in (0, 1)]
    press(checked(app, *files), "Add 2 networks")
    assert [entry.private for entry in ledger.models()] == [False, False]


def two_fed(open_page, *, named=True, **how):
    """The form after two networks were checked, one that takes images normalised, and one that does not."""
    app = open_page("models")
    app.selectbox(key="upload data").set_value("fashion-mnist").run()
    if named:
        app.selectbox(key="upload architecture").set_value("mlp").run()
        app.selectbox(key="upload nonlinearity").set_value("relu").run()
    app.segmented_control(key="upload private").set_value("everybody here").run()
    nets = (fed(f"fashion-mlp-128-s{seed}", normalised=seed == 0, **how) for seed in (0, 1))
    return checked(app, *((f"{seed}.safetensors", data) for seed, data in enumerate(nets)))


def test_networks_that_go_in_together_are_fed_alike(ledger, open_page):
    app = two_fed(open_page)
    assert "give the highest accuracy for all networks of this upload together" in texts(app, "markdown")
    press(app, "Add 2 networks")
    a, b = ledger.models()
    assert (a.mean, a.std) == (b.mean, b.std)
    assert load_checkpoint(ledger.checkpoint_file(a.sha256)).mean == a.mean  # what is kept says so itself


def test_networks_that_were_chosen_from_a_list_are_fed_alike(ledger, open_page):
    app = two_fed(open_page, named=False)
    (asked,) = [radio for radio in app.radio if radio.label == "Network"]
    asked.set_value(asked.options.index("MLP 3×128 · ReLU")).run()
    press(app, "Add 2 networks")
    a, b = ledger.models()
    assert (a.mean, a.std) == (b.mean, b.std)
    assert "chosen by its owner" in a.why


def test_networks_that_no_normalisation_suits_together_stay_as_they_are(ledger, open_page):
    press(two_fed(open_page, upset=100), "Add 2 networks")
    a, b = ledger.models()
    assert (a.mean, a.std) != (b.mean, b.std)
    assert not a.at_chance
    assert not b.at_chance
    app = open_page()
    app.selectbox(key="form_a").set_value(a.id).run()
    app.selectbox(key="form_b").set_value(b.id).run()
    assert "different normalisation" in texts(app, "warning")


def test_a_pair_that_asks_the_same_is_asked_once(ledger, open_page):
    paths = [catalogue.shipped_file(catalogue.find_entry(f"fashion-mlp-128-s{seed}").sha256) for seed in (0, 1)]
    states = [safetensors.torch.save(dict(load_checkpoint(path).state)) for path in paths]
    app = open_page("models")
    app.selectbox(key="upload data").set_value("fashion-mnist").run()
    app = checked(app, *((f"net {seed}.safetensors", data) for seed, data in enumerate(states)))
    (asked,) = [radio for radio in app.radio if radio.label == "Network"]
    assert asked.value is None
    assert next(button for button in app.button if button.label == "Add 2 networks").disabled
    asked.set_value(asked.options.index("MLP 3×128 · ReLU")).run()
    press(app, "Add 2 networks")
    assert sorted(entry.name for entry in ledger.models()) == ["net 0", "net 1"]
    assert {entry.label for entry in ledger.models()} == {"MLP 3×128"}


def test_a_plain_state_dict_takes_the_name_of_its_file_and_what_a_person_says(ledger, open_page):
    app = open_page("models")
    app.selectbox(key="upload nonlinearity").set_value("tanh").run()
    app = checked(app, ("C:/nets/my net, seed 3.safetensors", plain_bytes("mlp", {"widths": [8]})))
    press(app, "Add this network")
    (entry,) = ledger.models()
    assert (entry.name, entry.label) == ("my net, seed 3", "MLP 1×8, tanh")
    assert "Added: MLP 1×8, tanh" in texts(app, "success")


def test_a_file_that_fits_several_networks_is_a_question_with_accuracies(ledger, open_page):
    net = load_checkpoint(catalogue.shipped_file(catalogue.find_entry("fashion-mlp-128-s0").sha256))
    app = open_page("models")
    app.selectbox(key="upload data").set_value("fashion-mnist").run()
    app = checked(app, ("mine.safetensors", safetensors.torch.save({f"net.{k}": v for k, v in net.state.items()})))
    assert "7 networks fit these tensors, and 6 of them are above chance" in texts(app, "info")
    add = next(button for button in app.button if button.label == "Add this network")
    assert add.disabled, "nothing is chosen beforehand"
    (question,) = app.radio
    assert question.value is None and len(question.options) == 7
    question.set_value(question.options.index("MLP 3×128 · ReLU")).run()
    press(app, "Add this network")
    (entry,) = ledger.models()
    assert (entry.label, entry.accuracy) == ("MLP 3×128", 0.884)
    assert "chosen by its owner" in entry.why


def test_without_images_what_the_tensors_do_not_show_has_to_be_said(ledger, open_page):
    app = checked(open_page("models"), ("mine.safetensors", plain_bytes("mlp", {"widths": [8]})))
    app.radio[0].set_value(0).run()
    add = next(button for button in app.button if button.label == "Add this network")
    assert add.disabled, "the nonlinearity is still open"
    app.selectbox(key="upload nonlinearity 0").set_value("gelu").run()
    press(app, "Add this network")
    (entry,) = ledger.models()
    assert entry.label == "MLP 1×8, GELU"


def test_a_network_at_chance_level_is_a_warning_in_red_wherever_it_is_shown(ledger, open_page):
    app = open_page("models")
    app.selectbox(key="upload data").set_value("fashion-mnist").run()
    app.selectbox(key="upload architecture").set_value("mlp").run()
    app.segmented_control(key="upload private").set_value("everybody here").run()
    app = checked(app, ("raw.safetensors", plain_bytes("mlp", {"widths": [8]})))
    assert "no better than chance" in texts(app, "error")
    press(app, "Add this network")
    (entry,) = ledger.models()
    assert entry.at_chance
    assert "at chance level" in texts(open_page("models"), "error")


def test_what_a_person_says_of_a_checkpoint_is_kept_and_must_fit(ledger, open_page):
    app = open_page("models")
    app.selectbox(key="upload data").set_value("other").run()
    app.text_input(key="mean other").set_value("0.5").run()
    app.text_input(key="std other").set_value("0.5").run()
    app.text_area(key="classes other").set_value("cat, dog").run()
    app = checked(app, ("mine.safetensors", shipped_bytes("fashion-mlp-128-s0")))
    assert "10 outputs, but 2 classes" in texts(app, "error")
    app.text_area(key="classes other").set_value(", ".join("abcdefghij")).run()
    press(press(app, "Check"), "Add this network")
    (entry,) = ledger.models()
    assert (entry.dataset, entry.mean, entry.classes) == ("", (0.5,), tuple("abcdefghij"))


def test_a_file_that_is_no_checkpoint_is_refused_in_words(ledger, open_page):
    app = checked(open_page("models"), ("mine.pt", b"cos\nsystem\n(S'true'\ntR."))
    assert len(app.error) == 1
    assert "Traceback" not in texts(app, "error")
    assert ledger.models() == ()


def test_a_network_that_cannot_take_the_images_it_is_said_to_know_is_refused_at_once(ledger, open_page):
    app = open_page("models")
    app.selectbox(key="upload data").set_value("fashion-mnist").run()
    app.selectbox(key="upload architecture").set_value("mlp").run()
    app = checked(app, ("mine.th", plain_bytes("mlp", {"widths": [8], "in_shape": [1, 10, 10]})))
    assert "need images of size 1×10×10, but Fashion-MNIST has 1×28×28" in texts(app, "error")
    app.selectbox(key="upload data").set_value("other").run()
    app = press(app, "Check")
    assert "It is not known which images" in texts(app, "warning")
    press(app, "Add this network")
    assert len(ledger.models()) == 1


def test_wrong_normalisation_is_refused_in_words(ledger, open_page):
    app = open_page("models")
    app.selectbox(key="upload data").set_value("fashion-mnist").run()
    app.text_input(key="mean fashion-mnist").set_value("0.3; oops").run()
    assert "numbers separated by commas" in texts(app, "error")


@pytest.mark.parametrize("name", ["os:getcwd", "os:abort", "builtins:exit", "merging.zoo.architectures:build"])
def test_no_function_is_called_that_a_visitor_names(name, ledger):
    found = check("a.pt", shipped_bytes("fashion-mlp-128-s0"), Said(architecture=name), in_silence)
    assert "only be named on the command line and in Python" in found.refusal
    with pytest.raises(UnknownArchitecture, match="exported program"):
        sandbox.convert(shipped_bytes("fashion-mlp-128-s0"), architecture=name)


def test_networks_of_one_name_are_told_apart_in_every_menu(ledger, open_page):
    shipped = catalogue.find_entry("fashion-mlp-512-s0")
    for number, owner in enumerate(("ann", "bob")):
        data = bytearray(shipped_bytes("fashion-mlp-512-s0"))
        data[-1] ^= number + 1  # another network
        ledger.add_model(replace(shipped, id="", source="uploaded", created=float(number)), bytes(data), owner)
    app = open_page("merge")
    names = next(box.options for box in app.selectbox if box.label == "Network A")
    assert len(set(names)) == len(names)
    assert names.count(shipped.name) == 1


def test_a_half_typed_number_leaves_the_findings_where_they_are(ledger, open_page):
    app = open_page("models")
    app.selectbox(key="upload data").set_value("fashion-mnist").run()
    checked(app, ("a.safetensors", shipped_bytes("fashion-mlp-128-s0")))
    app.text_input(key="mean fashion-mnist").set_value("abc").run()
    assert not app.exception
    assert "Mean and std are numbers" in texts(app, "error")
    app.text_input(key="mean fashion-mnist").set_value("0.3").run()
    press(app, "Check")
    assert "The mean of the images is given, but not their std" in texts(app, "error")
